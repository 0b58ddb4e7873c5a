//! What a job costs the server while few others wait, and while many do: first one, then the other.

use anyhow::Result;

use super::Outcome;
use super::steady::{self, Setting};
use crate::arena::Arena;
use crate::entry::Entry;

const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;

pub(super) fn run([few, many]: [&mut Arena; 2], entry: &Entry) -> Result<Outcome> {
    let setting = |waiting| Setting { waiting, workers: 1, queues: 1 };
    steady::fill(few, entry, setting(FEW))?;
    steady::fill(many, entry, setting(MANY))?;
    let few = steady::cost(few, entry, setting(FEW))?;
    let many = steady::cost(many, entry, setting(MANY))?;
    Ok(Outcome::default()
        .with("few", few.server)
        .with("many", many.server)
        .with("ratio", many.server / few.server)
        .version(&many.version))
}
