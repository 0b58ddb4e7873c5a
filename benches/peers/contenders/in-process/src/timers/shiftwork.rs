//! Shiftwork's schedules, made at run time: each firing is a job, with a payload, a state and a
//! lease, that knows for which second it is.

use std::sync::Arc;

use anyhow::Result;
use peers_protocol::{Firings, Timers, ToldTimers};
use shiftwork::Overlap;
use shiftwork::prelude::*;

/// As its peer has it: by a pattern with seconds.
const PATTERN: &str = "* * * * * *";

#[job(queue = "timers")]
async fn fire(timer: u64, firings: State<Arc<Firings>>, ctx: JobContext) {
    firings.fired(timer, ctx.scheduled_at().as_millis() as u64 / 1000);
}

pub(crate) struct Shiftwork;

impl Timers for Shiftwork {
    const VERSION: &'static str = "0.1.0 (this tree)";
    type Scheduler = Jobs;

    async fn start(told: &ToldTimers, firings: Arc<Firings>) -> Result<Jobs> {
        let jobs = Jobs::from_vars([
            ("JOBS_PROVIDER", "memory".to_owned()),
            ("JOBS_QUEUES", "timers".into()),
            // None waits for another, as with the others, which know no bound.
            ("JOBS_CONCURRENCY", told.tuning.of("concurrency", told.timers).to_string()),
        ])
        .state(firings)
        .start()
        .await?;
        let is_pattern = told.tuning.of("pattern", 1) == 1;
        for timer in 0..told.timers {
            let (id, job) = (format!("timer-{timer}"), fire::job(timer));
            let schedule = match is_pattern {
                true => NewSchedule::cron(id, PATTERN, job),
                false => NewSchedule::every(id, seconds(1), job),
            };
            // The others do not ask either whether the run before has ended.
            let overlap = match told.tuning.of("overlap", 1) {
                1 => Overlap::Allow,
                _ => Overlap::Skip,
            };
            jobs.schedule(schedule.overlap(overlap)).await?;
        }
        Ok(jobs)
    }

    async fn stop(jobs: Jobs) -> Result<()> {
        Ok(jobs.shutdown().await?)
    }
}
