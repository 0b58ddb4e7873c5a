//! A store that misbehaves when told to. Between two orders it is the real one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    /// Does it, and answers a millisecond later.
    Slow,
    /// Does it, and then panics; once.
    PanicAfter,
    /// Panics each time.
    AlwaysPanic,
    /// Does it, and then says that it does not know.
    LoseReplies,
    /// Says that it cannot, and does nothing.
    Fail,
    /// One method: says so after it was called so often.
    FailAfter(u32),
    /// Says so after as long as a call may take, as an adapter does whose server is silent.
    TimeOut,
    /// Says that it will not, however often it is asked.
    Deny,
}

/// How the part of a store is away that has a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// As is known: it is told at once.
    Known,
    /// It does not answer, and who lists its schedules does not notice.
    Silent,
}

type Part = Arc<Mutex<Option<(QueueName, Away)>>>;

/// See the [module](self).
pub struct Faulty {
    inner: Arc<dyn JobAdapter>,
    exchange: Arc<Mutex<Fault>>,
    beats: Arc<Mutex<Fault>>,
    others: Arc<Mutex<Fault>>,
    many_processes: AtomicBool,
    best_effort: AtomicBool,
    listed_ahead: Mutex<Duration>,
    part: Part,
    queues: Mutex<BTreeMap<String, Fault>>,
    solo: Mutex<Fault>,
    methods: Mutex<BTreeMap<&'static str, Fault>>,
    calls: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    exchanging: AtomicUsize,
    most_exchanging: AtomicUsize,
}

impl Faulty {
    pub fn on(inner: Arc<dyn JobAdapter>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            exchange: Arc::default(),
            beats: Arc::default(),
            others: Arc::default(),
            many_processes: AtomicBool::new(false),
            best_effort: AtomicBool::new(false),
            listed_ahead: Mutex::default(),
            part: Arc::default(),
            queues: Mutex::default(),
            solo: Mutex::default(),
            methods: Mutex::default(),
            calls: Arc::default(),
            exchanging: AtomicUsize::new(0),
            most_exchanging: AtomicUsize::new(0),
        })
    }

    /// Exchanges misbehave.
    pub fn exchange(&self, fault: Fault) {
        *self.exchange.lock().unwrap() = fault;
    }

    /// Exchanges with this queue misbehave, whatever the others do.
    pub fn exchange_of(&self, queue: &str, fault: Fault) {
        self.queues.lock().unwrap().insert(queue.into(), fault);
    }

    /// Exchanges that claim a job to run alone misbehave, whatever the others do.
    pub fn exchange_alone(&self, fault: Fault) {
        *self.solo.lock().unwrap() = fault;
    }

    /// Heartbeats misbehave.
    pub fn beats(&self, fault: Fault) {
        *self.beats.lock().unwrap() = fault;
    }

    /// All but exchanges and heartbeats misbehaves.
    pub fn others(&self, fault: Fault) {
        *self.others.lock().unwrap() = fault;
    }

    /// One method of the others misbehaves, whatever the rest does.
    pub fn method(&self, method: &'static str, fault: Fault) {
        self.methods.lock().unwrap().insert(method, fault);
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

    /// No wake-up is ever heard, and says that this can happen.
    pub fn loses_wakeups(&self) {
        self.best_effort.store(true, Ordering::SeqCst);
        self.method("wait", Fault::Hang);
    }

    /// Lists the schedules as if it were later: the clock goes backward before the next call.
    pub fn list_ahead(&self, by: Duration) {
        *self.listed_ahead.lock().unwrap() = by;
    }

    /// The schedules and leases of this queue are in a part of the store that is away.
    pub fn part_is(&self, away: Option<(QueueName, Away)>) {
        *self.part.lock().unwrap() = away;
    }

    /// How often each method was called, since the last time this was asked. One that was not is
    /// not there.
    pub fn take_calls(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// How many exchanges were under way at once, at most.
    pub fn most_exchanges_at_once(&self) -> usize {
        self.most_exchanging.load(Ordering::SeqCst)
    }

    async fn other<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        count(&self.calls, method);
        let own = match self.methods.lock().unwrap().get_mut(method) {
            Some(Fault::FailAfter(0)) => Some(Fault::Fail),
            Some(Fault::FailAfter(left)) => {
                *left -= 1;
                Some(Fault::None)
            }
            own => own.copied(),
        };
        match own {
            Some(fault) => misbehave(&Mutex::new(fault), method, call).await,
            None => misbehave(&self.others, method, call).await,
        }
    }
}

fn count(calls: &Mutex<BTreeMap<&'static str, usize>>, method: &'static str) {
    *calls.lock().unwrap().entry(method).or_default() += 1;
}

