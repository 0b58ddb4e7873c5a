//! A task for each timer, which awaits an interval of tokio's: the floor. It knows no pattern, and
//! whoever changes the clock is not heard.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use peers_protocol::{Firings, Timers, ToldTimers, unix_ns};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Intervals;

impl Timers for Intervals {
    const VERSION: &'static str = "of tokio 1.54";
    type Scheduler = JoinSet<()>;

    async fn start(told: &ToldTimers, firings: Arc<Firings>) -> Result<JoinSet<()>> {
        let (now, instant) = (Duration::from_nanos(unix_ns()), Instant::now());
        let first = now.as_secs() + 1;
        let start = instant + (Duration::from_secs(first) - now);
        let tick = |timer, firings: Arc<Firings>| async move {
            let mut ticks = interval_at(start, SECOND);
            for second in first.. {
                ticks.tick().await;
                firings.fired(timer, second);
            }
        };
        Ok((0..told.timers).map(|timer| tick(timer, firings.clone())).collect())
    }

    async fn stop(mut timers: JoinSet<()>) -> Result<()> {
        timers.shutdown().await;
        Ok(())
    }
}
