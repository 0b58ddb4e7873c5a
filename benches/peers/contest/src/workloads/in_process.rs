//! Enqueued and run in one process, as much as goes of both.

use anyhow::Result;
use peers_protocol::ToldInProcess;

use super::{Outcome, jobs};
use crate::arena::bulk;
use crate::entry::Entry;
use crate::stage::Stage;

const CONCURRENCY: u64 = 500;

/// `threads`: of the runtime; 0: one on the current thread alone.
pub(super) fn run(stage: &Stage, entry: &Entry, threads: u64) -> Result<Outcome> {
    let jobs = jobs(entry, 1_000_000, 500_000);
    let produce = bulk(jobs);
    let work = stage.worker(CONCURRENCY, jobs);
    let told = ToldInProcess { produce, work, threads, tuning: entry.tuning.clone() };
    let mut process = stage.start(entry, &told)?;
    let span = process.done()?;
    process.stop()?;
    let complaint = stage.deliveries(jobs, 1)?.complaint();
    Ok(Outcome::default().pace(jobs, span).complain(complaint).version(&process.version))
}
