//! What a job costs the server while few others wait, and while many do: first one, then the other.

use anyhow::{Result, ensure};
use peers_protocol::Produce;

use super::Outcome;
use crate::arena::{Arena, bulk};
use crate::entry::Entry;

const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;

/// Enqueued and run, measured.
const JOBS: u64 = 50_000;

pub(super) fn run([few, many]: [&Arena; 2], entry: &Entry) -> Result<Outcome> {
    few.fill(entry, FEW)?;
    many.fill(entry, MANY)?;
    let (few, version) = micros(few, entry, FEW)?;
    let (many, _) = micros(many, entry, MANY)?;
    Ok(Outcome::default()
        .with("few", few)
        .with("many", many)
        .with("ratio", many / few)
        .version(&version))
}

/// The server's CPU for a job, enqueued and run, and the peer's version.
fn micros(arena: &Arena, entry: &Entry, waiting: u64) -> Result<(f64, String)> {
    let mut producer = arena.produce(entry, Produce { first: waiting, ..bulk(JOBS) })?;
    let before = arena.usage();
    producer.produced()?;
    let enqueued = arena.usage().since(&before);
    drop(producer);

    let before = arena.usage();
    let mut work = arena.worker(100, JOBS);
    work.numbers = waiting + JOBS;
    let mut worker = arena.work_as(entry, work)?;
    worker.done()?;
    worker.stop()?;
    let ran = arena.usage().since(&before);
    let found = arena.deliveries(waiting + JOBS, 1)?;
    ensure!(found.again == 0, "{} run again", found.again);
    // It has run some more before it heard that it should stop.
    let count = waiting + JOBS - found.lost;
    let cost = enqueued.cpu / JOBS as f64 + ran.cpu / count as f64;
    Ok((cost * 1e6, worker.version.clone()))
}
