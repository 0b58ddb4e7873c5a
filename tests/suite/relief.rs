//! A queue of which many jobs may run at once has a second worker: what it brings, and that nobody
//! else sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shiftwork::adapter::JobAdapter;
use shiftwork::{JobId, JobState};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::faulty::{Fault, Faulty};
use crate::support::*;
use shiftwork::prelude::*;

#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl Gauge {
    fn begins(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.all.fetch_add(1, Ordering::SeqCst);
    }

    fn ends(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    async fn reaches(&self, count: usize) {
        while self.all.load(Ordering::SeqCst) < count {
            sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    fn counted(&self) -> (usize, usize) {
        (self.all.load(Ordering::SeqCst), self.most.load(Ordering::SeqCst))
    }
}

#[job]
async fn gated(gauge: State<Arc<Gauge>>, gate: State<Arc<Semaphore>>) {
    gauge.begins();
    gate.acquire().await.unwrap().forget();
    gauge.ends();
}

#[job]
async fn suspect(ctx: JobContext, gauge: State<Arc<Gauge>>) {
    if ctx.crashes() == 0 {
        std::future::pending::<()>().await;
    }
    assert_eq!(gauge.now.load(Ordering::SeqCst), 0, "it is not alone");
}

/// A process of a world, and what its jobs go by.
struct Many {
    gauge: Arc<Gauge>,
    gate: Arc<Semaphore>,
}

impl Many {
    fn new() -> Self {
        Self { gauge: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    async fn start(&self, world: &World, store: Arc<dyn JobAdapter>, concurrency: &str) -> Jobs {
        let process = world.process_on(store, [("JOBS_CONCURRENCY", concurrency)]);
        let process = process.register(gated::definition()).register(suspect::definition());
        process.state(self.gauge.clone()).state(self.gate.clone()).start().await.unwrap()
    }
}

async fn enqueue(jobs: &Jobs, count: usize) -> Vec<JobId> {
    let runs = jobs.enqueue_many((0..count).map(|_| gated::job())).await.unwrap();
    runs.iter().map(|run| run.id()).collect()
}

/// Runs 5,000 jobs at this concurrency in a store that takes its time; how many exchanges were
/// under way at once.
async fn exchanges_at_once(concurrency: &str) -> usize {
    let (world, many) = (World::new().await, Many::new());
    let store = Faulty::on(world.store.clone());
    store.exchange(Fault::Slow);
    many.gate.add_permits(5000);
    let jobs = many.start(&world, store.clone(), concurrency).await;
    for id in enqueue(&jobs, 5000).await {
        let record = finished(&jobs, id).await;
        assert_eq!((record.state, record.attempts), (JobState::Completed, 1));
    }
    assert_eq!(many.gauge.counted().0, 5000, "each ran once");
    store.most_exchanges_at_once()
}

#[tokio::test(start_paused = true)]
async fn with_many_slots_a_second_exchange_is_under_way_while_the_first_is() {
    assert_eq!(exchanges_at_once("500").await, 2);
    assert_eq!(exchanges_at_once("200").await, 2);
}

#[tokio::test(start_paused = true)]
async fn with_few_slots_one_exchange_follows_another() {
    assert_eq!(exchanges_at_once("199").await, 1);
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_to_both_settle_and_claim_nothing_twice() {
    let (world, many) = (World::new().await, Many::new());
    let store = Faulty::on(world.store.clone());
    store.exchange(Fault::Slow);
    let jobs = many.start(&world, store.clone(), "500").await;
    let ids = enqueue(&jobs, 2000).await;
    many.gauge.reaches(500).await;
    store.exchange(Fault::LoseReplies);
    many.gate.add_permits(2000);
    sleep(seconds(5)).await;
    store.exchange(Fault::Slow);
    for id in ids {
        let record = finished(&jobs, id).await;
        assert_eq!((record.state, record.attempts), (JobState::Completed, 1));
    }
    assert_eq!(many.gauge.counted().0, 2000, "each ran once");
    assert_eq!(store.most_exchanges_at_once(), 2);
}

#[tokio::test(start_paused = true)]
async fn as_many_run_at_once_as_there_are_slots_and_health_tells_of_one_queue() {
    let (world, many) = (World::new().await, Many::new());
    let store = Faulty::on(world.store.clone());
    store.exchange(Fault::Slow);
    let jobs = many.start(&world, store, "500").await;
    let ids = enqueue(&jobs, 2000).await;
    many.gauge.reaches(500).await;
    sleep(minutes(1)).await;
    assert_eq!(many.gauge.counted(), (500, 500));
    let health = jobs.health().await;
    let queues: Vec<_> = health.queues.iter().map(|q| (q.queue.as_str(), q.running)).collect();
    assert_eq!(queues, [("default", 500)]);
    many.gate.add_permits(2000);
    for id in ids {
        finished(&jobs, id).await;
    }
    assert_eq!(many.gauge.counted(), (2000, 500));
}

#[tokio::test(start_paused = true)]
async fn when_the_process_shuts_down_both_hand_back_what_they_run() {
    let (world, many) = (World::new().await, Many::new());
    let jobs = many.start(&world, world.store.clone(), "500").await;
    enqueue(&jobs, 600).await;
    many.gauge.reaches(500).await;
    jobs.shutdown().await.unwrap();
    let counts = world.process([]).start().await.unwrap().counts("default").await.unwrap();
    assert_eq!((counts.waiting, counts.active), (600, 0));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_must_run_alone_waits_for_what_either_runs() {
    let world = World::with(|settings| settings.max_crashes = 2).await;
    let many = Many::new();
    let faulty = Faulty::on(world.store.clone());
    let dying = many.start(&world, faulty.clone(), "500").await;
    let id = dying.enqueue(suspect::job()).await.unwrap().id();
    sleep(seconds(1)).await;
    faulty.everywhere(Fault::Hang);
    let jobs = many.start(&world, world.store.clone(), "500").await;
    enqueue(&jobs, 600).await;
    many.gauge.reaches(500).await;
    // The suspect's first worker is seen to be gone, and it waits.
    sleep(minutes(2)).await;
    assert_eq!(
        many.gauge.counted(),
        (500, 500),
        "a job began while the process was to be given away"
    );
    assert_eq!(jobs.job(id).await.unwrap().unwrap().state, JobState::Waiting);
    many.gate.add_permits(600);
    let record = finished(&jobs, id).await;
    assert_eq!((record.state, record.crashes, record.attempts), (JobState::Completed, 1, 1));
}
