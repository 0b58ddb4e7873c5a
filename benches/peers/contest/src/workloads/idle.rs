//! A worker that has little to do, and one that has nothing.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use peers_protocol::Shape;

use super::Outcome;
use crate::arena::{Arena, shaped};
use crate::entry::Entry;

/// Jobs of one run, and the time between two.
const JOBS: u64 = 600;
const EVERY_US: u64 = 7_000;

const CONCURRENCY: u64 = 16;

/// How long a worker is let alone, and before that for what it does at its start.
const ALONE: Duration = Duration::from_secs(30);
const SETTLING: Duration = Duration::from_secs(2);

/// From the call of enqueue to the handler's start.
pub(super) fn latency(arena: &Arena, entry: &Entry) -> Result<Outcome> {
    let mut work = arena.worker(CONCURRENCY, JOBS);
    work.timed = true;
    let mut worker = arena.work_as(entry, work)?;
    thread::sleep(SETTLING / 4);
    let before = arena.usage();
    let paced = shaped(JOBS, Shape::Paced { every_us: EVERY_US });
    let mut producer = arena.produce(entry, paced)?;
    let span = producer.produced()?;
    worker.done()?;
    let used = arena.usage().since(&before);
    worker.stop()?;
    let found = arena.deliveries(JOBS, 1)?;
    Ok(Outcome::default()
        .costs(JOBS, span, &used)
        .delays(&found.late_us)
        .complain(found.complaint())
        .version(&worker.version))
}

/// What it costs to wait.
pub(super) fn nothing(arena: &Arena, entry: &Entry) -> Result<Outcome> {
    // A queue that has been used, as most have.
    arena.fill(entry, 100)?;
    let mut worker = arena.work(entry, CONCURRENCY, 100)?;
    worker.done()?;
    thread::sleep(SETTLING);
    let (before, cpu) = (arena.usage(), worker.cpu_us()?);
    thread::sleep(ALONE);
    let (used, cpu) = (arena.usage().since(&before), worker.cpu_us()? - cpu);
    worker.stop()?;
    let seconds = ALONE.as_secs_f64();
    Ok(Outcome::default()
        .with("calls", used.calls / seconds)
        .with("scripts", used.scripts / seconds)
        .with("client", cpu as f64 / seconds)
        .with("server", used.cpu * 1e6 / seconds)
        .version(&worker.version))
}
