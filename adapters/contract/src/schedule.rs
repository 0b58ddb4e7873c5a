//! Schedules: what enqueues a job again and again.
//!
//! The store keeps a schedule's definition and its next occurrence; it understands neither
//! patterns nor calendars. The engine computes occurrences, and [fires](crate::JobAdapter::fire)
//! each as a compare-and-set on the schedule's revision and next occurrence. So any number of
//! processes may tick without a leader, and an occurrence is handled by exactly one of them.

use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    AdapterError, AppName, JobId, JobName, JobSpec, JobState, Payload, Priority, QueueName, Result,
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
    /// How late an occurrence may be noticed and still make a job; `None`: however late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misfire_within: Option<Duration>,
    /// No occurrence is before it, and an interval counts from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Timestamp>,
    /// No occurrence is after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
    /// How many occurrences make a job; then there is no other. Runs by hand do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroU64>,
    /// Each occurrence is [due](Self::due) so much later at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Duration>,
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
            misfire_within: None,
            starts: None,
            ends: None,
            limit: None,
            jitter: None,
            enabled: true,
            origin: Origin::RunTime,
        }
    }

    /// When an occurrence is due: at its time, or less than the jitter later. How much, goes by a
    /// hash of schedule and occurrence: the same wherever it is computed.
    pub fn due(&self, occurrence: Timestamp) -> Timestamp {
        let spread = self.jitter.map_or(0, |jitter| jitter.as_millis());
        if spread == 0 {
            return occurrence;
        }
        let hash = u128::from_be_bytes(*JobId::of_occurrence(&self.id, occurrence).as_bytes());
        let late = u64::try_from(hash % spread).unwrap_or(u64::MAX);
        occurrence + Duration::from_millis(late)
    }
}

/// When a schedule has an occurrence. Kept as text and numbers: the store does not interpret it, and a
/// program that cannot reports that schedule and leaves the others alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// At every whole multiple of an interval since the schedule's start, or since the Unix epoch
    /// where it has none, so that neither a restart nor a late tick shifts it.
    Every {
        /// The interval in milliseconds.
        period_ms: u64,
    },
    /// Once. The schedule is removed in the step that moves past its occurrence.
    Once {
        /// When.
        at: Timestamp,
    },
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { pattern, timezone } => write!(f, "{pattern} ({timezone})"),
            Self::Every { period_ms } => write!(f, "every {:?}", Duration::from_millis(*period_ms)),
            Self::Once { at } => write!(f, "once at {at}"),
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
/// its retries included. A run by hand is a run, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overlap {
    /// It makes a job beside the other.
    Allow,
    /// It makes none, and is counted as skipped.
    #[default]
    Skip,
    /// It makes one as soon as that run is settled. While one waits so, those that come are
    /// skipped.
    Queue,
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
    pub schedule: Arc<Schedule>,
    /// Counts its changes.
    pub revision: u64,
    /// The occurrence that comes next; `None`: none is left. It is [due](Self::due) at this time
    /// or, with jitter, a little later.
    pub next: Option<Timestamp>,
    /// The occurrence that made a job last.
    pub last: Option<LastRun>,
    /// The run that was [triggered](crate::JobAdapter::trigger) last, its occurrence the time of
    /// that.
    pub by_hand: Option<LastRun>,
    /// The occurrence that makes a job as soon as the run before it is settled.
    pub queued: Option<Timestamp>,
    /// Whether somebody has [paused](crate::JobAdapter::pause_schedule) it.
    pub paused: bool,
    /// How many occurrences made a job.
    pub fired: u64,
    /// How many made none since the previous run was not settled.
    pub overlapped: u64,
    /// How many made none since they were noticed too late.
    pub missed: u64,
    /// The last of these that were passed over together.
    pub passed: Option<Passed>,
}

/// Occurrences that made no job since they were noticed too late, one after the other. Where the
/// store's clock was ahead then and is set back, their time is still to come: the schedule may be
/// [rewound](crate::JobAdapter::rewind) to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passed {
    /// The first of them.
    pub from: Timestamp,
    /// They were before this.
    pub upto: Timestamp,
    /// Where the schedule was rewound to them: the occurrence that it was at. It is the one that
    /// follows them, since those between have been decided.
    pub resume: Option<Timestamp>,
}

impl Passed {
    /// Occurrences that are passed over, to which the schedule was not rewound.
    pub fn new(from: Timestamp, upto: Timestamp) -> Self {
        Self { from, upto, resume: None }
    }

