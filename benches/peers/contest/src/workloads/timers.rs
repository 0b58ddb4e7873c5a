//! Many timers that fire every second, on the whole second.

use anyhow::Result;
use peers_protocol::ToldTimers;

use super::Outcome;
use crate::entry::Entry;
use crate::numbers::whole;
use crate::stage::Stage;

const TIMERS: u64 = 1000;
const SECONDS: u64 = 10;

pub(super) fn title() -> String {
    let timers = whole(TIMERS as f64);
    format!("{timers} timers that fire every second, for {SECONDS} s, on one thread")
}

pub(super) fn run(stage: &Stage, entry: &Entry) -> Result<Outcome> {
    let (timers, seconds) = (TIMERS, SECONDS);
    let told = ToldTimers { timers, seconds, log: stage.log(), tuning: entry.tuning.clone() };
    let mut process = stage.start(entry, &told)?;
    let span = process.done()?;
    process.stop()?;
    let firings = timers * seconds;
    let found = stage.deliveries(firings, 1)?;
    Ok(Outcome::default()
        .with("jobs", firings as f64)
        .with("client", span.cpu_us as f64 / firings as f64)
        .with("missed", found.lost as f64)
        .with("doubled", found.again as f64)
        .with("most", found.late_us.at(1.0))
        .delays(&found.late_us)
        .complain(found.complaint())
        .version(&process.version))
}
