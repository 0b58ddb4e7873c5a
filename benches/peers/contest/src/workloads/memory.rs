//! Bytes of a waiting job.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use peers_protocol::Produce;

use super::Outcome;
use crate::arena::{Arena, bulk};
use crate::entry::Entry;

/// Enqueued before the first look, so that scripts and whatever a queue has once are there.
const EARLIER: u64 = 1000;

/// How long a server has to let go of what connections took.
const LETTING_GO: Duration = Duration::from_millis(300);

pub(super) fn run(arena: &Arena, entry: &Entry, jobs: u64) -> Result<Outcome> {
    arena.fill(entry, EARLIER)?;
    thread::sleep(LETTING_GO);
    let before = arena.usage();
    let mut producer = arena.produce(entry, Produce { first: EARLIER, ..bulk(jobs - EARLIER) })?;
    producer.produced()?;
    let version = producer.version.clone();
    drop(producer);
    thread::sleep(LETTING_GO);
    let used = arena.usage().since(&before);
    Ok(Outcome::default()
        .with("jobs", jobs as f64)
        .with("bytes", used.bytes / (jobs - EARLIER) as f64)
        .version(&version))
}
