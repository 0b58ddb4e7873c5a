//! Enqueueing alone. Afterwards a worker shows that all is there.

use anyhow::{Result, bail};
use peers_protocol::Shape;

use super::{Outcome, Way, jobs};
use crate::arena::{Arena, shaped};
use crate::entry::{Entry, Kind};

pub(super) fn run(arena: &Arena, entry: &Entry, way: Way) -> Result<Outcome> {
    let (jobs, shape) = match way {
        Way::OneByOne => (6_000, Shape::OneByOne),
        Way::Tasks => (jobs(entry, 150_000, 20_000), Shape::Tasks { tasks: 100 }),
        Way::Bulk => (jobs(entry, 300_000, 30_000), Shape::Bulk),
    };
    let mut producer = arena.produce(entry, shaped(jobs, shape))?;
    // What it took to connect is not enqueueing.
    let before = arena.usage();
    let span = producer.produced()?;
    let used = arena.usage().since(&before);
    let outcome = Outcome::default().costs(jobs, span, &used).version(&producer.version);
    // A ping enqueues nothing.
    if entry.kind == Kind::Limit {
        return Ok(outcome);
    }
    let mut worker = arena.work(entry, 100, jobs)?;
    if let Err(error) = worker.done() {
        bail!("what was enqueued was not all run: {error:#}");
    }
    worker.stop()?;
    Ok(outcome.complain(arena.deliveries(jobs, 1)?.complaint()))
}
