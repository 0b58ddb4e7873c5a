//! The adapter: each method of the contract is the memory adapter's; what changes something is
//! told to the journal.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use shiftwork_adapter::{
    Announcement, AppName, CancelJob, Capabilities, Connection, Counts, Defined, DueSchedules,
    Enqueued, Exchange, ExchangeReply, Find, Fired, Firing, Found, Heart, HeldPage, Incarnation,
    JobAdapter, JobId, JobRecord, JobSpec, Operated, Pong, Provider, QueueName, Releases, Result,
    Rewind, Schedule, ScheduleId, ScheduleRecord, Schedules, ServerHealth, SweepAnswer, Timestamp,
    Trigger, Triggered, Watch,
};
use shiftwork_memory::MemoryAdapter;

use crate::journal::{Journal, VARIABLE};

/// What `JOBS_PROVIDER=example` names.
pub const PROVIDER: Provider = Provider {
    name: "example",
    summary: "jobs in this process's memory, and a journal of them in a file",
    capabilities: shiftwork_memory::PROVIDER.capabilities,
    variables: &[VARIABLE],
    connect: |connection| {
        Box::pin(async {
            let adapter: Arc<dyn JobAdapter> = Arc::new(ExampleAdapter::new(connection)?);
            Ok(adapter)
        })
    },
};

inventory::submit! { PROVIDER }

/// A store in this process's memory that keeps a journal.
pub struct ExampleAdapter {
    store: MemoryAdapter,
    journal: Journal,
}

impl ExampleAdapter {
    /// An empty store; the journal goes on where it ended.
    ///
    /// # Errors
    /// [`Invalid`](shiftwork_adapter::ErrorKind::Invalid) where `JOBS_EXAMPLE_PATH` is not set or
    /// names a file that cannot be written.
    pub fn new(connection: Connection) -> Result<Self> {
        let journal = Journal::open(&connection)?;
        Ok(Self { store: MemoryAdapter::new(connection)?, journal })
    }
}

