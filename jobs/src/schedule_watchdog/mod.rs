//! The job `schedule-watchdog`: reports each schedule that has not run when it should have.
//!
//! A schedule that fires no more is silent: nothing fails, and nobody is told. The night's report is
//! simply not there. This job looks at all schedules of the store, whoever defined them, and tells the
//! log of each that is [late](Late).
//!
//! ```
//! use shiftwork::prelude::*;
//! use shiftwork_jobs::schedule_watchdog::{ScheduleWatch, ScheduleWatchdog, WatchdogReport};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let jobs = Jobs::from_vars([("JOBS_PROVIDER", "memory")]);
//! # stringify! {
//! let jobs = Jobs::from_env();
//! # };
//! // It needs none of this to run: it is for who wants to be told in another way than by the log.
//! let watch = ScheduleWatch::new().tolerance(minutes(10)).notify(|late| async move {
//!     println!("page somebody, once for each {}: {late}", late.key());
//!     Ok(())
//! });
//! # let jobs = jobs.state(shiftwork_jobs::data_retention::RetentionTargets::new());
//! let jobs = jobs.state(watch).start().await?;
//!
//! // It runs every five minutes. By hand:
//! let run = jobs.trigger(ScheduleWatchdog.job()).await?;
//! let result = run.result(minutes(1)).await?.finished().expect("it takes no minute");
//! let report: WatchdogReport = result.data()?.expect("it returns a report");
//! assert!(report.late.is_empty());
//! # jobs.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # When it runs
//! Every five minutes, unless `JOBS_SCHEDULE_WATCHDOG_SCHEDULE` says otherwise;
//! `JOBS_SCHEDULE_WATCHDOG_ENABLED=false` leaves it to be triggered by hand. It waits in the queue
//! `default`, ahead of what is of normal priority there.
//!
//! # What is late
//! By the store's clock, and going by what the store says of each schedule:
//!
//! | | what is seen | unless for less than | what may be behind it |
//! |---|---|---|---|
//! | [`Overdue`](Late::Overdue) | its time has come, and nobody has fired it | 5 minutes | no process with the role `worker` or `cron`; none that can read the schedule; its part of the store was away |
//! | [`Waiting`](Late::Waiting) | it has fired, and no worker has begun the job | 15 minutes | no process serves the queue; the queue is paused, or too full |
//! | [`Running`](Late::Running) | the job was begun, and has not come to an end | 6 hours | a handler that hangs, and blocks, so that its timeout cannot end it |
//! | [`Failed`](Late::Failed) | the last run is a dead letter, and nobody has run it by hand since | | the job's error, in the dead letter |
//!
//! [`ScheduleWatch`] changes the times. A schedule is reported for one thing, the first of these.
//!
//! Not late is what somebody wants so: a schedule that is disabled or paused, and one that has been
//! resumed until its next occurrence; one that has ended, but for a last run that waits or does not
//! end; a run that was cancelled; one that failed and is going to be tried again. And an occurrence
//! that makes no run since the one before it is not done, as the schedule's overlap policy says: the
//! one before it is reported once it takes too long. Occurrences that were skipped or missed for good
//! are not counted here: whether there are more of them than there were takes a memory that a run does
//! not have. The engine tells of them when it happens, and [`ScheduleRecord`] counts them.
//!
//! # What becomes of it
//! Each late schedule is one event in the log, an error, with the fields `schedule`, `late`, `since`,
//! `last.occurrence` and `last.job`; and one [`LateSchedule`] in the [`WatchdogReport`] that the run
//! returns. It is given to [`notify`](ScheduleWatch::notify), too, where an application has set it.
//!
//! A run that finds something *completes*: it has done its work. Were it to fail, it would be tried
//! again at once, find the same, and leave a dead letter every five minutes, of which none is worth a
//! replay. A run fails where it cannot do its work: where a part of the store cannot be read, so
//! that "nothing is late" would be a guess, and where `notify` fails.
//!
//! What is late is reported by every run for as long as it is so. A run remembers nothing, so
//! nothing is lost with a process, and an alert ends by itself when the reports do. Group alerts by
//! `schedule`, or by [`LateSchedule::key`], which is the same as long as the trouble is.
//!
//! After a time in which nothing was fired, the first run may find schedules that are made up for
//! in the same moment. It reports them: they have not run when they should have.
//!
//! # Who watches the watchdog
//! **It is fired as all schedules are. Where nobody fires schedules, it does not run either, and
//! reports nothing.** The same goes for its queue: one that nobody serves keeps it waiting. So let
//! something else ask, that needs neither: [`check`] only reads the store, in any process whatever its
//! role. A web process can answer it to whatever watches that. There, the watchdog's own schedule is
//! looked at, too, which no run does with itself; as it is due every five minutes, it is the first to
//! be found overdue.
//!
//! ```
//! use shiftwork::prelude::*;
//! use shiftwork_jobs::schedule_watchdog::{self, ScheduleWatch};
//!
//! /// Status and text, for a monitor to ask for every minute. No liveness probe: to restart a web
//! /// process fires no schedule.
//! async fn schedules(jobs: &Jobs) -> (u16, String) {
//!     match schedule_watchdog::check(jobs, &ScheduleWatch::new()).await {
//!         Ok(report) if report.late.is_empty() => (200, report.to_string()),
//!         Ok(report) => (503, report.to_string()),
//!         Err(error) => (503, error.to_string()),
//!     }
//! }
//! ```