async fn misbehave<T>(
    fault: &Mutex<Fault>,
    method: &'static str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    let now = || *fault.lock().unwrap();
    if now() == Fault::Hang {
        return std::future::pending().await;
    }
    assert!(now() != Fault::AlwaysPanic, "told to panic");
    if now() == Fault::Fail {
        return Err(AdapterError::new(ErrorKind::Unavailable, method, "told to fail"));
    }
    if now() == Fault::Deny {
        return Err(AdapterError::new(ErrorKind::Denied, method, "told to deny"));
    }
    if now() == Fault::TimeOut {
        let limit = StoreSettings::default().connect_timeout;
        tokio::time::sleep(limit).await;
        return Err(AdapterError::new(ErrorKind::Timeout, method, "told to be silent"));
    }
    let answer = call.await;
    match now() {
        // Told while it was under way.
        Fault::Hang => std::future::pending().await,
        Fault::Slow => {
            tokio::time::sleep(Duration::from_millis(1)).await;
            answer
        }
        Fault::PanicAfter => {
            *fault.lock().unwrap() = Fault::None;
            panic!("told to panic once");
        }
        Fault::LoseReplies => {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let error = AdapterError::new(ErrorKind::Timeout, method, "no answer");
            Err(error.with_effect(Effect::Unknown))
        }
        _ => answer,
    }
}

