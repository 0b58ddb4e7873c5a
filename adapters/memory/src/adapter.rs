//! The adapter: each method of the contract in a line, and how the provider is made known.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use shiftwork_adapter::{
    AdapterError, Announcement, AppName, CancelJob, Capabilities, Connection, Counts, Defined,
    DueSchedules, Enqueued, ErrorKind, Exchange, ExchangeReply, Find, Fired, Firing, Found, Heart,
    HeldPage, Incarnation, JobAdapter, JobId, JobRecord, JobSpec, MAX_BATCH, Operated, Pong,
    Provider, QueueName, Releases, Result, Rewind, Schedule, ScheduleId, ScheduleRecord, Schedules,
    SweepAnswer, Ticket, Timestamp, Trigger, Triggered, Wakeups, Watch,
};

use crate::capacity;
use crate::heart::MemoryHeart;
use crate::inspect::position;
use crate::queue::Queue;
use crate::store::Store;

/// What `JOBS_PROVIDER=memory` names.
pub const PROVIDER: Provider = Provider {
    name: "memory",
    summary: "jobs in this process's memory, gone when it ends",
    capabilities: Capabilities {
        survives_restart: false,
        many_processes: false,
        wakeups: Wakeups::Certain,
    },
    variables: &[capacity::VARIABLE],
    connect: |connection| {
        Box::pin(async {
            let adapter: Arc<dyn JobAdapter> = Arc::new(MemoryAdapter::new(connection)?);
            Ok(adapter)
        })
    },
};

inventory::submit! { PROVIDER }

/// A store in this process's memory. What two adapters keep is apart, whatever their namespaces.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use shiftwork_adapter::{Connection, JobAdapter, Namespace, SystemClock};
/// use shiftwork_memory::MemoryAdapter;
///
/// let connection = Connection::new(Namespace::new("shop")?, Arc::new(SystemClock));
/// let adapter = MemoryAdapter::new(connection)?;
/// assert_eq!(adapter.provider(), "memory");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MemoryAdapter {
    store: Arc<Store>,
}

impl MemoryAdapter {
    /// An empty store.
    ///
    /// # Errors
    /// [`Invalid`](shiftwork_adapter::ErrorKind::Invalid) where `JOBS_MEMORY_CAPACITY` is no
    /// number from 1 to 100000000; it names value and range.
    pub fn new(connection: Connection) -> Result<Self> {
        Ok(Self { store: Arc::new(Store::new(connection)?) })
    }

    /// One step in a queue, which is made where there is none.
    fn step<T>(
        &self,
        operation: &'static str,
        queue: &QueueName,
        step: impl FnOnce(&mut Queue, Timestamp) -> T,
    ) -> Result<T> {
        self.store.check_open(operation)?;
        Ok(self.store.step(&self.store.queue(queue), step))
    }

    /// One step in a queue, if there is one.
    fn step_if_known<T>(
        &self,
        operation: &'static str,
        queue: &QueueName,
        step: impl FnOnce(&mut Queue, Timestamp) -> T,
    ) -> Result<Option<T>> {
        self.store.check_open(operation)?;
        Ok(self.store.known_queue(queue).map(|queue| self.store.step(&queue, step)))
    }
}

