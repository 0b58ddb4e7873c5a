//! Enqueueing and running together: as much as goes, and at a fixed rate.

use anyhow::{Context, Result};
use peers_protocol::{Shape, Span};

use super::{Outcome, jobs};
use crate::arena::{Arena, shaped};
use crate::entry::Entry;

const CONCURRENCY: u64 = 100;

/// How long jobs come at a fixed rate.
const SECONDS: f64 = 5.0;

/// As much as goes.
pub(super) fn both(arena: &Arena, entry: &Entry) -> Result<Outcome> {
    let jobs = jobs(entry, 100_000, 20_000);
    run_both(arena, entry, jobs, Shape::Tasks { tasks: 100 })
}

/// At a fixed rate.
pub(super) fn run(arena: &Arena, entry: &Entry, rate: f64) -> Result<Outcome> {
    let jobs = (rate * SECONDS) as u64;
    run_both(arena, entry, jobs, Shape::Open { rate })
}

/// At a share of what it has done when as much was asked as goes.
pub(super) fn share(arena: &Arena, entry: &Entry, percent: u64) -> Result<Outcome> {
    let capacity = entry.capacity.context("what it can do was not measured")?;
    run(arena, entry, capacity * percent as f64 / 100.0)
}

fn run_both(arena: &Arena, entry: &Entry, jobs: u64, shape: Shape) -> Result<Outcome> {
    let mut work = arena.worker(CONCURRENCY, jobs);
    work.timed = true;
    let mut worker = arena.work_as(entry, work)?;
    let before = arena.usage();
    let mut producer = arena.produce(entry, shaped(jobs, shape))?;
    let enqueued = producer.produced()?;
    let ran = worker.done()?;
    let used = arena.usage().since(&before);
    worker.stop()?;
    let found = arena.deliveries(jobs, 1)?;
    let span = Span {
        began_ns: enqueued.began_ns,
        ended_ns: ran.ended_ns.max(enqueued.ended_ns),
        cpu_us: enqueued.cpu_us + ran.cpu_us,
    };
    Ok(Outcome::default()
        .costs(jobs, span, &used)
        .delays(&found.late_us)
        .complain(found.complaint())
        .version(&worker.version))
}
