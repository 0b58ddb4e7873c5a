//! What all tests use: a server with a proxy in front of it, adapters, jobs and workers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
pub use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
pub use std::time::Duration;

pub use shiftwork_adapter::*;
pub use shiftwork_redis::RedisAdapter;
pub use shiftwork_test_kit::{Fsync, Proxy, RedisServer, Reply};
pub use tokio::time::{Instant, sleep, timeout};

/// For what must come: far longer than anything takes.
pub const LONG: Duration = Duration::from_secs(20);

/// How long a call may take in most tests.
pub const PATIENCE: Duration = Duration::from_secs(2);

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A server, and a network in front of it that can fail.
pub struct World {
    pub server: RedisServer,
    pub proxy: Proxy,
}

impl World {
    pub fn new() -> Self {
        Self::of(RedisServer::start())
    }

    pub fn of(server: RedisServer) -> Self {
        let proxy = Proxy::start(server.address());
        Self { server, proxy }
    }

    /// A process whose network is the proxy.
    pub fn adapter(&self) -> Arc<RedisAdapter> {
        open(&self.proxy.url())
    }

    pub fn adapter_with(&self, change: impl FnOnce(&mut StoreSettings)) -> Arc<RedisAdapter> {
        open_with(&self.proxy.url(), change)
    }

    /// Another process, whose network never fails.
    pub fn other(&self) -> Arc<RedisAdapter> {
        open(&self.server.url())
    }

    pub fn other_with(&self, change: impl FnOnce(&mut StoreSettings)) -> Arc<RedisAdapter> {
        open_with(&self.server.url(), change)
    }
}

/// A process of the namespace `test`.
pub fn open(url: &str) -> Arc<RedisAdapter> {
    open_with(url, |_| {})
}

pub fn open_with(url: &str, change: impl FnOnce(&mut StoreSettings)) -> Arc<RedisAdapter> {
    Arc::new(try_open(url, change).expect("the URL is one"))
}

pub fn try_open(url: &str, change: impl FnOnce(&mut StoreSettings)) -> Result<RedisAdapter> {
    RedisAdapter::new(connection(url, "test", change))
}

pub fn connection(
    url: &str,
    namespace: &str,
    change: impl FnOnce(&mut StoreSettings),
) -> Connection {
    let namespace = Namespace::new(namespace).unwrap();
    let mut connection = Connection::new(namespace, Arc::new(SystemClock));
    connection.settings.connect_timeout = PATIENCE;
    connection.settings.keep_completed = Retention { age: Duration::from_hours(1), count: 1000 };
    change(&mut connection.settings);
    connection.variables.insert("JOBS_REDIS_URL", url.into());
    connection
}

pub fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

/// Where most tests have their jobs.
pub fn work() -> QueueName {
    queue("work")
}

/// A fresh job that may run at once.
pub fn job() -> JobSpec {
    JobSpec::new(id(), JobName::new("test").unwrap(), Payload::none())
}

pub fn jobs(count: usize) -> Vec<JobSpec> {
    (0..count).map(|_| job()).collect()
}

pub fn id() -> JobId {
    JobId::new(Timestamp::now(), random())
}

pub fn incarnation() -> Incarnation {
    Incarnation::new(Timestamp::now(), random())
}

/// Different each time.
fn random() -> [u8; 10] {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&MADE.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    random
}

/// A schedule of `queue` that nobody fires but the test.
pub fn schedule(id: &str, queue: &QueueName) -> Schedule {
    let template = JobTemplate::new(JobName::new("test").unwrap(), Payload::none());
    let timing = Timing::Every { period_ms: 1000 };
    Schedule::new(ScheduleId::new(id).unwrap(), queue.clone(), timing, template)
}

/// The stored schedule, which is there.
pub async fn record(adapter: &RedisAdapter, schedule: &ScheduleId) -> ScheduleRecord {
    let all = adapter.scheduled_jobs().await.unwrap().records;
    all.into_iter().find(|record| record.schedule.id == *schedule).expect("it is scheduled")
}

