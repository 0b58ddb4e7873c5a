//! Schedules: what enqueues a job again and again.
//!
//! The store keeps a schedule's definition and its next occurrence; it understands neither
//! patterns nor calendars. The engine computes occurrences, and [fires](crate::JobAdapter::fire)
//! each as a compare-and-set on the schedule's revision and next occurrence. So any number of
//! processes may tick without a leader, and an occurrence is handled by exactly one of them.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    AdapterError, AppName, JobId, JobName, JobState, Payload, Priority, QueueName, Result,
    ScheduleId, Scope, Ticket, Timestamp,
};

/// A schedule as somebody defined it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Schedule {
    /// Which schedule.
    pub id: ScheduleId,
    /// Where its jobs are enqueued.
    pub queue: QueueName,
    /// When it is due.
    pub timing: Timing,
    /// What it enqueues.
    pub template: JobTemplate,
    /// What happens to an occurrence that comes while the previous run is not yet settled.
    pub overlap: Overlap,
    /// What happens to an occurrence noticed more than a minute late.
    pub misfire: Misfire,
    /// Whether it fires. One that does not keeps its place and can be triggered by hand.
    pub enabled: bool,
    /// Who defined it.
    pub origin: Origin,
}

impl Schedule {
    /// A schedule made at run time, enabled, with the default policies.
    pub fn new(id: ScheduleId, queue: QueueName, timing: Timing, template: JobTemplate) -> Self {
        Self {
            id,
            queue,
            timing,
            template,
            overlap: Overlap::default(),
            misfire: Misfire::default(),
            enabled: true,
            origin: Origin::RunTime,
        }
    }
}

/// When a schedule is due. Kept as text and numbers: the store does not interpret it, and a
/// program that cannot reports that schedule and leaves the others alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Timing {
    /// A cron pattern in a time zone.
    Cron {
        /// Five fields as in crontab(5), or six with seconds in front.
        pattern: String,
        /// An IANA name, such as `Europe/Berlin`.
        timezone: String,
    },
    /// At every whole multiple of an interval since the Unix epoch, so that neither a restart nor
    /// a late tick shifts it.
    Every {
        /// The interval in milliseconds.
        period_ms: u64,
    },
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { pattern, timezone } => write!(f, "{pattern} ({timezone})"),
            Self::Every { period_ms } => write!(f, "every {:?}", Duration::from_millis(*period_ms)),
        }
    }
}

/// The job that a schedule enqueues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobTemplate {
    /// Which handler.
    pub name: JobName,
    /// What it is given.
    pub payload: Payload,
    /// As in [`JobSpec`](crate::JobSpec).
    pub priority: Priority,
    /// As in [`JobSpec`](crate::JobSpec).
    pub attempts: Option<NonZeroU32>,
    /// As in [`JobSpec`](crate::JobSpec).
    pub timeout: Option<Duration>,
    /// As in [`JobSpec`](crate::JobSpec).
    pub keep_result: Option<Duration>,
    /// As in [`Provenance`](crate::Provenance).
    pub scope: Option<Scope>,
}

impl JobTemplate {
    /// A job of normal priority.
    pub fn new(name: JobName, payload: Payload) -> Self {
        Self {
            name,
            payload,
            priority: Priority::Normal,
            attempts: None,
            timeout: None,
            keep_result: None,
            scope: None,
        }
    }
}

/// What happens to an occurrence that comes while the previous run is not yet settled for good,
/// its retries included. A run by hand does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overlap {
    /// It makes a job beside the other.
    Allow,
    /// It makes none, and is counted as skipped.
    #[default]
    Skip,
}

/// What happens to occurrences noticed more than a minute late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Misfire {
    /// They make no job.
    Skip,
    /// The latest of them makes one job, for all.
    #[default]
    Once,
    /// Each of the latest [`MISFIRE_ALL_BOUND`] of them makes a job of its own, one after the
    /// other; those before make none. For runs that may [overlap](Overlap::Allow): under
    /// [`Overlap::Skip`], the others come while the first is not yet settled.
    All,
}

/// How many of the occurrences that were noticed late make a job under [`Misfire::All`]: the
/// latest. Those before are counted as missed.
pub const MISFIRE_ALL_BOUND: usize = 1000;

/// Who defined a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// The code of an application: it follows that application's releases.
    Code {
        /// The application.
        app: AppName,
    },
    /// A call while the program ran: left alone until a call removes it.
    RunTime,
}

/// A schedule as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleRecord {
    /// The definition.
    pub schedule: Schedule,
    /// Counts its changes.
    pub revision: u64,
    /// The occurrence that comes next; `None`: none is left.
    pub next: Option<Timestamp>,
    /// The occurrence that made a job last.
    pub last: Option<LastRun>,
    /// How many occurrences made a job.
    pub fired: u64,
    /// How many made none since the previous run was not settled.
    pub overlapped: u64,
    /// How many made none since they were noticed too late.
    pub missed: u64,
}