    /// The same, where the schedule was rewound from there.
    #[must_use]
    pub fn resumed(self, resume: Option<Timestamp>) -> Self {
        Self { resume, ..self }
    }
}

/// Goes back to an occurrence that was [passed over](Passed).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewind {
    /// Which schedule.
    pub schedule: ScheduleId,
    /// Its revision, as read.
    pub revision: u64,
    /// Its next occurrence, as read.
    pub next: Timestamp,
    /// The occurrence that comes next instead.
    pub earlier: Timestamp,
}

impl Rewind {
    /// From the next occurrence of a schedule to an earlier one; `None`: it has no next one.
    pub fn new(record: &ScheduleRecord, earlier: Timestamp) -> Option<Self> {
        let (schedule, revision) = (record.schedule.id.clone(), record.revision);
        Some(Self { schedule, revision, next: record.next?, earlier })
    }
}

impl ScheduleRecord {
    /// A schedule that has never fired.
    pub fn new(schedule: impl Into<Arc<Schedule>>, revision: u64, next: Option<Timestamp>) -> Self {
        Self {
            schedule: schedule.into(),
            revision,
            next,
            last: None,
            by_hand: None,
            queued: None,
            paused: false,
            fired: 0,
            overlapped: 0,
            missed: 0,
            passed: None,
        }
    }

    /// Whether it may be [rewound](crate::JobAdapter::rewind) so: it is as it was read, and to an
    /// occurrence that was passed over and that it was not rewound to before.
    pub fn may_rewind(&self, rewind: &Rewind) -> bool {
        let is_passed = |passed: Passed| {
            passed.resume.is_none() && (passed.from..passed.upto).contains(&rewind.earlier)
        };
        self.revision == rewind.revision
            && self.next == Some(rewind.next)
            && rewind.earlier < rewind.next
            && self.passed.is_some_and(is_passed)
    }

    /// Whether it has been.
    pub fn is_rewound(&self, rewind: &Rewind) -> bool {
        self.revision == rewind.revision
            && self.next == Some(rewind.earlier)
            && self.passed.is_some_and(|passed| passed.resume == Some(rewind.next))
    }

    /// What is [passed over](Self::passed) once a firing has moved the schedule on: what this one
    /// passes over, else what was before. It is forgotten when a schedule that was rewound is where
    /// it was.
    pub fn passed_after(&self, firing: &Firing) -> Option<Passed> {
        match self.passed {
            _ if firing.of == FiringOf::Queued => self.passed,
            Some(Passed { resume: Some(resume), .. }) => {
                self.passed.filter(|_| firing.next.is_some_and(|next| next < resume))
            }
            _ if firing.missed == 0 => self.passed,
            _ => firing.run.or(firing.next).map(|upto| Passed::new(firing.occurrence, upto)),
        }
    }

    /// When the next occurrence is due.
    pub fn due(&self) -> Option<Timestamp> {
        self.next.map(|next| self.schedule.due(next))
    }

    /// Whether it fires: it is enabled, and nobody has paused it.
    pub fn is_active(&self) -> bool {
        self.schedule.enabled && !self.paused
    }

    /// Whether its limit of runs is used up.
    pub fn is_exhausted(&self) -> bool {
        self.schedule.limit.is_some_and(|limit| self.fired >= limit.get())
    }
}

/// A run of a schedule's job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastRun {
    /// The occurrence.
    pub occurrence: Timestamp,
    /// The job it made.
    pub job: JobId,
    /// Where that job is; once it has ended, how, also where the job itself is not kept. `None`:
    /// it is not known any more.
    pub state: Option<JobState>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl LastRun {
    /// A run of `job` for `occurrence`, of whose state nothing is known.
    pub fn new(occurrence: Timestamp, job: JobId) -> Self {
        Self { occurrence, job, state: None, finished_at: None }
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

/// Schedules that are due, queue by queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DueSchedules {
    /// Ordered by queue; also those where nothing is due.
    pub queues: Vec<DueInQueue>,
    /// The queues that could not be looked into, each with why.
    pub unread: Vec<(QueueName, AdapterError)>,
    /// What this answer has seen.
    pub ticket: Ticket,
}

impl DueSchedules {
    /// Nothing yet.
    pub fn new(ticket: Ticket) -> Self {
        Self { queues: Vec::new(), unread: Vec::new(), ticket }
    }
}

/// Schedules of a queue that are due.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DueInQueue {
    /// The queue.
    pub queue: QueueName,
    /// The store's time: no later than it was when this was answered, and hardly earlier.
    pub now: Timestamp,
    /// Those that have something to [fire](crate::JobAdapter::fire), or will have in as long as was
    /// asked for, the longest due first, up to the limit. Of the jobs of their last runs, no state
    /// is told.
    pub records: Vec<ScheduleRecord>,
    /// When the first is due that is not by then; `None`: none will be. Where there are as many as
    /// the limit, it may be `None` too: there may be more of them.
    pub next: Option<Timestamp>,
}

