//! Types that cannot be payloads.

use serde::{Deserialize, Serialize};
use shiftwork::{Job, job};

#[derive(Serialize, Deserialize)]
struct Generic<T>(T);

#[job]
impl<T> Job for Generic<T> {
    async fn run(self) {}
}

#[job]
impl Job for (u8, u8) {
    async fn run(self) {}
}

struct NotStored;

#[job]
impl Job for NotStored {
    async fn run(self) {}
}

#[derive(Serialize, Deserialize)]
struct _Hidden;

#[job]
impl Job for _Hidden {
    async fn run(self) {}
}

fn main() {}
