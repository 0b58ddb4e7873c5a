//! A store that misbehaves when told to. Between two orders it is the real one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use shiftwork::adapter::*;

/// How to misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Never answers, and does nothing.
    Hang,
    /// Does it, and then panics; once.
    PanicAfter,
    /// Panics each time.
    AlwaysPanic,
    /// Does it, and then says that it does not know.
    LoseReplies,
    /// Says that it cannot, and does nothing.
    Fail,
}

/// See the [module](self).
pub struct Faulty {
    inner: Arc<dyn JobAdapter>,
    exchange: Arc<Mutex<Fault>>,
    beats: Arc<Mutex<Fault>>,
    others: Arc<Mutex<Fault>>,
    many_processes: AtomicBool,
}

impl Faulty {
    pub fn on(inner: Arc<dyn JobAdapter>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            exchange: Arc::default(),
            beats: Arc::default(),
            others: Arc::default(),
            many_processes: AtomicBool::new(false),
        })
    }

    /// Exchanges misbehave.
    pub fn exchange(&self, fault: Fault) {
        *self.exchange.lock().unwrap() = fault;
    }

    /// Heartbeats misbehave.
    pub fn beats(&self, fault: Fault) {
        *self.beats.lock().unwrap() = fault;
    }

    /// All but exchanges and heartbeats misbehaves.
    pub fn others(&self, fault: Fault) {
        *self.others.lock().unwrap() = fault;
    }

    /// Everything misbehaves: the process is cut off, or as good as dead.
    pub fn everywhere(&self, fault: Fault) {
        self.exchange(fault);
        self.beats(fault);
        *self.others.lock().unwrap() = fault;
    }

    /// Says that other processes share the store, as in a test they do.
    pub fn shared_by_processes(&self) {
        self.many_processes.store(true, Ordering::SeqCst);
    }

    async fn other<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        misbehave(&self.others, call).await
    }
}

async fn misbehave<T>(fault: &Mutex<Fault>, call: impl Future<Output = Result<T>>) -> Result<T> {
    let now = || *fault.lock().unwrap();
    if now() == Fault::Hang {
        return std::future::pending().await;
    }
    assert!(now() != Fault::AlwaysPanic, "told to panic");
    if now() == Fault::Fail {
        return Err(AdapterError::new(ErrorKind::Unavailable, "call", "told to fail"));
    }
    let answer = call.await;
    match now() {
        // Told while it was under way.
        Fault::Hang => std::future::pending().await,
        Fault::PanicAfter => {
            *fault.lock().unwrap() = Fault::None;
            panic!("told to panic once");
        }
        Fault::LoseReplies => {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Err(AdapterError::new(ErrorKind::Timeout, "exchange", "no answer")
                .with_effect(Effect::Unknown))
        }
        Fault::AlwaysPanic | Fault::Fail | Fault::None => answer,
    }
}

#[async_trait]
impl JobAdapter for Faulty {
    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    fn capabilities(&self) -> Capabilities {
        let many_processes = self.many_processes.load(Ordering::SeqCst);
        Capabilities { many_processes, ..self.inner.capabilities() }
    }

    async fn ping(&self) -> Result<Pong> {
        self.other(self.inner.ping()).await
    }

    async fn schedule(&self, schedule: Schedule, next: Option<Timestamp>) -> Result<Defined> {
        self.other(self.inner.schedule(schedule, next)).await
    }

    async fn cancel(&self, schedule: &ScheduleId) -> Result<bool> {
        self.other(self.inner.cancel(schedule)).await
    }

    async fn is_scheduled(&self, schedule: &ScheduleId) -> Result<bool> {
        self.other(self.inner.is_scheduled(schedule)).await
    }

    async fn scheduled_jobs(&self) -> Result<Schedules> {
        self.other(self.inner.scheduled_jobs()).await
    }

    async fn trigger(&self, trigger: Trigger) -> Result<Triggered> {
        self.other(self.inner.trigger(trigger)).await
    }

    async fn fire(&self, batch: Vec<Firing>) -> Result<Vec<Fired>> {
        self.other(self.inner.fire(batch)).await
    }

    async fn enqueue(&self, queue: &QueueName, batch: Vec<JobSpec>) -> Result<Vec<Enqueued>> {
        self.other(self.inner.enqueue(queue, batch)).await
    }

    async fn job(&self, queue: &QueueName, job: JobId) -> Result<Option<JobRecord>> {
        self.other(self.inner.job(queue, job)).await
    }

    async fn await_finish(
        &self,
        queue: &QueueName,
        job: JobId,
        within: Duration,
    ) -> Result<Option<JobRecord>> {
        self.other(self.inner.await_finish(queue, job, within)).await
    }

    async fn cancel_job(&self, queue: &QueueName, job: JobId) -> Result<CancelJob> {
        self.other(self.inner.cancel_job(queue, job)).await
    }

    async fn exchange(&self, exchange: &Exchange) -> Result<ExchangeReply> {
        misbehave(&self.exchange, self.inner.exchange(exchange)).await
    }

    async fn held(
        &self,
        queue: &QueueName,
        incarnation: Incarnation,
        after: Option<JobId>,
    ) -> Result<HeldPage> {
        self.other(self.inner.held(queue, incarnation, after)).await
    }

    async fn heart(&self) -> Result<Box<dyn Heart>> {
        let inner = self.inner.heart().await?;
        Ok(Box::new(FaultyHeart { inner, fault: self.beats.clone() }))
    }

    async fn sweep(&self, queue: &QueueName) -> Result<SweepAnswer> {
        self.other(self.inner.sweep(queue)).await
    }

    async fn wait(&self, watch: Watch) -> Result<()> {
        self.other(self.inner.wait(watch)).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.other(self.inner.queues()).await
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts> {
        self.other(self.inner.counts(queue)).await
    }

    async fn find(&self, queue: &QueueName, find: &Find) -> Result<Found> {
        self.other(self.inner.find(queue, find)).await
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool> {
        self.other(self.inner.pause(queue)).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool> {
        self.other(self.inner.resume(queue)).await
    }

    async fn replay(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        self.other(self.inner.replay(queue, job)).await
    }

    async fn discard(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        self.other(self.inner.discard(queue, job)).await
    }

    async fn shutdown(&self) -> Result<()> {
        self.inner.shutdown().await
    }
}

struct FaultyHeart {
    inner: Box<dyn Heart>,
    fault: Arc<Mutex<Fault>>,
}

#[async_trait]
impl Heart for FaultyHeart {
    async fn beat(&mut self, beats: &[Beat]) -> Result<Vec<BeatReply>> {
        misbehave(&self.fault, self.inner.beat(beats)).await
    }
}