impl DueInQueue {
    /// What is due in `queue` at `now`.
    pub fn new(
        queue: QueueName,
        now: Timestamp,
        records: Vec<ScheduleRecord>,
        next: Option<Timestamp>,
    ) -> Self {
        Self { queue, now, records, next }
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

/// What of a schedule is fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FiringOf {
    /// Its next occurrence, which is due.
    #[default]
    Next,
    /// The occurrence that is [queued](ScheduleRecord::queued). It makes its job where the run
    /// before it is settled, and the next occurrence stays as it is.
    Queued,
}

/// One occurrence that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Firing {
    /// Which schedule.
    pub schedule: ScheduleId,
    /// Which of its occurrences.
    pub of: FiringOf,
    /// Its revision, as read.
    pub revision: u64,
    /// Its next or queued occurrence, as read. [Due](Schedule::due) by the store's clock, or
    /// nothing happens.
    pub occurrence: Timestamp,
    /// The occurrence for which a job is made, if one is: the latest of those noticed late
    /// together, else `occurrence` itself. `None`: all of them were noticed too late.
    pub run: Option<Timestamp>,
    /// How many occurrences made no job since they were noticed too late.
    pub missed: u64,
    /// The occurrence after it.
    pub next: Option<Timestamp>,
    /// By when, by the store's clock, it must have come: later than that it would have been planned
    /// otherwise, and is [stale](Fired::Stale). `None`: it is right at any time.
    pub until: Option<Timestamp>,
    /// The job that it makes, where that was [prepared](Self::prepared); else the store makes it.
    pub job: Option<Arc<JobSpec>>,
}

impl Firing {
    /// A firing of an occurrence noticed in time.
    pub fn new(record: &ScheduleRecord, occurrence: Timestamp, next: Option<Timestamp>) -> Self {
        Self {
            schedule: record.schedule.id.clone(),
            of: FiringOf::Next,
            revision: record.revision,
            occurrence,
            run: Some(occurrence),
            missed: 0,
            next,
            until: None,
            job: None,
        }
    }

    /// The same, with its job made, so that this need not be done when its time has come.
    #[must_use]
    pub fn prepared(self, schedule: &Schedule) -> Self {
        Self { job: self.run.map(|run| Arc::new(schedule.occurring(run))), ..self }
    }

    /// The firing of the occurrence that is queued.
    pub fn of_queued(record: &ScheduleRecord, queued: Timestamp) -> Self {
        Self { of: FiringOf::Queued, ..Self::new(record, queued, None) }
    }
}

/// What became of a [`Firing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fired {
    /// It made this job. Answered to exactly one firing of an occurrence, and to its resends.
    Job(JobId),
    /// It makes its job as soon as the previous run is settled. The schedule has moved on.
    Queued,
    /// It made none: the previous run is not settled. The schedule has moved on.
    Overlapped,
    /// It made none: it was noticed too late. The schedule has moved on.
    Missed,
    /// By the store's clock it is not due yet; or it is queued, and the run before it is not
    /// settled. Nothing changed.
    Early,
    /// The schedule has another revision or occurrence, is disabled or paused, or is no more; or
    /// the firing comes too late. Nothing changed; look again.
    Stale,
}

/// A run of a schedule's job by hand, now, apart from its cadence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trigger {
    /// Which schedule. It may be disabled.
    pub schedule: ScheduleId,
    /// The id of the job to make, [by hand](JobId::by_hand); a resend with the same is the same
    /// trigger.
    pub job: JobId,
    /// Whether it may stand beside a run that is not settled.
    pub overlap: TriggerOverlap,
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
            overlap: TriggerOverlap::AsScheduled,
            payload: None,
            keep_result,
            scope: None,
            actor: None,
            correlation_id: None,
            traceparent: None,
        }
    }
}

/// Whether a run by hand may stand beside a run of its schedule that is not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TriggerOverlap {
    /// Where the schedule [allows](Overlap::Allow) it. Else it makes no job, and is not queued.
    #[default]
    AsScheduled,
    /// Whatever the schedule says.
    Allow,
}

