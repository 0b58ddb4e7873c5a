//! Arguments and outputs of `run` that lack a trait.

use serde::{Deserialize, Serialize};
use shiftwork::{Job, State, job};

struct NotClone;

#[derive(Serialize, Deserialize)]
struct WantsState;

#[job]
impl Job for WantsState {
    async fn run(self, state: State<NotClone>) {
        let _ = state;
    }
}

#[derive(Serialize, Deserialize)]
struct Counts;

#[job]
impl Job for Counts {
    async fn run(self) -> u64 {
        7
    }
}

#[derive(Serialize, Deserialize)]
struct WantsSeveral;

#[job]
impl Job for WantsSeveral {
    async fn run(self, ctx: shiftwork::JobContext, state: State<NotClone>) {
        let _ = (ctx, state);
    }
}

fn main() {}
