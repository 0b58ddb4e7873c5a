//! Who runs next: concurrency, and fairness between queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::sleep;

use crate::support::*;
use shiftwork::prelude::*;

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_waiting_jobs_delay_another_queues_job_by_one_run_at_most() {
    #[job(queue = "busy")]
    async fn second_long() {
        sleep(seconds(1)).await;
    }
    #[job(queue = "quiet")]
    async fn urgent(notes: State<Notes>) {
        notes.add_at("ran");
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let jobs = world
        .process([("JOBS_CONCURRENCY", "16"), ("JOBS_KEEP_COMPLETED", "0")])
        .state(notes.clone())
        .register(second_long::definition())
        .register(urgent::definition())
        .start()
        .await
        .unwrap();
    jobs.enqueue_many((0..100_000).map(|_| second_long::job())).await.unwrap();
    sleep(seconds(10)).await;
    for round in 1..=5 {
        sleep(std::time::Duration::from_millis(300)).await;
        let asked = world.elapsed();
        jobs.enqueue(urgent::job()).await.unwrap();
        let note = notes.reach(round).await.pop().unwrap();
        let ran: f64 = note.trim_start_matches("ran at ").parse().unwrap();
        let waited = ran - asked.as_secs_f64();
        assert!(waited <= 1.01, "the job waited for {waited} s");
    }
    let waiting = jobs.counts("busy").await.unwrap().waiting;
    assert!(waiting > 99_000, "only {waiting} were waiting");
}

#[derive(Clone, Default)]
struct Gauge {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gauge {
    async fn hold(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        sleep(seconds(1)).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_run_at_once_than_the_process_and_the_queue_allow() {
    #[job(queue = "wide")]
    async fn wide(gauge: State<Gauge>) {
        gauge.hold().await;
    }
    #[job(queue = "narrow-one")]
    async fn narrow(own: State<Arc<Gauge>>, all: State<Gauge>) {
        tokio::join!(own.hold(), all.hold());
    }
    let world = World::new().await;
    let (all, own) = (Gauge::default(), Arc::new(Gauge::default()));
    let jobs = world
        .process([("JOBS_CONCURRENCY", "8"), ("JOBS_QUEUE_NARROW_ONE_CONCURRENCY", "2")])
        .state(all.clone())
        .state(own.clone())
        .register(wide::definition())
        .register(narrow::definition())
        .start()
        .await
        .unwrap();
    let wides = jobs.enqueue_many((0..50).map(|_| wide::job())).await.unwrap();
    let narrows = jobs.enqueue_many((0..20).map(|_| narrow::job())).await.unwrap();
    for run in wides.iter().chain(&narrows) {
        finished(&jobs, run.id()).await;
    }
    assert_eq!(all.most.load(Ordering::SeqCst), 8);
    assert_eq!(own.most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_process_serves_only_the_queues_it_was_given() {
    #[job(queue = "reports")]
    async fn report() {}
    #[job(queue = "mail")]
    async fn mail() {}

    let world = World::new().await;
    let both = [report::definition(), mail::definition()];
    let jobs = world.worker([("JOBS_QUEUES", "*,!mail")], both.clone()).await;
    let unserved = jobs.enqueue(mail::job()).await.unwrap();
    let served = jobs.enqueue(report::job()).await.unwrap();
    finished(&jobs, served.id()).await;
    sleep(hours(1)).await;
    let waiting = jobs.job(unserved.id()).await.unwrap().unwrap();
    assert_eq!(waiting.state, shiftwork::JobState::Waiting);
    let _other = world.worker([("JOBS_QUEUES", "mail")], both).await;
    finished(&jobs, unserved.id()).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_process_has_nothing_to_wake_up_for() {
    #[job]
    async fn idle() {}
    let world = World::new().await;
    let jobs = world.worker([], [idle::definition()]).await;
    let asleep = jobs.enqueue(idle::job().delay(hours(24 * 365))).await.unwrap();
    // Paused time jumps to the next timer: were there a periodic one, this would take its time.
    finished_after_a_year(&jobs, asleep.id()).await;
    assert!(world.elapsed() >= hours(24 * 365));
}

async fn finished_after_a_year(jobs: &Jobs, id: shiftwork::JobId) {
    sleep(hours(24 * 365 + 1)).await;
    assert!(jobs.job(id).await.unwrap().unwrap().state.is_finished());
}
