//! The adapter: each method of the contract in a line, and how the provider is made known.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use shiftwork_adapter::{
    AdapterError, Announcement, AppName, CancelJob, Capabilities, Connection, Counts, Defined,
    DueSchedules, Enqueued, ErrorKind, Exchange, ExchangeReply, Find, Fired, Firing, Found, Heart,
    HeldPage, Incarnation, JobAdapter, JobId, JobRecord, JobSpec, Operated, Pong, Provider,
    QueueName, Releases, Result, Rewind, Schedule, ScheduleId, ScheduleRecord, Schedules,
    ServerHealth, SweepAnswer, Timestamp, Trigger, Triggered, Variable, Wakeups, Watch,
};

use crate::heart::RedisHeart;
use crate::replicas;
use crate::store::Store;
use crate::tls;
use crate::url::check_url;

/// What `JOBS_PROVIDER=redis` names.
pub const PROVIDER: Provider = Provider {
    name: "redis",
    summary: "jobs in Redis or Valkey, shared by many processes",
    capabilities: Capabilities {
        survives_restart: true,
        many_processes: true,
        wakeups: Wakeups::BestEffort,
    },
    variables: &[URL, tls::CA, tls::CERT, tls::KEY, replicas::WAIT],
    connect: |connection| {
        Box::pin(async {
            let adapter: Arc<dyn JobAdapter> = Arc::new(RedisAdapter::new(connection)?);
            Ok(adapter)
        })
    },
};

inventory::submit! { PROVIDER }

/// Where the server is.
const URL: Variable = Variable {
    name: "JOBS_REDIS_URL",
    fallbacks: &["REDIS_URL", "UPSTASH_REDIS_URL"],
    required: true,
    default: None,
    secret: true,
    doc: "where Redis is: `redis://user:password@host:port/database`, `rediss://…` for TLS (feature \
          `tls`), `redis-sentinel://user:password@sentinel:port,sentinel:port/name/database` (feature \
          `sentinel`), `redis-cluster://user:password@node:port,node:port` (feature `cluster`), or \
          `unix:///path/to/redis.sock`. Not set: `REDIS_URL`, then `UPSTASH_REDIS_URL`",
    check: check_url,
};

/// A store in Redis or Valkey. What two namespaces keep is apart.
///
/// # Example
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # use shiftwork_adapter::{Connection, JobAdapter, Namespace, SystemClock};
/// use shiftwork_redis::RedisAdapter;
///
/// let mut connection = Connection::new(Namespace::new("shop")?, Arc::new(SystemClock));
/// connection.variables.insert("JOBS_REDIS_URL", "redis://127.0.0.1:6379".into());
/// let adapter = RedisAdapter::new(connection)?;
/// println!("it is {} there", adapter.ping().await?.now);
/// # Ok(())
/// # }
/// ```
pub struct RedisAdapter {
    store: Arc<Store>,
}

impl RedisAdapter {
    /// A store that begins to connect, and does so until it is shut down or dropped. Calls wait for
    /// it, for at most the connect timeout.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where there is no `JOBS_REDIS_URL`, or it is no URL of a
    /// server.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(connection: Connection) -> Result<Self> {
        let Some(url) = connection.variables.get(URL.name).cloned() else {
            let message = "JOBS_REDIS_URL is not set; set it to where Redis is, such as \
                           redis://127.0.0.1:6379";
            return Err(AdapterError::new(ErrorKind::Invalid, "connect", message));
        };
        Ok(Self { store: Store::new(connection, &url)? })
    }

    /// What a method does: however many commands it takes, all of them together in the time of one
    /// call.
    async fn in_time<T>(&self, method: impl Future<Output = T>) -> T {
        self.store.links.as_one(method).await
    }
}

