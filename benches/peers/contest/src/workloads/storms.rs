//! Many jobs at one instant: due, or failed.

use std::time::Duration;

use anyhow::{Result, bail};
use peers_protocol::{Produce, monotonic_ns, unix_ms};

use super::{Outcome, jobs};
use crate::arena::{Arena, bulk};
use crate::entry::{Entry, Pace};
use crate::numbers::Quantiles;

const CONCURRENCY: u64 = 500;

const DELAYED: u64 = 100_000;

/// 100,000 jobs, due at one instant.
pub(super) fn delayed(arena: &Arena, entry: &Entry) -> Result<Outcome> {
    // Ample for enqueueing, on a whole second: some know no finer one.
    let ahead = Duration::from_secs(if entry.pace == Pace::Fast { 6 } else { 15 });
    let at_ms = (unix_ms() + ahead.as_millis() as u64).div_ceil(1000) * 1000;
    let due_ns = monotonic_ns() + (at_ms - unix_ms()) * 1_000_000;
    let what = Produce { at_ms: Some(at_ms), ..bulk(DELAYED) };
    arena.produce(entry, what)?.produced()?;
    let mut work = arena.worker(CONCURRENCY, DELAYED);
    work.timed = true;
    let mut worker = arena.work_as(entry, work)?;
    if unix_ms() >= at_ms {
        bail!("enqueueing took longer than the {ahead:?} that the jobs were delayed");
    }
    let before = arena.usage();
    worker.done()?;
    let used = arena.usage().since(&before);
    worker.stop()?;
    let found = arena.deliveries(DELAYED, 1)?;
    let late = Quantiles::of(found.began_ns.iter().map(|began| micros(*began, due_ns)).collect());
    let early = found.began_ns.iter().filter(|began| **began + 1_000_000 < due_ns).count();
    let early = (early > 0).then(|| format!("{early} begun early"));
    Ok(Outcome::default()
        .with("jobs", DELAYED as f64)
        .with("server", used.cpu * 1e6 / DELAYED as f64)
        .with("all_ms", late.at(1.0) / 1000.0)
        .delays(&late)
        .complain(found.complaint().or(early))
        .version(&worker.version))
}

/// Each job fails once.
pub(super) fn retried(arena: &Arena, entry: &Entry) -> Result<Outcome> {
    let jobs = jobs(entry, 50_000, 20_000);
    let what = Produce { retried: true, ..bulk(jobs) };
    arena.produce(entry, what)?.produced()?;
    let mut work = arena.worker(CONCURRENCY, jobs);
    work.fail_first = true;
    let before = arena.usage();
    let mut worker = arena.work_as(entry, work)?;
    let span = worker.done()?;
    let used = arena.usage().since(&before);
    worker.stop()?;
    let complaint = arena.deliveries(jobs, 2)?.complaint();
    Ok(Outcome::default().costs(jobs, span, &used).complain(complaint).version(&worker.version))
}

/// Microseconds from one instant to the other; 0 if it is before.
fn micros(later_ns: u64, earlier_ns: u64) -> f64 {
    later_ns.saturating_sub(earlier_ns) as f64 / 1000.0
}
