//! What all cases use: a fresh store, a queue, jobs and workers for it, time that passes, and
//! ways to look.

use std::fmt::Debug;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Factory, Store, Time, Worker};
use crate::{
    Claimed, Counts, Due, Enqueued, Find, Incarnation, JobAdapter, JobId, JobName, JobRecord,
    JobSpec, JobState, Outcome, Payload, QueueName, Recovered, Retention, ScheduleRecord,
    StoreSettings, Timestamp,
};

/// A moment long ago, for ids only.
const ID_TIME: Timestamp = Timestamp::from_millis(1_772_330_400_000);

/// Longer than any case runs.
const HOUR: Duration = Duration::from_hours(1);

/// More steps than anything takes: whoever is not done then never is.
pub(super) const ENDLESS: usize = 10_000;

/// A fresh store and all that a case needs. It derefs to a handle of the store.
pub(super) struct Kit {
    /// Where a case's jobs are, if it needs one queue only.
    pub(super) queue: QueueName,
    /// What the store was told.
    pub(super) settings: StoreSettings,
    pub(super) adapter: Arc<dyn JobAdapter>,
    factory: Arc<dyn Factory>,
    store: Box<dyn Store>,
    made: AtomicU64,
}

impl Deref for Kit {
    type Target = dyn JobAdapter;

    fn deref(&self) -> &Self::Target {
        &*self.adapter
    }
}

/// What a while of sweeping did.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) promoted: usize,
    pub(super) recovered: Vec<Recovered>,
}

/// Making stores.
impl Kit {
    /// A store with the settings that suit most cases: a lease of 4 units, a grace of 1, and
    /// finished jobs are kept.
    pub(super) async fn open(factory: Arc<dyn Factory>) -> Self {
        let unit = factory.time().unit();
        let kept = Retention { age: HOUR, count: 10_000 };
        let settings = StoreSettings {
            connect_timeout: StoreSettings::default().connect_timeout,
            lease: unit * 4,
            grace: unit,
            idle_poll: None,
            max_crashes: 3,
            keep_completed: kept,
            keep_dead: kept,
        };
        Self::open_with(factory, settings).await
    }

    async fn open_with(factory: Arc<dyn Factory>, settings: StoreSettings) -> Self {
        let store = factory.open(settings).await;
        Self {
            queue: queue("work"),
            settings,
            adapter: store.adapter().await,
            factory,
            store,
            made: AtomicU64::new(0),
        }
    }

    /// Another fresh store, with other settings.
    pub(super) async fn with(&self, change: impl FnOnce(&mut StoreSettings)) -> Self {
        let mut settings = self.settings;
        change(&mut settings);
        Self::open_with(self.factory.clone(), settings).await
    }

    /// A second handle on the same store: another process.
    pub(super) async fn another(&self) -> Arc<dyn JobAdapter> {
        self.store.adapter().await
    }

    /// Sets the store's clock, where that can be.
    pub(super) fn set_clock(&self, now: Timestamp) -> bool {
        self.store.set_clock(now)
    }
}

/// Time.
impl Kit {
    /// So many units.
    pub(super) fn units(&self, count: u32) -> Duration {
        self.factory.time().unit() * count
    }

    /// Whether the test decides at which moment a step happens.
    pub(super) fn is_exact(&self) -> bool {
        self.factory.time() == Time::Simulated
    }

    /// How much earlier than it did a store may say that it accepted a job.
    pub(super) fn reckoned(&self) -> Duration {
        if self.is_exact() { Duration::ZERO } else { Duration::from_secs(1) }
    }

    /// Lets so many units pass, while nobody sweeps.
    pub(super) async fn pass(&self, units: u32) {
        sleep(self.units(units)).await;
    }

    /// The store's time.
    pub(super) async fn now(&self) -> Timestamp {
        self.ping().await.expect("the store answers a ping").now
    }

    /// Sweeps until there is no more to do at once.
    pub(super) async fn sweep_now(&self) -> Swept {
        self.sweep_for(0).await
    }

