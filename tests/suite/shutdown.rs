//! What happens to running jobs when a process ends, in each phase of its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shiftwork::adapter::{StoreSettings, SystemClock};

use shiftwork::JobState;
use tokio::time::sleep;

use crate::events::record;
use crate::faulty::{Fault, Faulty};
use crate::support::*;
use shiftwork::prelude::*;

#[tokio::test(start_paused = true)]
async fn a_job_that_ends_within_the_grace_period_is_completed() {
    #[job]
    async fn ten_seconds(notes: State<Notes>, ctx: JobContext) {
        notes.add("began");
        sleep(seconds(10)).await;
        notes.add_at(if ctx.is_shutting_down() { "told" } else { "not told" });
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(ten_seconds::definition());
    let jobs = process.start().await.unwrap();
    let run = jobs.enqueue(ten_seconds::job()).await.unwrap();
    let waiting = jobs.enqueue(ten_seconds::job().delay(seconds(5))).await.unwrap();
    notes.reach(1).await;
    jobs.shutdown().await.unwrap();
    assert_eq!(notes.all(), ["began", "told at 10"]);
    let state = state_in(&world, run.id()).await;
    assert_eq!((state.state, state.attempts), (JobState::Completed, 1));
    assert_eq!(state_in(&world, waiting.id()).await.attempts, 0, "it was claimed after all");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_end_of_the_grace_is_cancelled_and_handed_back_unspent() {
    #[job]
    async fn listens(notes: State<Notes>, ctx: JobContext) -> Result<(), JobError> {
        notes.add("began");
        ctx.cancelled().await;
        notes.add_at("cancelled");
        Err("stopped in the middle".into())
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(listens::definition());
    let jobs = process.start().await.unwrap();
    let run = jobs.enqueue(listens::job()).await.unwrap();
    notes.reach(1).await;
    jobs.shutdown().await.unwrap();
    assert_eq!(notes.all(), ["began", "cancelled at 30"]);
    let record = state_in(&world, run.id()).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Waiting, 0, 0));
    assert_eq!(world.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ignores_cancellation_is_dropped_a_second_later() {
    struct Dropped(Notes);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.add_at("dropped");
        }
    }
    #[job]
    async fn ignores(State(notes): State<Notes>) {
        let _dropped = Dropped(notes.clone());
        notes.add("began");
        std::future::pending::<()>().await;
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([("JOBS_SHUTDOWN_GRACE", "5s")]);
    let jobs = process.state(notes.clone()).register(ignores::definition()).start().await.unwrap();
    let run = jobs.enqueue(ignores::job()).await.unwrap();
    notes.reach(1).await;
    jobs.shutdown().await.unwrap();
    assert_eq!(notes.all(), ["began", "dropped at 6"]);
    let record = state_in(&world, run.id()).await;
    assert_eq!((record.state, record.attempts), (JobState::Waiting, 0));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_leaves_its_work_to_the_next_process_spends_no_attempt() {
    #[job]
    async fn polite(notes: State<Notes>, ctx: JobContext) -> Result<(), JobError> {
        notes.add(format!("attempt {}", ctx.attempt()));
        ctx.shutting_down().await;
        Err(JobError::interrupted())
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let start = async || {
        let process = world.process([]).state(notes.clone()).register(polite::definition());
        process.start().await.unwrap()
    };
    let first = start().await;
    let run = first.enqueue(polite::job()).await.unwrap();
    notes.reach(1).await;
    first.shutdown().await.unwrap();
    assert_eq!(world.elapsed(), Duration::ZERO);
    let second = start().await;
    assert_eq!(notes.reach(2).await, ["attempt 1", "attempt 1"]);
    second.shutdown().await.unwrap();
    assert_eq!(state_in(&world, run.id()).await.attempts, 0);
}

#[tokio::test]
async fn after_a_shutdown_the_store_is_let_go_of_and_twice_is_once() {
    #[job]
    async fn quick() {}
    let jobs = Jobs::from_vars([("JOBS_PROVIDER", "memory")]);
    let jobs = jobs.without_linked_jobs().register(quick::definition()).start().await.unwrap();
    assert!(jobs.ready().await);
    jobs.shutdown().await.unwrap();
    jobs.shutdown().await.unwrap();
    assert!(!jobs.ready().await);
    assert!(jobs.enqueue(quick::job()).await.is_err());
}

/// Real time, real threads: what blocks its thread blocks a simulated clock too.
#[test]
fn a_handler_that_cannot_be_aborted_is_named_in_the_log_and_its_job_is_handed_back() {
    static BEGAN: AtomicBool = AtomicBool::new(false);
    #[job(name = "blocks-for-good")]
    async fn blocks() {
        BEGAN.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_secs(6));
    }
    record();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let mut settings = StoreSettings::default();
    settings.lease = Duration::from_secs(5);
    let store = runtime.block_on(memory(settings, Arc::new(SystemClock))).unwrap();
    let (id, record_of) = runtime.block_on(async {
        let jobs = Jobs::from_vars([("JOBS_SHUTDOWN_GRACE", "100ms"), ("JOBS_LEASE", "5s")])
            .without_linked_jobs()
            .adapter(store.clone())
            .register(blocks::definition())
            .start()
            .await
            .unwrap();
        let run = jobs.enqueue(blocks::job()).await.unwrap();
        while !BEGAN.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        jobs.shutdown().await.unwrap();
        let queue = shiftwork::QueueName::new("default").unwrap();
        (run.id().to_string(), store.job(&queue, run.id()).await.unwrap().unwrap())
    });
    assert_eq!((record_of.state, record_of.attempts), (JobState::Waiting, 0));
    let named =
        record().with([("level", "ERROR"), ("job.name", "blocks-for-good"), ("job.id", &id)]);
    assert!(named[0]["message"].starts_with("a handler cannot be aborted"), "{named:?}");
    runtime.shutdown_background();
}

/// Real time, real threads, and none of them left for the engine.
#[test]
fn a_shutdown_ends_though_handlers_block_every_thread() {
    static BEGAN: AtomicUsize = AtomicUsize::new(0);
    #[job(name = "blocks-all")]
    async fn blocks() {
        BEGAN.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_secs(60));
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let jobs = Jobs::from_vars([("JOBS_SHUTDOWN_GRACE", "100ms")]).without_linked_jobs();
        let jobs = jobs.register(blocks::definition()).start().await.unwrap();
        // A worker runs on one of the threads: the second job is claimed with the first.
        jobs.pause("default").await.unwrap();
        jobs.enqueue_many([blocks::job(), blocks::job()]).await.unwrap();
        jobs.resume("default").await.unwrap();
        while BEGAN.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        let asked = Instant::now();
        jobs.shutdown().await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?}", asked.elapsed());
    });
    runtime.shutdown_background();
}

#[tokio::test(start_paused = true)]
async fn where_a_worker_broke_down_its_handlers_have_their_grace_all_the_same() {
    #[job]
    async fn listens(notes: State<Notes>, ctx: JobContext) {
        notes.add("began");
        ctx.shutting_down().await;
        sleep(seconds(2)).await;
        notes.add("ended");
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let faulty = Faulty::on(world.store.clone());
    let process = world.process_on(faulty.clone(), []).state(notes.clone());
    let jobs = process.register(listens::definition()).start().await.unwrap();
    jobs.enqueue(listens::job()).await.unwrap();
    notes.reach(1).await;
    faulty.exchange(Fault::AlwaysPanic);
    jobs.enqueue(listens::job()).await.unwrap();
    jobs.run_until_shutdown().await.unwrap_err();
    assert_eq!(notes.all(), ["began", "ended"]);
}

async fn state_in(world: &World, id: shiftwork::JobId) -> shiftwork::JobRecord {
    let queue = shiftwork::QueueName::new("default").unwrap();
    world.store.job(&queue, id).await.unwrap().unwrap()
}