impl ScheduleRecord {
    /// A schedule that has never fired.
    pub fn new(schedule: Schedule, revision: u64, next: Option<Timestamp>) -> Self {
        Self { schedule, revision, next, last: None, fired: 0, overlapped: 0, missed: 0 }
    }
}

/// The last occurrence that made a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastRun {
    /// The occurrence.
    pub occurrence: Timestamp,
    /// The job it made.
    pub job: JobId,
    /// Where that job is, as far as the store still knows it.
    pub state: Option<JobState>,
}

impl LastRun {
    /// A run of `job` for `occurrence`, of whose state nothing is known.
    pub fn new(occurrence: Timestamp, job: JobId) -> Self {
        Self { occurrence, job, state: None }
    }
}

/// All schedules, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Schedules {
    /// The store's time.
    pub now: Timestamp,
    /// Ordered by id.
    pub records: Vec<ScheduleRecord>,
    /// The queues whose schedules could not be read, each with why: those of the others are told
    /// all the same, so that the trouble of one server of a store is not that of all.
    pub unread: Vec<(QueueName, AdapterError)>,
    /// What this answer has seen.
    pub ticket: Ticket,
}

impl Schedules {
    /// The schedules as seen at `now`, all of them.
    pub fn new(now: Timestamp, records: Vec<ScheduleRecord>, ticket: Ticket) -> Self {
        Self { now, records, unread: Vec::new(), ticket }
    }

    /// All schedules; an error where some could not be read.
    ///
    /// # Errors
    /// Why the first of [`unread`](Self::unread) could not be.
    pub fn complete(self) -> Result<Self> {
        match self.unread.into_iter().next() {
            None => Ok(Self { unread: Vec::new(), ..self }),
            Some((queue, error)) => Err(error.with_context("queue", queue)),
        }
    }
}

/// What defining a schedule did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defined {
    /// There was none of that id.
    Created,
    /// There was another; its next occurrence is now the one given.
    Replaced,
    /// There was this very one; its next occurrence stays.
    Unchanged,
}

/// One occurrence that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Firing {
    /// Which schedule.
    pub schedule: ScheduleId,
    /// Its revision, as read.
    pub revision: u64,
    /// Its next occurrence, as read. Due by the store's clock, or nothing happens.
    pub occurrence: Timestamp,
    /// The occurrence for which a job is made, if one is: the latest of those noticed late
    /// together, else `occurrence` itself. `None`: all of them were noticed too late.
    pub run: Option<Timestamp>,
    /// How many occurrences made no job since they were noticed too late.
    pub missed: u64,
    /// The occurrence after it.
    pub next: Option<Timestamp>,
}

impl Firing {
    /// A firing of an occurrence noticed in time.
    pub fn new(record: &ScheduleRecord, occurrence: Timestamp, next: Option<Timestamp>) -> Self {
        Self {
            schedule: record.schedule.id.clone(),
            revision: record.revision,
            occurrence,
            run: Some(occurrence),
            missed: 0,
            next,
        }
    }
}

/// What became of a [`Firing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fired {
    /// It made this job. Answered to exactly one firing of an occurrence, and to its resends.
    Job(JobId),
    /// It made none: the previous run is not settled. The schedule has moved on.
    Overlapped,
    /// It made none: it was noticed too late. The schedule has moved on.
    Missed,
    /// By the store's clock it is not due yet. Nothing changed.
    Early,
    /// The schedule has another revision or next occurrence, is disabled, or is no more. Nothing
    /// changed; look again.
    Stale,
}

/// A run of a schedule's job by hand, now, apart from its cadence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trigger {
    /// Which schedule. It may be disabled.
    pub schedule: ScheduleId,
    /// The id of the job to make; a resend with the same is the same trigger.
    pub job: JobId,
    /// Instead of the schedule's own payload.
    pub payload: Option<Payload>,
    /// How long its result is kept.
    pub keep_result: Duration,
    /// Whose data it is about, where the schedule does not say.
    pub scope: Option<Scope>,
    /// Who asks.
    pub actor: Option<String>,
    /// Ties it to what caused it.
    pub correlation_id: Option<String>,
    /// The span it was asked in.
    pub traceparent: Option<String>,
}

impl Trigger {
    /// A run with the schedule's own payload.
    pub fn new(schedule: ScheduleId, job: JobId, keep_result: Duration) -> Self {
        Self {
            schedule,
            job,
            payload: None,
            keep_result,
            scope: None,
            actor: None,
            correlation_id: None,
            traceparent: None,
        }
    }
}

/// What a [`Trigger`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Triggered {
    /// The job is in this queue.
    Enqueued(QueueName),
    /// There is no such schedule.
    NoSuchSchedule,
}
