//! tokio-cron-scheduler with its store in memory. It looks every 500 ms at what is due, and tells a
//! firing not for which second it is.

use std::sync::Arc;

use anyhow::Result;
use peers_protocol::{Firings, Timers, ToldTimers};
use tokio_cron_scheduler::{Job, JobScheduler};

const PATTERN: &str = "* * * * * *";

/// How many messages its channels hold for each timer: with the 200 that they hold by default, most
/// of a thousand firings at one instant are lost.
const CHANNEL: u64 = 4;

pub(crate) struct TokioCronScheduler;

impl Timers for TokioCronScheduler {
    const VERSION: &'static str = "0.15.1";
    type Scheduler = JobScheduler;

    async fn start(told: &ToldTimers, firings: Arc<Firings>) -> Result<JobScheduler> {
        let channel = told.tuning.of("channel", CHANNEL * told.timers);
        let scheduler = JobScheduler::new_with_channel_size(channel as usize).await?;
        for timer in 0..told.timers {
            let firings = firings.clone();
            let job = Job::new_async(PATTERN, move |_, _| {
                let firings = firings.clone();
                Box::pin(async move { firings.fired_now(timer) })
            })?;
            scheduler.add(job).await?;
        }
        scheduler.start().await?;
        Ok(scheduler)
    }

    async fn stop(mut scheduler: JobScheduler) -> Result<()> {
        Ok(scheduler.shutdown().await?)
    }
}
