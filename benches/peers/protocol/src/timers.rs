//! A contender whose timers fire every second, without a server, and its `main`.
//!
//! Each firing is for one second of the system's clock, and counted as a job is: by a number, made
//! of the timer's and the second's. Only those of a window count, so that neither beginning nor
//! ending is measured.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::clock::{cpu_us, monotonic_ns, unix_ns};
use crate::program::{obey, perform, say};
use crate::report::{Report, Span};
use crate::tally::Tally;
use crate::told::Work;
use crate::tuning::Tuning;

const SECOND_NS: u64 = 1_000_000_000;

/// How long before the window's first second CPU is counted from, and to before its end: between
/// two bursts of firings, so that there are as many in it as the window has seconds.
const BETWEEN: Duration = Duration::from_millis(300);

/// How late a firing may be, at the window's end, and still be counted.
const LATE: Duration = Duration::from_secs(1);

/// All that such a contender is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ToldTimers {
    /// How many there are. Their numbers are below it.
    pub timers: u64,
    /// How long the window is.
    pub seconds: u64,
    /// Where the log of deliveries is written when it stops. Its numbers are below `timers` times
    /// `seconds`.
    pub log: PathBuf,
    /// Settings that differ from its own.
    #[serde(default)]
    pub tuning: Tuning,
}

/// What is a peer's own.
pub trait Timers {
    /// Of the peer.
    const VERSION: &'static str;

    /// What keeps its timers going.
    type Scheduler;

    /// Has all timers fire every second from now on, each by calling [`Firings::fired`].
    fn start(
        told: &ToldTimers,
        firings: Arc<Firings>,
    ) -> impl Future<Output = Result<Self::Scheduler>>;

    /// Ends gracefully.
    fn stop(scheduler: Self::Scheduler) -> impl Future<Output = Result<()>>;
}

/// The firings of a window.
#[derive(Debug)]
pub struct Firings {
    tally: Tally,
    seconds: u64,
    /// Where it is, once it is.
    window: OnceLock<Window>,
}

/// The same instant by two clocks: the window's begin.
#[derive(Clone, Copy, Debug)]
struct Window {
    second: u64,
    monotonic_ns: u64,
}

/// The `main` of such a contender.
pub fn play_timers<C: Timers>() -> ExitCode {
    perform(|told: &ToldTimers| told.tuning.of("threads", 0), run::<C>)
}

async fn run<C: Timers>(told: ToldTimers) -> Result<()> {
    let firings = Arc::new(Firings::new(&told));
    let scheduler = C::start(&told, firings.clone()).await.context("starting the timers")?;
    say(&Report::Ready { version: C::VERSION.into() });
    obey(firings.watch(), &firings.tally).await?;
    C::stop(scheduler).await.context("stopping")?;
    let log = &told.log;
    firings.tally.write_log(log).with_context(|| format!("writing {}", log.display()))?;
    say(&Report::Stopped);
    Ok(())
}

impl Firings {
    fn new(told: &ToldTimers) -> Self {
        let expected = told.timers * told.seconds;
        let tally = Tally::new(&Work {
            concurrency: told.timers,
            expected,
            numbers: expected,
            fail_first: false,
            keep_completed: false,
            timed: true,
            dies_after: None,
            log: told.log.clone(),
        });
        Self { tally, seconds: told.seconds, window: OnceLock::new() }
    }

    /// A timer fired for a second since 1970, whenever it is now.
    pub fn fired(&self, timer: u64, second: u64) {
        let Some(window) = self.window.get() else { return };
        let Some(place) = second.checked_sub(window.second) else { return };
        if place < self.seconds {
            let due_ns = window.monotonic_ns + place * SECOND_NS;
            // It is told to fail no job, and so fails none.
            let _ = self.tally.run(timer * self.seconds + place, due_ns);
        }
    }

    /// A timer fired that does not say for which second: for the one that it now is.
    pub fn fired_now(&self, timer: u64) {
        self.fired(timer, unix_ns() / SECOND_NS);
    }

    /// Opens the window at a second to come, and waits until all that is in it was fired, or is
    /// too late.
    async fn watch(&self) -> Span {
        let (now, monotonic) = (unix_ns(), monotonic_ns());
        let second = (now + SECOND_NS).div_ceil(SECOND_NS);
        let window = Window { second, monotonic_ns: monotonic + (second * SECOND_NS - now) };
        let window = *self.window.get_or_init(|| window);
        let began_ns = window.monotonic_ns;
        let ended_ns = began_ns + self.seconds * SECOND_NS;
        sleep(until(began_ns).saturating_sub(BETWEEN)).await;
        let cpu = cpu_us();
        sleep(until(ended_ns).saturating_sub(BETWEEN)).await;
        let cpu_us = cpu_us() - cpu;
        sleep(until(ended_ns) + LATE).await;
        Span { began_ns, ended_ns, cpu_us }
    }
}

fn until(monotonic: u64) -> Duration {
    Duration::from_nanos(monotonic.saturating_sub(monotonic_ns()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_firings_of_the_window_count() {
        let told = ToldTimers { timers: 2, seconds: 3, log: tempfile(), tuning: Tuning::default() };
        let firings = Firings::new(&told);
        firings.fired(0, 100);
        firings.window.set(Window { second: 100, monotonic_ns: 5 * SECOND_NS }).unwrap();
        for second in 99..104 {
            firings.fired(1, second);
        }
        firings.tally.write_log(&told.log).unwrap();
        let records = crate::read_log(&told.log).unwrap();
        std::fs::remove_file(&told.log).unwrap();
        let seen: Vec<_> = records.iter().map(|[number, _, due]| (*number, *due)).collect();
        assert_eq!(seen, [(3, 5 * SECOND_NS), (4, 6 * SECOND_NS), (5, 7 * SECOND_NS)]);
    }

    fn tempfile() -> PathBuf {
        std::env::temp_dir().join(format!("firings-{}", std::process::id()))
    }
}
