//! A worker is killed while it has jobs in hand: does another run them?

use std::time::Duration;

use anyhow::{Context, Result};
use peers_protocol::monotonic_ns;

use super::Outcome;
use crate::arena::Arena;
use crate::entry::Entry;

const JOBS: u64 = 20_000;

/// How many the first worker runs before it dies.
const RUN: u64 = 10_000;

const CONCURRENCY: u64 = 100;

/// A peer's lease, or what it has for one, in milliseconds. With defaults, some would take minutes
/// to miss a worker.
const LEASE_MS: u64 = 4000;

/// How long a job may be missing before it counts as lost: ample for a lease and whatever looks for
/// lapsed ones.
const PATIENCE: Duration = Duration::from_secs(40);

pub(super) fn run(arena: &Arena, entry: &Entry) -> Result<Outcome> {
    let entry = entry.tuned(entry.name, &[("lease_ms", LEASE_MS)]);
    arena.fill(&entry, JOBS)?;
    let mut work = arena.worker(CONCURRENCY, JOBS);
    work.dies_after = Some(RUN);
    arena.work_as(&entry, work)?.ended().context("waiting for the first worker's death")?;
    let died_ns = monotonic_ns();

    // It is never done: what the first has run and not settled may run again, and how much that is
    // nobody tells.
    let mut work = arena.worker(CONCURRENCY, u64::MAX);
    (work.numbers, work.timed) = (JOBS, true);
    let mut worker = arena.work_as(&entry, work)?;
    let until = died_ns + PATIENCE.as_nanos() as u64;
    std::thread::sleep(Duration::from_nanos(until.saturating_sub(monotonic_ns())));
    worker.stop()?;
    let found = arena.deliveries(JOBS, 1)?;
    let last_ns = found.began_ns.iter().copied().max().unwrap_or(died_ns);
    let lost = (found.lost > 0)
        .then(|| format!("{} not run {PATIENCE:?} after their worker died", found.lost));
    Ok(Outcome::default()
        .with("jobs", JOBS as f64)
        .with("lost", found.lost as f64)
        .with("again", found.again as f64)
        .with("all_ms", last_ns.saturating_sub(died_ns) as f64 / 1e6)
        .complain(lost)
        .version(&worker.version))
}