#[async_trait]
impl JobAdapter for Faulty {
    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.many_processes = self.many_processes.load(Ordering::SeqCst);
        if self.best_effort.load(Ordering::SeqCst) {
            capabilities.wakeups = Wakeups::BestEffort;
        }
        capabilities
    }

    async fn ping(&self) -> Result<Pong> {
        self.other("ping", self.inner.ping()).await
    }

    async fn schedule(&self, schedule: Schedule, next: Option<Timestamp>) -> Result<Defined> {
        self.other("schedule", self.inner.schedule(schedule, next)).await
    }

    async fn cancel(&self, schedule: &ScheduleId) -> Result<bool> {
        self.other("cancel", self.inner.cancel(schedule)).await
    }

    async fn is_scheduled(&self, schedule: &ScheduleId) -> Result<bool> {
        self.other("is_scheduled", self.inner.is_scheduled(schedule)).await
    }

    async fn scheduled_job(&self, schedule: &ScheduleId) -> Result<Option<ScheduleRecord>> {
        self.other("scheduled_job", self.inner.scheduled_job(schedule)).await
    }

    async fn scheduled_jobs(&self) -> Result<Schedules> {
        let mut schedules = self.other("scheduled_jobs", self.inner.scheduled_jobs()).await?;
        if let Some((queue, Away::Known)) = &*self.part.lock().unwrap() {
            schedules.records.retain(|record| record.schedule.queue != *queue);
            let error = AdapterError::new(ErrorKind::Unavailable, "scheduled_jobs", "it is away");
            schedules.unread.push((queue.clone(), error));
        }
        Ok(schedules)
    }

    async fn pause_schedule(&self, schedule: &ScheduleId) -> Result<bool> {
        self.other("pause_schedule", self.inner.pause_schedule(schedule)).await
    }

    async fn rewind(&self, rewind: Rewind) -> Result<bool> {
        self.other("rewind", self.inner.rewind(rewind)).await
    }

    async fn resume_schedule(
        &self,
        schedule: &ScheduleId,
        next: Option<Timestamp>,
    ) -> Result<bool> {
        self.other("resume_schedule", self.inner.resume_schedule(schedule, next)).await
    }

    async fn due(
        &self,
        queues: Option<&[QueueName]>,
        within: Duration,
        limit: usize,
    ) -> Result<DueSchedules> {
        let mut due = self.other("due", self.inner.due(queues, within, limit)).await?;
        let ahead = *self.listed_ahead.lock().unwrap();
        if !ahead.is_zero() {
            // As another clock would have it: all that is due by then.
            let all = self.inner.scheduled_jobs().await?.records;
            for here in &mut due.queues {
                here.now = here.now + ahead;
                let is_due = |record: &&ScheduleRecord| {
                    record.schedule.queue == here.queue
                        && record.due().is_some_and(|due| due <= here.now + within)
                };
                here.records = all.iter().filter(is_due).cloned().collect();
            }
        }
        if let Some((queue, Away::Known)) = &*self.part.lock().unwrap() {
            let is_asked = queues.is_none_or(|queues| queues.contains(queue));
            due.queues.retain(|here| here.queue != *queue);
            if is_asked {
                let error = AdapterError::new(ErrorKind::Unavailable, "due", "it is away");
                due.unread.push((queue.clone(), error));
            }
        }
        Ok(due)
    }

    async fn trigger(&self, trigger: Trigger) -> Result<Triggered> {
        self.other("trigger", self.inner.trigger(trigger)).await
    }

    async fn fire(&self, batch: &[Firing]) -> Result<Vec<Fired>> {
        let away = self.part.lock().unwrap().clone();
        if let Some((queue, _)) = away {
            let all = self.inner.scheduled_jobs().await?.records;
            let is_away = |firing: &Firing| {
                let record = all.iter().find(|record| record.schedule.id == firing.schedule);
                record.is_some_and(|record| record.schedule.queue == queue)
            };
            if batch.iter().any(is_away) {
                return misbehave(&Mutex::new(Fault::TimeOut), "fire", self.inner.fire(batch))
                    .await;
            }
        }
        self.other("fire", self.inner.fire(batch)).await
    }

    async fn announce(&self, announcement: Announcement) -> Result<Releases> {
        self.other("announce", self.inner.announce(announcement)).await
    }

    async fn withdraw(&self, app: &AppName, process: &str) -> Result<()> {
        self.other("withdraw", self.inner.withdraw(app, process)).await
    }

    async fn enqueue(&self, queue: &QueueName, batch: Vec<JobSpec>) -> Result<Vec<Enqueued>> {
        self.other("enqueue", self.inner.enqueue(queue, batch)).await
    }

    async fn job(&self, queue: &QueueName, job: JobId) -> Result<Option<JobRecord>> {
        self.other("job", self.inner.job(queue, job)).await
    }

    async fn await_finish(
        &self,
        queue: &QueueName,
        job: JobId,
        within: Duration,
    ) -> Result<Option<JobRecord>> {
        self.other("await_finish", self.inner.await_finish(queue, job, within)).await
    }

    async fn cancel_job(&self, queue: &QueueName, job: JobId) -> Result<CancelJob> {
        self.other("cancel_job", self.inner.cancel_job(queue, job)).await
    }

    async fn exchange(&self, exchange: &Exchange) -> Result<ExchangeReply> {
        count(&self.calls, "exchange");
        let solo = Some(*self.solo.lock().unwrap()).filter(|_| exchange.solo);
        let own = self.queues.lock().unwrap().get(exchange.queue.as_str()).copied();
        let own = solo.filter(|solo| *solo != Fault::None).or(own);
        let call = self.inner.exchange(exchange);
        let now = self.exchanging.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_exchanging.fetch_max(now, Ordering::SeqCst);
        let answer = match own {
            Some(fault) => misbehave(&Mutex::new(fault), "exchange", call).await,
            None => misbehave(&self.exchange, "exchange", call).await,
        };
        self.exchanging.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    async fn held(
        &self,
        queue: &QueueName,
        incarnation: Incarnation,
        after: Option<JobId>,
    ) -> Result<HeldPage> {
        self.other("held", self.inner.held(queue, incarnation, after)).await
    }

    async fn heart(&self) -> Result<Box<dyn Heart>> {
        let inner = misbehave(&self.beats, "heart", self.inner.heart()).await?;
        let (fault, calls) = (self.beats.clone(), self.calls.clone());
        Ok(Box::new(FaultyHeart { inner, fault, part: self.part.clone(), calls }))
    }

    async fn sweep(&self, queue: &QueueName) -> Result<SweepAnswer> {
        self.other("sweep", self.inner.sweep(queue)).await
    }

    async fn wait(&self, watch: Watch) -> Result<()> {
        self.other("wait", self.inner.wait(watch)).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.other("queues", self.inner.queues()).await
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts> {
        self.other("counts", self.inner.counts(queue)).await
    }

    async fn find(&self, queue: &QueueName, find: &Find) -> Result<Found> {
        self.other("find", self.inner.find(queue, find)).await
    }

    async fn pause(&self, queue: &QueueName) -> Result<bool> {
        self.other("pause", self.inner.pause(queue)).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool> {
        self.other("resume", self.inner.resume(queue)).await
    }

    async fn replay(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        self.other("replay", self.inner.replay(queue, job)).await
    }

    async fn discard(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        self.other("discard", self.inner.discard(queue, job)).await
    }

    async fn shutdown(&self) -> Result<()> {
        self.inner.shutdown().await
    }
}

struct FaultyHeart {
    inner: Box<dyn Heart>,
    fault: Arc<Mutex<Fault>>,
    part: Part,
    calls: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

#[async_trait]
impl Heart for FaultyHeart {
    async fn beat(&mut self, beats: &[Beat]) -> Result<Vec<BeatReply>> {
        count(&self.calls, "beat");
        let mut replies = misbehave(&self.fault, "beat", self.inner.beat(beats)).await?;
        if let Some((queue, _)) = &*self.part.lock().unwrap() {
            for (reply, beat) in replies.iter_mut().zip(beats) {
                if beat.queue == *queue {
                    *reply = BeatReply::Unanswered { why: "it is away".into() };
                }
            }
        }
        Ok(replies)
    }
}