#[async_trait]
impl JobAdapter for RedisAdapter {
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
        self.store.check_open("ping")?;
        Ok(Pong::new(self.store.now("ping").await?))
    }

    async fn schedule(&self, schedule: Schedule, next: Option<Timestamp>) -> Result<Defined> {
        self.in_time(self.store.schedule(schedule, next)).await
    }

    async fn cancel(&self, schedule: &ScheduleId) -> Result<bool> {
        self.in_time(self.store.cancel(schedule)).await
    }

    async fn is_scheduled(&self, schedule: &ScheduleId) -> Result<bool> {
        self.in_time(self.store.is_scheduled(schedule)).await
    }

    async fn scheduled_job(&self, schedule: &ScheduleId) -> Result<Option<ScheduleRecord>> {
        self.in_time(self.store.scheduled_job(schedule)).await
    }

    async fn scheduled_jobs(&self) -> Result<Schedules> {
        self.in_time(self.store.scheduled_jobs()).await
    }

    async fn pause_schedule(&self, schedule: &ScheduleId) -> Result<bool> {
        self.in_time(self.store.halt("pause_schedule", schedule, true, None)).await
    }

    async fn rewind(&self, rewind: Rewind) -> Result<bool> {
        self.in_time(self.store.rewind(&rewind)).await
    }

    async fn resume_schedule(
        &self,
        schedule: &ScheduleId,
        next: Option<Timestamp>,
    ) -> Result<bool> {
        self.in_time(self.store.halt("resume_schedule", schedule, false, next)).await
    }

    async fn trigger(&self, trigger: Trigger) -> Result<Triggered> {
        self.in_time(self.store.trigger(trigger)).await
    }

    async fn due(
        &self,
        queues: Option<&[QueueName]>,
        ahead: Duration,
        limit: usize,
    ) -> Result<DueSchedules> {
        self.in_time(self.store.due(queues, ahead, limit)).await
    }

    async fn fire(&self, batch: &[Firing]) -> Result<Vec<Fired>> {
        self.in_time(self.store.fire(batch)).await
    }

    async fn announce(&self, announcement: Announcement) -> Result<Releases> {
        self.in_time(self.store.announce(announcement)).await
    }

    async fn withdraw(&self, app: &AppName, process: &str) -> Result<()> {
        self.in_time(self.store.withdraw(app, process)).await
    }

    async fn enqueue(&self, queue: &QueueName, batch: Vec<JobSpec>) -> Result<Vec<Enqueued>> {
        self.store.enqueue("enqueue", queue, batch).await
    }

    async fn job(&self, queue: &QueueName, job: JobId) -> Result<Option<JobRecord>> {
        self.in_time(self.store.job(queue, job)).await
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
        self.in_time(self.store.cancel_job(queue, job)).await
    }

    async fn exchange(&self, exchange: &Exchange) -> Result<ExchangeReply> {
        self.in_time(self.store.exchange(exchange)).await
    }

    async fn held(
        &self,
        queue: &QueueName,
        incarnation: Incarnation,
        after: Option<JobId>,
    ) -> Result<HeldPage> {
        self.in_time(self.store.held(queue, incarnation, after)).await
    }

    async fn heart(&self) -> Result<Box<dyn Heart>> {
        Ok(Box::new(RedisHeart::connect(self.store.clone()).await?))
    }

    async fn sweep(&self, queue: &QueueName) -> Result<SweepAnswer> {
        self.in_time(self.store.sweep(queue)).await
    }

    async fn wait(&self, watch: Watch) -> Result<()> {
        self.store.wait(watch).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.in_time(self.store.queues()).await
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts> {
        self.in_time(self.store.counts(queue)).await
    }

    async fn find(&self, queue: &QueueName, find: &Find) -> Result<Found> {
        self.in_time(self.store.find(queue, find)).await
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool> {
        self.in_time(self.store.pause(queue)).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool> {
        self.in_time(self.store.resume(queue)).await
    }

    async fn replay(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        self.in_time(self.store.replay(queue, job)).await
    }

    async fn discard(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        self.in_time(self.store.discard(queue, job)).await
    }

    async fn shutdown(&self) -> Result<()> {
        self.store.close().await;
        Ok(())
    }
}
