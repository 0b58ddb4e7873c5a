//! A full queue, emptied by one worker process.

use anyhow::Result;

use super::{Outcome, jobs};
use crate::arena::Arena;
use crate::entry::Entry;

pub(super) fn run(arena: &Arena, entry: &Entry, concurrency: u64, keep: bool) -> Result<Outcome> {
    let jobs = match concurrency {
        ..50 => jobs(entry, 60_000, 15_000),
        _ => jobs(entry, 300_000, 20_000),
    };
    arena.fill(entry, jobs)?;
    let before = arena.usage();
    let mut work = arena.worker(concurrency, jobs);
    work.keep_completed = keep;
    let mut worker = arena.work_as(entry, work)?;
    let span = worker.done()?;
    let used = arena.usage().since(&before);
    worker.stop()?;
    let complaint = arena.deliveries(jobs, 1)?.complaint();
    Ok(Outcome::default().costs(jobs, span, &used).complain(complaint).version(&worker.version))
}
