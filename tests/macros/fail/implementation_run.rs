//! Impls whose `run` cannot be completed.

use serde::{Deserialize, Serialize};
use shiftwork::{Job, JobContext, State, job};

#[derive(Serialize, Deserialize)]
struct Missing;

#[job]
impl Job for Missing {}

#[derive(Serialize, Deserialize)]
struct Borrowed;

#[job]
impl Job for Borrowed {
    async fn run(&self, ctx: JobContext) {
        let _ = ctx;
    }
}

#[derive(Serialize, Deserialize)]
struct NoReceiver;

#[job]
impl Job for NoReceiver {
    async fn run(ctx: JobContext) {
        let _ = ctx;
    }
}

#[derive(Serialize, Deserialize)]
struct NotAsync;

#[job]
impl Job for NotAsync {
    fn run(self) {}
}

#[derive(Serialize, Deserialize)]
struct Generic;

#[job]
impl Job for Generic {
    async fn run<T: Clone>(self, state: State<T>) {
        let _ = state;
    }
}

#[derive(Serialize, Deserialize)]
struct TwoPayloads;

#[job]
impl Job for TwoPayloads {
    async fn run(self, other: u64) {
        let _ = other;
    }
}

fn main() {}