/// One incarnation in one queue that keeps to the rules.
pub struct Worker {
    pub adapter: Arc<RedisAdapter>,
    pub queue: QueueName,
    pub incarnation: Incarnation,
    /// The number of the last exchange.
    pub number: u64,
    pub held: BTreeMap<JobId, Claimed>,
}

impl Worker {
    pub fn new(adapter: &Arc<RedisAdapter>, queue: &QueueName) -> Self {
        Self {
            adapter: adapter.clone(),
            queue: queue.clone(),
            incarnation: incarnation(),
            number: 0,
            held: BTreeMap::new(),
        }
    }

    /// The next exchange: settles what it holds of these, and claims so many.
    pub fn turn(&self, settled: &[(JobId, Outcome)], claim: usize) -> Exchange {
        let mut turn = Exchange::new(self.queue.clone(), self.incarnation, self.number + 1);
        let settlements = settled
            .iter()
            .map(|(job, outcome)| Settlement::new(*job, self.held[job].generation, *outcome));
        turn.settlements = settlements.collect();
        turn.held = self.held.len() - settled.len();
        turn.claim = claim;
        turn
    }

    pub async fn try_exchange(&mut self, turn: &Exchange) -> Result<ExchangeReply> {
        let reply = self.adapter.exchange(turn).await?;
        self.number = turn.number;
        if let ExchangeReply::Answered(answer) = &reply {
            for settlement in &turn.settlements {
                self.held.remove(&settlement.job);
            }
            self.held.extend(answer.claimed.iter().map(|job| (job.spec.id, job.clone())));
        }
        Ok(reply)
    }

    /// One that is answered.
    pub async fn exchange(&mut self, turn: &Exchange) -> ExchangeAnswer {
        match self.try_exchange(turn).await.expect("the store exchanges") {
            ExchangeReply::Answered(answer) => answer,
            other => panic!("exchange {} was answered {other:?}", turn.number),
        }
    }

    pub async fn claim(&mut self, count: usize) -> Vec<JobId> {
        let answer = self.exchange(&self.turn(&[], count)).await;
        answer.claimed.iter().map(|job| job.spec.id).collect()
    }

    /// Settles jobs that it holds, none of which is refused.
    pub async fn settle(&mut self, settled: &[(JobId, Outcome)]) {
        let answer = self.exchange(&self.turn(settled, 0)).await;
        assert_eq!(answer.refused, [], "nothing is refused");
    }

    pub fn beat(&self) -> Beat {
        Beat::new(self.queue.clone(), self.incarnation, self.held.len())
    }

    /// What the store thinks that it holds.
    pub async fn held_by(&self, adapter: &RedisAdapter) -> BTreeSet<JobId> {
        let page = adapter.held(&self.queue, self.incarnation, None).await.unwrap();
        assert!(!page.expired, "the incarnation is alive");
        page.jobs.into_iter().map(|(job, _)| job).collect()
    }
}

/// The state of a job, if it is known.
pub async fn state(adapter: &RedisAdapter, queue: &QueueName, job: JobId) -> Option<JobState> {
    adapter.job(queue, job).await.unwrap().map(|job| job.state)
}

/// Waits until something is so.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        sleep(ms(5)).await;
    }
}

/// What comes within an ample time.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(output) = timeout(LONG, future).await else { panic!("{what}: not within {LONG:?}") };
    output
}

/// Polls a future once: it is under way now. It must not be ready yet.
pub async fn begin<F: Future>(future: &mut Pin<Box<F>>)
where
    F::Output: fmt::Debug,
{
    let ready = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    if let Poll::Ready(output) = ready {
        panic!("it was ready at once: {output:?}");
    }
}

/// What a future answers, and how long that took.
pub async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (future.await, began.elapsed())
}

/// Does something that blocks, such as what the kit does with a server, and answers when it is
/// done.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

/// An error is of this kind and effect, and its text has all of these in it.
#[track_caller]
pub fn assert_error(error: &AdapterError, kind: ErrorKind, effect: Effect, says: &[&str]) {
    assert_eq!((error.kind(), error.effect()), (kind, effect), "{error}");
    let text = error.to_string();
    for word in says {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}