    /// Lets so many units pass and sweeps whenever the store asks for it, as the engine does.
    pub(super) async fn sweep_for(&self, units: u32) -> Swept {
        let end = Instant::now() + self.units(units);
        let mut swept = Swept::default();
        let mut at_once = 0;
        loop {
            let answer = self.sweep(&self.queue).await.expect("the store sweeps");
            swept.promoted += answer.promoted;
            swept.recovered.extend(answer.recovered);
            if answer.next == Some(Duration::ZERO) {
                at_once += 1;
                assert!(at_once < ENDLESS, "there is always more to sweep at once");
                continue;
            }
            at_once = 0;
            let left = end.duration_since(Instant::now());
            if left.is_zero() {
                return swept;
            }
            sleep(answer.next.map_or(left, |next| next.min(left))).await;
        }
    }

    /// So long that every lease that nobody renews has lapsed and its jobs are taken back.
    pub(super) async fn lapse(&self) -> Swept {
        self.sweep_for(8).await
    }

    /// What `future` answers, if it does within a time that is ample.
    pub(super) async fn in_time<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        timeout(self.units(10), future).await.ok()
    }
}

/// Making jobs and workers.
impl Kit {
    /// A fresh id. Ids do not rise in the order of their making, so that no store can pass for
    /// keeping an order that it only finds in the ids.
    pub(super) fn id(&self) -> JobId {
        JobId::new(ID_TIME, self.random())
    }

    /// An id of a run by hand.
    pub(super) fn by_hand_id(&self) -> JobId {
        let mut random = [0; 16];
        random[..10].copy_from_slice(&self.random());
        JobId::by_hand(random)
    }

    /// A job that may run at once.
    pub(super) fn new_job(&self) -> JobSpec {
        JobSpec::new(self.id(), name("test_job"), Payload::none())
    }

    /// A job that is due so many units after the store accepts it.
    pub(super) fn after(&self, units: u32) -> JobSpec {
        let mut spec = self.new_job();
        spec.due = Due::After(self.units(units));
        spec
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        Incarnation::new(ID_TIME, self.random())
    }

    fn random(&self) -> [u8; 10] {
        let count = self.made.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&count.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        random[8..].copy_from_slice(&count.to_be_bytes()[6..]);
        random
    }

    /// A worker of the queue that has not spoken yet.
    pub(super) fn worker(&self) -> Worker {
        self.worker_in(&self.queue)
    }

    pub(super) fn worker_in(&self, queue: &QueueName) -> Worker {
        Worker::new(self.adapter.clone(), queue.clone(), self.incarnation())
    }

    /// Enqueues a new job.
    pub(super) async fn add(&self, job: JobSpec) -> JobId {
        self.add_all(vec![job]).await[0]
    }

    /// Enqueues new jobs in one call.
    pub(super) async fn add_all(&self, jobs: Vec<JobSpec>) -> Vec<JobId> {
        let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
        let answers = self.enqueue(&self.queue, jobs).await.expect("the store enqueues");
        assert_eq!(answers, vec![Enqueued::New; ids.len()], "all of them are new");
        ids
    }

    /// Enqueues so many new jobs that may run at once, in one call.
    pub(super) async fn add_plain(&self, count: usize) -> Vec<JobId> {
        self.add_all((0..count).map(|_| self.new_job()).collect()).await
    }

    /// A new job, claimed by a new worker.
    pub(super) async fn claimed(&self) -> (Worker, Claimed) {
        self.claimed_of(self.new_job()).await
    }

    /// `job`, enqueued and claimed by a new worker.
    pub(super) async fn claimed_of(&self, job: JobSpec) -> (Worker, Claimed) {
        let id = self.add(job).await;
        let mut worker = self.worker();
        let claimed = worker.claim_one().await;
        assert_eq!(claimed.spec.id, id, "the only job is claimed");
        (worker, claimed)
    }

    /// A new job, run once and settled so.
    pub(super) async fn settled(&self, outcome: Outcome) -> JobId {
        let (mut worker, claimed) = self.claimed().await;
        worker.settle(&claimed, outcome).await;
        claimed.spec.id
    }

    /// A new job that has lost so many workers, and waits.
    pub(super) async fn crashed(&self, times: u32) -> JobId {
        let id = self.add(self.new_job()).await;
        self.crash(id, times).await;
        id
    }

    /// Loses so many workers that hold this job, the only one that waits.
    pub(super) async fn crash(&self, job: JobId, times: u32) {
        for _ in 0..times {
            let claimed = self.worker().claim_one().await;
            assert_eq!(claimed.spec.id, job, "the only job is claimed");
            self.lapse().await;
        }
    }
}

