//! [`JobAdapter`]: what a store must do.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Announcement, AppName, Beat, BeatReply, CancelJob, Capabilities, Counts, Defined, DueSchedules,
    Enqueued, Exchange, ExchangeReply, Find, Fired, Firing, Found, HeldPage, Incarnation, JobId,
    JobRecord, JobSpec, Operated, Pong, QueueName, Releases, Result, Rewind, Schedule, ScheduleId,
    ScheduleRecord, Schedules, ServerHealth, SweepAnswer, Timestamp, Trigger, Triggered, Watch,
};

/// How many jobs one call enqueues at most, all of them or none. Whoever has more makes several
/// calls of them.
pub const MAX_BATCH: usize = 10_000;

/// A store of jobs and schedules: passive, with atomic steps. It decides nothing about time or
/// execution; the engine does, and is the same above every store.
///
/// # What both sides owe
/// - **Atomic.** Every method that changes something does so in one step per queue: others see
///   all of it or nothing, and a store that dies in the middle did all of it or nothing.
/// - **Idempotent.** Every method may be sent again, unchanged, after its answer was lost, by the
///   adapter or by the engine; the effect is that of one. Each method says by what it is known.
/// - **Acknowledged.** What was answered `Ok` stays, for as long as the store keeps its data.
/// - **Three kinds of failure.** An error's [`effect`](crate::AdapterError::effect) tells "not
///   done", "done" and "not known" apart. A future that is dropped before it is ready is "not
///   known".
/// - **Time.** All decisions are by the store's one clock, which may jump forward and backward,
///   and which every answer that matters carries. Callers' clocks are never compared with it.
/// - **Order.** Waiting jobs of one queue are claimed by priority; within a priority in the order
///   of their enqueueing, where those that became due later than they were enqueued, or were
///   handed back, take their place by that moment and not ahead of what was waiting then.
///   Exceptions: a [release](crate::Outcome::Release) without delay and a recovery go ahead of
///   what waits.
/// - **In time.** A call that would take longer in all than
///   [`connect_timeout`](crate::StoreSettings::connect_timeout) fails: the engine leaves that to the
///   adapter, which knows best what is known then.
/// - **Bounded.** No step's cost grows with the number of jobs waiting, active or finished. What
///   has more to do than one step may, does part of it and says so.
/// - **Errors are about the store.** Something that is not there, not due or not allowed in this
///   state is an answer, not an error.
///
/// # Cancellation
/// Every future may be dropped at any await: then the effect is not known, and the call may be
/// sent again. [`wait`](Self::wait) and [`await_finish`](Self::await_finish) change nothing.
#[async_trait]
pub trait JobAdapter: Send + Sync + 'static {
    /// The name by which `JOBS_PROVIDER` chooses it.
    fn provider(&self) -> &'static str;

    /// How it differs from others.
    fn capabilities(&self) -> Capabilities;

    /// How the store's servers are, as far as this process knows without asking them. One that
    /// keeps its jobs in the process has none.
    fn servers(&self) -> Vec<ServerHealth> {
        Vec::new()
    }

    /// Asks for a sign of life.
    async fn ping(&self) -> Result<Pong>;

    // --- Schedules ---

    /// Defines a schedule, by its id. `next` is its next occurrence, for the case that the
    /// definition is new or changed; where it is stored unchanged, the stored one stays, and its
    /// revision too. A changed definition keeps counts, last runs, what is queued, and whether it
    /// is paused, but not what was [passed over](ScheduleRecord::passed). One whose
    /// [limit](Schedule::limit) is used up has no next occurrence.
    ///
    /// Moving a schedule to another queue removes it there first; where `next` and the timing are
    /// as they were, an occurrence is neither lost nor doubled. Last runs and what is queued stay
    /// behind with the old queue's jobs: what was queued is counted as overlapped.
    async fn schedule(&self, schedule: Schedule, next: Option<Timestamp>) -> Result<Defined>;

    /// Removes a schedule; answers whether there was one. Its jobs stay.
    async fn cancel(&self, schedule: &ScheduleId) -> Result<bool>;

    /// Whether there is a schedule of that id, enabled or not.
    async fn is_scheduled(&self, schedule: &ScheduleId) -> Result<bool>;

    /// One schedule, with what became of its last runs as far as it is still known.
    async fn scheduled_job(&self, schedule: &ScheduleId) -> Result<Option<ScheduleRecord>>;

    /// All schedules, with what became of their last runs as far as it is still known.
    async fn scheduled_jobs(&self) -> Result<Schedules>;

    /// Lets a schedule fire no more until it is [resumed](Self::resume_schedule), whatever its
    /// definition says by then. Answers whether there is such a schedule and it was not paused.
    async fn pause_schedule(&self, schedule: &ScheduleId) -> Result<bool>;

    /// The end of [`pause_schedule`](Self::pause_schedule); `next` is its next occurrence from now
    /// on. Answers whether there is such a schedule and it was paused; else nothing changes.
    async fn resume_schedule(&self, schedule: &ScheduleId, next: Option<Timestamp>)
    -> Result<bool>;

    /// Goes back to an earlier occurrence, where [that may be](ScheduleRecord::may_rewind), and takes
    /// note of the one that the schedule was at, as [`Passed::resume`](crate::Passed::resume); else
    /// changes nothing. Answers whether it has gone back so, by this call or by one like it.
    ///
    /// It is for a clock that was ahead and is set back. Counts stay.
    async fn rewind(&self, rewind: Rewind) -> Result<bool>;

    /// Enqueues the job of a schedule now, apart from its cadence: next occurrence, last run and
    /// counts are untouched, and the schedule may be disabled or paused. In the same step it is
    /// seen whether a run of the schedule, by hand or not, is unsettled, and whether this one may
    /// stand beside it. A resend is known by the job's id, for as long as the job or the record of
    /// the last run by hand is.
    async fn trigger(&self, trigger: Trigger) -> Result<Triggered>;

    /// The schedules that have something to [fire](Self::fire) by the store's clock, or will have
    /// within `ahead`, up to `limit` of each queue, and when there is more: those of `queues`, or of
    /// all that have schedules.
    ///
    /// An active schedule has that where its next occurrence is [due](Schedule::due) by then, or one
    /// is [queued](ScheduleRecord::queued) and no run of it is unsettled.
    ///
    /// Its cost goes by what is due, not by how many schedules there are. Where many are asked for,
    /// they may be read in several steps; what others fire or change meanwhile may be left out.
    async fn due(
        &self,
        queues: Option<&[QueueName]>,
        ahead: Duration,
        limit: usize,
    ) -> Result<DueSchedules>;

    /// Per firing, in one step: where revision and occurrence are still those given, the schedule
    /// is active, and the occurrence is due by the store's clock, and it is not too
    /// [late](Firing::until) for it as it was planned, applies the overlap policy,
    /// enqueues the job or counts why not, and moves on to the given next, or to none where the
    /// [limit](Schedule::limit) of runs is reached; else changes nothing. Answers in the order
    /// given. A schedule that is due [once](crate::Timing::Once) is removed in that step. What is
    /// [passed over](ScheduleRecord::passed) is kept as
    /// [`passed_after`](ScheduleRecord::passed_after) says.
    ///
    /// Firings of one schedule are applied in the order given, too: each may name as its occurrence
    /// what the one before it moves on to.
    ///
    /// The job's id is [`JobId::of_occurrence`], its actor `system`, its correlation id that id's
    /// text. A resend, known by what the firing says of the schedule, finds it moved on and answers the
    /// job that it made again, for as long as no later one was made, and the schedule is there.
    ///
    /// A store that becomes full on the way answers the error; firings of the batch before that
    /// one stay applied, and the [effect](crate::Effect) says so.
    async fn fire(&self, batch: &[Firing]) -> Result<Vec<Fired>>;

    /// Says that a process of an application is there, and with which schedules in its code; and
    /// answers which releases of it are. A release is live for as long as a process of it is, and
    /// is first seen whenever it becomes so.
    async fn announce(&self, announcement: Announcement) -> Result<Releases>;

    /// Says that a process of an application is there no more, for those who
    /// [announce](Self::announce) themselves later.
    async fn withdraw(&self, app: &AppName, process: &str) -> Result<()>;

    // --- Jobs, for those who enqueue ---

    /// Adds jobs to a queue: all of them or, on an error, none. Answers in the order given. A
    /// resend is known by the jobs' ids, for as long as the jobs are.
    ///
    /// Two of one id in a batch are one job. A batch of more than [`MAX_BATCH`] is
    /// [`Invalid`](crate::ErrorKind::Invalid), however many of its jobs are known.
    async fn enqueue(&self, queue: &QueueName, batch: Vec<JobSpec>) -> Result<Vec<Enqueued>>;

    /// One job; `None` where there is none of that id in the queue, or no more.
    async fn job(&self, queue: &QueueName, job: JobId) -> Result<Option<JobRecord>>;

    /// The job, as soon as it has ended, but no later than after `within`. `None` at once where
    /// there is none of that id, and as soon as there is none any more, since it ended and is not
    /// kept.
    async fn await_finish(
        &self,
        queue: &QueueName,
        job: JobId,
        within: Duration,
    ) -> Result<Option<JobRecord>>;

    /// Cancels a job: one that waits or is delayed ends here and now; an active one is marked,
    /// its worker told with the next answer, and whatever would let it run again (retry, release,
    /// recovery) cancels it instead.
    async fn cancel_job(&self, queue: &QueueName, job: JobId) -> Result<CancelJob>;

    // --- Jobs, for those who run them ---

    /// Settles finished attempts and claims jobs in one step: a worker's whole conversation with
    /// a queue. [`Exchange`] states the rules. With anything held after it, it renews the lease.
    async fn exchange(&self, exchange: &Exchange) -> Result<ExchangeReply>;

    /// What the store thinks an incarnation holds, ordered by id, from `after` on.
    async fn held(
        &self,
        queue: &QueueName,
        incarnation: Incarnation,
        after: Option<JobId>,
    ) -> Result<HeldPage>;

    /// A way to renew leases that shares nothing with the other methods that could be busy or
    /// stuck: for a store with connections, one of its own. Called on the thread and the runtime
    /// that will use it.
    async fn heart(&self) -> Result<Box<dyn Heart>>;

    /// Does what is due in a queue, in bounded steps: lets due jobs wait, suspects lapsed
    /// incarnations and takes back the jobs of those suspected for longer than the grace, forgets
    /// finished jobs that need not be kept.
    ///
    /// Each job taken back counts one crash, whether its handler had begun or not. It waits again,
    /// ahead of newer jobs of its priority; or is cancelled, if that was requested; or is dead,
    /// where it was claimed [solo](Exchange::solo) and the crash is the last allowed.
    async fn sweep(&self, queue: &QueueName) -> Result<SweepAnswer>;

    /// Returns when there may be something to do that the [ticket](crate::Ticket) has not seen.
    /// May return too early; may return too late only where the adapter's
    /// [wake-ups](crate::Wakeups) are best effort. The engine begins it anew every few seconds: it
    /// should cost the store nothing to do so.
    ///
    /// For [`Watch::Work`] that is a job to claim; it need not wake more than one of many waiters
    /// per job. For [`Watch::Sweep`] that is a sweep needed earlier than the answer with that
    /// ticket said. For [`Watch::Schedules`] a schedule that has something to fire earlier than the
    /// answer of [`due`](Self::due) with that ticket said; or that other releases are live since.
    async fn wait(&self, watch: Watch) -> Result<()>;

    // --- To look and operate ---

    /// The queues that were ever used, ordered by name.
    async fn queues(&self) -> Result<Vec<QueueName>>;

    /// How many jobs of a queue are in each state.
    async fn counts(&self, queue: &QueueName) -> Result<Counts>;

    /// Jobs of a queue, a page at a time, in an order of the store's own.
    ///
    /// A job that is there from the first page to the last is in one of them at least, and may be in
    /// several. Jobs that come or go meanwhile may be missed. A [cursor](crate::Cursor) that the store did not make is
    /// [`Invalid`](crate::ErrorKind::Invalid).
    async fn find(&self, queue: &QueueName, find: &Find) -> Result<Found>;

    /// Claims answer nothing until [`resume`](Self::resume). Answers whether it was not paused.
    async fn pause(&self, queue: &QueueName) -> Result<bool>;

    /// The end of [`pause`](Self::pause). Answers whether it was paused.
    async fn resume(&self, queue: &QueueName) -> Result<bool>;

    /// Lets a dead or cancelled job wait again, with no attempts and no crashes counted.
    async fn replay(&self, queue: &QueueName, job: JobId) -> Result<Operated>;

    /// Forgets a finished job.
    async fn discard(&self, queue: &QueueName, job: JobId) -> Result<Operated>;

    // --- The end ---

    /// Ends the adapter's own work and lets go of what it has open. What was called before is
    /// answered; what is called later is [`Closed`](crate::ErrorKind::Closed). Twice is once.
    async fn shutdown(&self) -> Result<()>;
}

/// Renews leases. Lives on one thread, and is asked by it alone.
#[async_trait]
pub trait Heart: Send {
    /// Renews each lease to its whole length from now. Answers in the order given; an error where
    /// none of them could be renewed.
    async fn beat(&mut self, beats: &[Beat]) -> Result<Vec<BeatReply>>;
}