/// What a [`Trigger`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Triggered {
    /// The job is in this queue.
    Enqueued(QueueName),
    /// It made none: this run of the schedule is not settled.
    Overlapped(JobId),
    /// There is no such schedule.
    NoSuchSchedule,
}

/// A process says that it is there, and which schedules its code declares.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announcement {
    /// Whose schedules these are.
    pub app: AppName,
    /// Which process says so: a name that no other has.
    pub process: String,
    /// All that its code declares, by a hash.
    pub release: ReleaseId,
    /// The ids of that.
    pub declares: BTreeSet<ScheduleId>,
    /// For how long the process counts as there, unless it says so again.
    pub lasts: Duration,
}

impl Announcement {
    /// A process of an application.
    pub fn new(
        app: AppName,
        process: String,
        release: ReleaseId,
        declares: BTreeSet<ScheduleId>,
        lasts: Duration,
    ) -> Self {
        Self { app, process, release, declares, lasts }
    }
}

/// Says which release of an application: the hash of the schedules that its code declares, with
/// what the environment says of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseId(u128);

impl ReleaseId {
    /// The release that declares these schedules, in whatever order. 128 bits of FNV-1a over their
    /// definitions as JSON, ordered by id: the same in every process of a release.
    pub fn of<'a>(declared: impl IntoIterator<Item = &'a Schedule>) -> Self {
        let mut declared: Vec<_> = declared.into_iter().collect();
        declared.sort_by(|a, b| a.id.cmp(&b.id));
        // Without its payload where that is no JSON; the store refuses such a schedule anyway.
        let text = |schedule| serde_json::to_string(schedule).unwrap_or_default();
        Self(crate::id::fnv(declared.into_iter().map(text).flat_map(String::into_bytes)))
    }

    /// The release that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The releases of an application that are live: a process of each is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Releases {
    /// The store's time.
    pub now: Timestamp,
    /// The one that was first seen latest: the application's schedules follow it.
    pub ruling: ReleaseId,
    /// Whether the one that was announced is live only since: it is seen for the first time, or again
    /// after the store lost what it knew.
    pub is_new: bool,
    /// How many there are.
    pub live: usize,
    /// The schedules that any of them declares.
    pub declared: BTreeSet<ScheduleId>,
}

impl Releases {
    /// The live releases as seen at `now`.
    pub fn new(
        now: Timestamp,
        ruling: ReleaseId,
        live: usize,
        declared: BTreeSet<ScheduleId>,
    ) -> Self {
        Self { now, ruling, is_new: false, live, declared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(jitter: Option<Duration>) -> Schedule {
        let template = JobTemplate::new(JobName::new("job").unwrap(), Payload::none());
        let timing = Timing::Every { period_ms: 60_000 };
        let (id, queue) = (ScheduleId::new("id").unwrap(), QueueName::new("queue").unwrap());
        let mut schedule = Schedule::new(id, queue, timing, template);
        schedule.jitter = jitter;
        schedule
    }

    #[test]
    fn an_occurrence_without_jitter_is_due_at_its_time() {
        let at = Timestamp::from_millis(1_764_201_600_000);
        for jitter in [None, Some(Duration::ZERO), Some(Duration::from_micros(999))] {
            assert_eq!(schedule(jitter).due(at), at);
        }
    }

    #[test]
    fn jitter_is_the_same_each_time_and_spreads_over_all_of_its_range() {
        let schedule = schedule(Some(Duration::from_secs(10)));
        let mut tenths = [0; 10];
        for minute in 0..10_000 {
            let at = Timestamp::from_millis(minute * 60_000);
            let due = schedule.due(at);
            assert_eq!(due, schedule.due(at));
            let late = due.since(at);
            assert!(due >= at && late < Duration::from_secs(10), "{late:?}");
            tenths[usize::try_from(late.as_secs()).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|&count| (800..1200).contains(&count)), "{tenths:?}");
    }

    #[test]
    fn a_release_is_what_it_declares_in_whatever_order() {
        let (one, mut two) = (schedule(None), schedule(None));
        two.id = ScheduleId::new("two").unwrap();
        let release = ReleaseId::of([&one, &two]);
        assert_eq!(release, ReleaseId::of([&two, &one]));
        assert_eq!(ReleaseId::parse(&release.to_string()), Some(release));
        two.enabled = false;
        assert_ne!(release, ReleaseId::of([&one, &two]));
        assert_ne!(ReleaseId::of([&one]), ReleaseId::of([]));
    }
}