mod judge;
mod report;
mod watch;

use serde::{Deserialize, Serialize};
#[cfg(doc)]
use shiftwork::ScheduleRecord;
use shiftwork::prelude::*;
use tracing::{debug, error, field};

pub use self::report::{Late, LateSchedule, WatchdogReport};
pub use self::watch::ScheduleWatch;

/// The payload of the job `schedule-watchdog`, which has nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleWatchdog;

#[job(name = "schedule-watchdog", every = "5m", timeout = "4m", priority = "high")]
impl Job for ScheduleWatchdog {
    async fn run(
        self,
        watch: Option<State<ScheduleWatch>>,
        ctx: JobContext,
    ) -> Result<JobResult, JobError> {
        let State(watch) = watch.unwrap_or_default();
        let report = look(&ctx.jobs(), &watch, Whose::AllButItsOwn).await?;
        report.late.iter().for_each(tell);
        if report.late.is_empty() {
            debug!(schedules = report.schedules, "no schedule is late");
        }
        let mut faults = Vec::new();
        for late in &report.late {
            if let Err(error) = watch.tell(late).await {
                faults.push(format!("{}: {error}", late.schedule));
            }
        }
        match faults.as_slice() {
            [] => JobResult::success().with_message(report.to_string()).with_data(&report),
            faults => {
                let message = format!("not all could be notified of: {}", faults.join("; "));
                JobResult::failure(message).with_data(&report)
            }
        }
    }
}

/// Looks which schedules are late, now. It only reads: nothing is logged, and nobody is
/// [notified](ScheduleWatch::notify). In any process, whatever its role.
///
/// Unlike a run of the job, it looks at the watchdog's own schedule, too.
///
/// # Errors
/// Where any part of the store cannot be read: of its schedules, nothing could be said.
pub async fn check(jobs: &Jobs, watch: &ScheduleWatch) -> shiftwork::Result<WatchdogReport> {
    look(jobs, watch, Whose::All).await
}

/// Which schedules are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    All,
    /// A run that looks at its own finds itself running, or what it has just made up for.
    AllButItsOwn,
}

async fn look(
    jobs: &Jobs,
    watch: &ScheduleWatch,
    whose: Whose,
) -> shiftwork::Result<WatchdogReport> {
    // Asked before what it is compared with: what happens in between is not late yet.
    let now = jobs.now().await?;
    let mut records = jobs.scheduled_jobs().await?;
    if whose == Whose::AllButItsOwn {
        records.retain(|record| record.schedule.template.name.as_str() != ScheduleWatchdog::NAME);
    }
    let mut report = WatchdogReport { now, schedules: records.len(), late: Vec::new() };
    for record in &records {
        let job = match judge::suspect(record, now, watch) {
            Some(job) => jobs.job(job).await?,
            None => None,
        };
        report.late.extend(judge::judge(record, job.as_ref(), now, watch));
    }
    Ok(report)
}

/// One event for each.
fn tell(late: &LateSchedule) {
    error!(
        schedule = %late.schedule,
        late = %late.late,
        since = %late.since,
        last.occurrence = late.last_run.map(field::display),
        last.job = late.job.map(field::display),
        "{late}"
    );
}