// A method that were added with a default would not reach the store.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl JobAdapter for ExampleAdapter {
    fn provider(&self) -> &'static str {
        PROVIDER.name
    }

    fn capabilities(&self) -> Capabilities {
        PROVIDER.capabilities
    }

    fn servers(&self) -> Vec<ServerHealth> {
        self.store.servers()
    }

    async fn ping(&self) -> Result<Pong> {
        self.store.ping().await
    }

    async fn schedule(&self, schedule: Schedule, next: Option<Timestamp>) -> Result<Defined> {
        let id = schedule.id.clone();
        let defined = self.store.schedule(schedule, next).await?;
        if defined != Defined::Unchanged {
            self.journal.append("schedule", id)?;
        }
        Ok(defined)
    }

    async fn cancel(&self, schedule: &ScheduleId) -> Result<bool> {
        let existed = self.store.cancel(schedule).await?;
        if existed {
            self.journal.append("cancel", schedule)?;
        }
        Ok(existed)
    }

    async fn is_scheduled(&self, schedule: &ScheduleId) -> Result<bool> {
        self.store.is_scheduled(schedule).await
    }

    async fn scheduled_job(&self, schedule: &ScheduleId) -> Result<Option<ScheduleRecord>> {
        self.store.scheduled_job(schedule).await
    }

    async fn scheduled_jobs(&self) -> Result<Schedules> {
        self.store.scheduled_jobs().await
    }

    async fn pause_schedule(&self, schedule: &ScheduleId) -> Result<bool> {
        let changed = self.store.pause_schedule(schedule).await?;
        if changed {
            self.journal.append("pause_schedule", schedule)?;
        }
        Ok(changed)
    }

    async fn resume_schedule(
        &self,
        schedule: &ScheduleId,
        next: Option<Timestamp>,
    ) -> Result<bool> {
        let changed = self.store.resume_schedule(schedule, next).await?;
        if changed {
            self.journal.append("resume_schedule", schedule)?;
        }
        Ok(changed)
    }

    async fn rewind(&self, rewind: Rewind) -> Result<bool> {
        let schedule = rewind.schedule.clone();
        let is_so = self.store.rewind(rewind).await?;
        if is_so {
            self.journal.append("rewind", &schedule)?;
        }
        Ok(is_so)
    }

    async fn trigger(&self, trigger: Trigger) -> Result<Triggered> {
        let schedule = trigger.schedule.clone();
        let triggered = self.store.trigger(trigger).await?;
        if let Triggered::Enqueued(queue) = &triggered {
            self.journal.append("trigger", format_args!("{queue}: {schedule}"))?;
        }
        Ok(triggered)
    }

    async fn due(
        &self,
        queues: Option<&[QueueName]>,
        ahead: Duration,
        limit: usize,
    ) -> Result<DueSchedules> {
        self.store.due(queues, ahead, limit).await
    }

    async fn fire(&self, batch: &[Firing]) -> Result<Vec<Fired>> {
        let schedules = names(batch.iter().map(|firing| firing.schedule.as_str()));
        let fired = self.store.fire(batch).await?;
        self.journal.append("fire", schedules)?;
        Ok(fired)
    }

    async fn announce(&self, announcement: Announcement) -> Result<Releases> {
        self.store.announce(announcement).await
    }

    async fn withdraw(&self, app: &AppName, process: &str) -> Result<()> {
        self.store.withdraw(app, process).await
    }

    async fn enqueue(&self, queue: &QueueName, batch: Vec<JobSpec>) -> Result<Vec<Enqueued>> {
        let jobs = names(batch.iter().map(|spec| spec.name.as_str()));
        let enqueued = self.store.enqueue(queue, batch).await?;
        self.journal.append("enqueue", format_args!("{queue}: {jobs}"))?;
        Ok(enqueued)
    }

    async fn job(&self, queue: &QueueName, job: JobId) -> Result<Option<JobRecord>> {
        self.store.job(queue, job).await
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
        let answer = self.store.cancel_job(queue, job).await?;
        self.journal.append("cancel_job", format_args!("{queue}: {job} {answer:?}"))?;
        Ok(answer)
    }

    async fn exchange(&self, exchange: &Exchange) -> Result<ExchangeReply> {
        let reply = self.store.exchange(exchange).await?;
        let claimed = match &reply {
            ExchangeReply::Answered(answer) => answer.claimed.as_slice(),
            _ => &[],
        };
        // An idle worker's turns would fill the journal with nothing.
        if !exchange.settlements.is_empty() || !claimed.is_empty() {
            let (queue, settled) = (&exchange.queue, exchange.settlements.len());
            let claimed = names(claimed.iter().map(|claimed| claimed.spec.name.as_str()));
            let line = format_args!("{queue}: settled {settled}, claimed {claimed}");
            self.journal.append("exchange", line)?;
        }
        Ok(reply)
    }

    async fn held(
        &self,
        queue: &QueueName,
        incarnation: Incarnation,
        after: Option<JobId>,
    ) -> Result<HeldPage> {
        self.store.held(queue, incarnation, after).await
    }

    async fn heart(&self) -> Result<Box<dyn Heart>> {
        self.store.heart().await
    }

    async fn sweep(&self, queue: &QueueName) -> Result<SweepAnswer> {
        let answer = self.store.sweep(queue).await?;
        let (promoted, trimmed) = (answer.promoted, answer.trimmed);
        let recovered = answer.recovered.len();
        if promoted + recovered + trimmed > 0 {
            self.journal.append(
                "sweep",
                format_args!(
                    "{queue}: promoted {promoted}, recovered {recovered}, trimmed {trimmed}"
                ),
            )?;
        }
        Ok(answer)
    }

    async fn wait(&self, watch: Watch) -> Result<()> {
        self.store.wait(watch).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.store.queues().await
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts> {
        self.store.counts(queue).await
    }

    async fn find(&self, queue: &QueueName, find: &Find) -> Result<Found> {
        self.store.find(queue, find).await
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool> {
        let changed = self.store.pause(queue).await?;
        if changed {
            self.journal.append("pause", queue)?;
        }
        Ok(changed)
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool> {
        let changed = self.store.resume(queue).await?;
        if changed {
            self.journal.append("resume", queue)?;
        }
        Ok(changed)
    }

    async fn replay(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        let answer = self.store.replay(queue, job).await?;
        self.journal.append("replay", format_args!("{queue}: {job} {answer:?}"))?;
        Ok(answer)
    }

    async fn discard(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        let answer = self.store.discard(queue, job).await?;
        self.journal.append("discard", format_args!("{queue}: {job} {answer:?}"))?;
        Ok(answer)
    }

    async fn shutdown(&self) -> Result<()> {
        self.store.shutdown().await
    }
}

/// `a, b`, or `nothing`.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names = names.collect::<Vec<_>>().join(", ");
    if names.is_empty() { "nothing".into() } else { names }
}