#[async_trait]
impl JobAdapter for MemoryAdapter {
    fn provider(&self) -> &'static str {
        PROVIDER.name
    }

    fn capabilities(&self) -> Capabilities {
        PROVIDER.capabilities
    }

    async fn ping(&self) -> Result<Pong> {
        self.store.check_open("ping")?;
        Ok(Pong::new(self.store.clock.now()))
    }

    async fn schedule(&self, schedule: Schedule, next: Option<Timestamp>) -> Result<Defined> {
        self.store.check_open("schedule")?;
        Ok(self.store.define(schedule, next))
    }

    async fn cancel(&self, schedule: &ScheduleId) -> Result<bool> {
        self.store.check_open("cancel")?;
        Ok(self.store.cancel_schedule(schedule))
    }

    async fn is_scheduled(&self, schedule: &ScheduleId) -> Result<bool> {
        self.store.check_open("is_scheduled")?;
        Ok(self.store.schedules.lock().get(schedule).is_some())
    }

    async fn scheduled_job(&self, schedule: &ScheduleId) -> Result<Option<ScheduleRecord>> {
        self.store.check_open("scheduled_job")?;
        Ok(self.store.scheduled_job(schedule))
    }

    async fn scheduled_jobs(&self) -> Result<Schedules> {
        self.store.check_open("scheduled_jobs")?;
        Ok(self.store.scheduled_jobs())
    }

    async fn pause_schedule(&self, schedule: &ScheduleId) -> Result<bool> {
        self.store.check_open("pause_schedule")?;
        Ok(self.store.schedules.step(|schedules| schedules.set_paused(schedule, true, None)))
    }

    async fn rewind(&self, rewind: Rewind) -> Result<bool> {
        self.store.check_open("rewind")?;
        Ok(self.store.schedules.step(|schedules| schedules.rewind(&rewind)))
    }

    async fn resume_schedule(
        &self,
        schedule: &ScheduleId,
        next: Option<Timestamp>,
    ) -> Result<bool> {
        self.store.check_open("resume_schedule")?;
        Ok(self.store.schedules.step(|schedules| schedules.set_paused(schedule, false, next)))
    }

    async fn trigger(&self, trigger: Trigger) -> Result<Triggered> {
        self.store.check_open("trigger")?;
        self.store.trigger(trigger)
    }

    async fn due(
        &self,
        queues: Option<&[QueueName]>,
        ahead: Duration,
        limit: usize,
    ) -> Result<DueSchedules> {
        self.store.check_open("due")?;
        Ok(self.store.due(queues, ahead, limit))
    }

    async fn fire(&self, batch: &[Firing]) -> Result<Vec<Fired>> {
        self.store.check_open("fire")?;
        self.store.fire(batch)
    }

    async fn announce(&self, announcement: Announcement) -> Result<Releases> {
        self.store.check_open("announce")?;
        let now = self.store.clock.now();
        Ok(self.store.schedules.step(|schedules| schedules.announce(announcement, now)))
    }

    async fn withdraw(&self, app: &AppName, process: &str) -> Result<()> {
        self.store.check_open("withdraw")?;
        self.store.schedules.step(|schedules| schedules.withdraw(app, process));
        Ok(())
    }

    async fn enqueue(&self, queue: &QueueName, batch: Vec<JobSpec>) -> Result<Vec<Enqueued>> {
        check_batch(batch.len())?;
        // Made before the queue is locked: it need not wait for the allocator.
        let batch = batch.into_iter().map(Arc::new).collect();
        self.step("enqueue", queue, |queue, now| queue.enqueue("enqueue", batch, now))?
    }

    async fn job(&self, queue: &QueueName, job: JobId) -> Result<Option<JobRecord>> {
        Ok(self.step_if_known("job", queue, |queue, now| queue.job(job, now))?.flatten())
    }

    async fn await_finish(
        &self,
        queue: &QueueName,
        job: JobId,
        within: Duration,
    ) -> Result<Option<JobRecord>> {
        self.store.await_finish(queue, job, within).await
    }

    async fn cancel_job(&self, queue: &QueueName, job: JobId) -> Result<CancelJob> {
        let answer =
            self.step_if_known("cancel_job", queue, |queue, now| queue.cancel_job(job, now))?;
        Ok(answer.unwrap_or(CancelJob::NotFound))
    }

    async fn exchange(&self, exchange: &Exchange) -> Result<ExchangeReply> {
        self.step("exchange", &exchange.queue, |queue, now| queue.exchange(exchange, now))
    }

    async fn held(
        &self,
        queue: &QueueName,
        incarnation: Incarnation,
        after: Option<JobId>,
    ) -> Result<HeldPage> {
        let page = self.step_if_known("held", queue, |queue, _| queue.held(incarnation, after))?;
        Ok(page.unwrap_or_else(|| {
            let mut page = HeldPage::default();
            page.expired = true;
            page
        }))
    }

    async fn heart(&self) -> Result<Box<dyn Heart>> {
        self.store.check_open("heart")?;
        Ok(Box::new(MemoryHeart(self.store.clone())))
    }

    async fn sweep(&self, queue: &QueueName) -> Result<SweepAnswer> {
        let answer = self.step_if_known("sweep", queue, Queue::sweep)?;
        let mut answer =
            answer.unwrap_or_else(|| SweepAnswer::new(self.store.clock.now(), Ticket::default()));
        // No timer notices that the machine slept or its clock was set: look again before long.
        if let Some(longest) = self.store.clock.longest_sleep() {
            answer.next = answer.next.map(|next| next.min(longest));
        }
        Ok(answer)
    }

    async fn wait(&self, watch: Watch) -> Result<()> {
        self.store.wait(watch).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.store.check_open("queues")?;
        Ok(self.store.used_queues())
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts> {
        let counts = self.step_if_known("counts", queue, |queue, now| queue.counts(now))?;
        Ok(counts.unwrap_or_default())
    }

    async fn find(&self, queue: &QueueName, find: &Find) -> Result<Found> {
        let after = find.after.as_ref().map(position).transpose()?;
        let found = self.step_if_known("find", queue, |queue, now| queue.find(find, after, now))?;
        Ok(found.unwrap_or_default())
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool> {
        self.step("pause", queue, |queue, _| queue.pause())
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool> {
        Ok(self.step_if_known("resume", queue, |queue, _| queue.resume())?.unwrap_or(false))
    }

    async fn replay(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        let answer = self.step_if_known("replay", queue, |queue, now| queue.replay(job, now))?;
        Ok(answer.unwrap_or(Operated::NotFound))
    }

    async fn discard(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        let answer = self.step_if_known("discard", queue, |queue, now| queue.discard(job, now))?;
        Ok(answer.unwrap_or(Operated::NotFound))
    }

    async fn shutdown(&self) -> Result<()> {
        self.store.close();
        Ok(())
    }
}

fn check_batch(jobs: usize) -> Result<()> {
    if jobs <= MAX_BATCH {
        return Ok(());
    }
    let message =
        format!("{jobs} jobs in one call are too many; enqueue at most {MAX_BATCH} at once");
    Err(AdapterError::new(ErrorKind::Invalid, "enqueue", message))
}