/// Looking.
impl Kit {
    /// The job, which is known.
    pub(super) async fn record(&self, job: JobId) -> JobRecord {
        self.look(job).await.unwrap_or_else(|| panic!("job {job} is not known"))
    }

    /// The job, if it is known.
    pub(super) async fn look(&self, job: JobId) -> Option<JobRecord> {
        self.job(&self.queue, job).await.expect("the store looks a job up")
    }

    /// The job's state, if it is known.
    pub(super) async fn state(&self, job: JobId) -> Option<JobState> {
        Some(self.look(job).await?.state)
    }

    /// The job is in this state.
    #[track_caller]
    pub(super) fn assert_state(&self, job: JobId, state: JobState) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let found = self.state(job).await;
            assert_eq!(found, Some(state), "state of job {job}, asked for at {caller}");
        }
    }

    /// The job is not known, or no more.
    pub(super) async fn assert_unknown(&self, job: JobId) {
        assert_eq!(self.look(job).await, None, "job {job} is not known");
    }

    pub(super) async fn count(&self) -> Counts {
        self.counts(&self.queue).await.expect("the store counts")
    }

    /// All that `find` finds in the queue, over all pages, ordered by id. A store may tell one twice.
    pub(super) async fn find_all(&self, find: Find) -> Vec<JobRecord> {
        self.find_all_in(&self.queue, find).await
    }

    pub(super) async fn find_all_in(&self, queue: &QueueName, mut find: Find) -> Vec<JobRecord> {
        let mut all = Vec::new();
        for _ in 0..ENDLESS {
            let page = self.find(queue, &find).await.expect("the store finds");
            assert!(page.jobs.len() <= find.limit, "a page is no longer than asked for");
            all.extend(page.jobs);
            find.after = page.next;
            if find.after.is_none() {
                all.sort_by_key(|job| job.spec.id);
                all.dedup_by_key(|job| job.spec.id);
                return all;
            }
        }
        panic!("there is always another page")
    }

    /// All that the store knows, for comparing.
    pub(super) async fn snapshot(&self) -> Snapshot {
        let mut queues = Vec::new();
        for queue in self.queues().await.expect("the store names its queues") {
            let counts = self.counts(&queue).await.expect("the store counts");
            let jobs = self.find_all_in(&queue, Find::new()).await;
            queues.push((queue, counts, jobs));
        }
        let schedules = self.scheduled_jobs().await.expect("the store lists schedules").records;
        Snapshot { queues, schedules }
    }
}

/// All that a store knows.
#[derive(Debug, PartialEq)]
pub(super) struct Snapshot {
    queues: Vec<(QueueName, Counts, Vec<JobRecord>)>,
    schedules: Vec<ScheduleRecord>,
}

/// What a store thinks an incarnation holds, over all pages, and whether it is no more.
pub(super) async fn held_by(
    adapter: &dyn JobAdapter,
    queue: &QueueName,
    incarnation: Incarnation,
) -> (Vec<(JobId, u64)>, bool) {
    let (mut jobs, mut expired, mut after) = (Vec::new(), false, None);
    for _ in 0..ENDLESS {
        let page = adapter.held(queue, incarnation, after).await;
        let page = page.expect("the store tells what is held");
        jobs.extend(page.jobs);
        expired |= page.expired;
        after = page.next;
        if after.is_none() {
            return (jobs, expired);
        }
    }
    panic!("there is always another page")
}

pub(super) fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a test's queue name is valid")
}

pub(super) fn name(name: &str) -> JobName {
    JobName::new(name).expect("a test's job name is valid")
}

/// The ids of what was claimed, in order.
pub(super) fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|claimed| claimed.spec.id).collect()
}

/// `items`, ordered.
pub(super) fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<_> = items.into_iter().collect();
    items.sort();
    items
}

/// No item twice.
pub(super) fn assert_distinct<T: Ord + Clone + Debug>(items: &[T]) {
    let ordered = sorted(items.to_vec());
    if let Some(pair) = ordered.windows(2).find(|pair| pair[0] == pair[1]) {
        panic!("{:?} is there twice", pair[0]);
    }
}

/// Polls `future` once: it is under way now, if it has not ended.
pub(super) async fn begin<F: Future>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    poll_fn(|cx| match pin!(future.as_mut()).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
