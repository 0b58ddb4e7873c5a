//! What Redis itself allows: the leanest that does each step of a job's way, with the cheapest
//! client there is. Nothing here is a queue that one could use.
//!
//! - Enqueued in bulk: one script a batch, which writes the envelopes and appends the ids. Or,
//!   `bare=1`, one RPUSH of payloads.
//! - Run: one script a batch, which settles the batch before and claims the next under a lease (a
//!   set of what this worker has in flight). Or, `bare=1`, one LPOP of payloads.
//! - Enqueued one by one: `one=0`, the default, PING over the client library that Shiftwork uses;
//!   `one=1`, an RPUSH over the same; `one=2`, the script over the same, and a PUBLISH in it.
//! - Idle: `one=1`, a BLPOP; `one=2`, a message that says there is something, and then the script.

mod cycle;
mod enqueue;
mod wire;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use peers_protocol::{Contender, Produce, Tally, Told, Work};
use tokio::task::JoinHandle;

use crate::enqueue::Enqueues;

struct Limit;

fn main() -> ExitCode {
    peers_protocol::play::<Limit>()
}

impl Contender for Limit {
    const VERSION: &'static str = "scripts of this tree";
    const THREADS: u64 = 0;
    type Producer = Enqueues;
    type Worker = Vec<JoinHandle<Result<()>>>;

    async fn producer(told: &Told, _: &Produce) -> Result<Enqueues> {
        Enqueues::open(told).await
    }

    async fn work(told: &Told, _: &Work, tally: Arc<Tally>) -> Result<Self::Worker> {
        cycle::start(told, tally).await
    }

    async fn stop(worker: Self::Worker) -> Result<()> {
        for lane in worker {
            if lane.is_finished() {
                lane.await??;
            } else {
                lane.abort();
            }
        }
        Ok(())
    }
}
