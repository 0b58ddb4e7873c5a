//! A lease says that the jobs are in good hands: kept through blocked threads, lost by a loop that
//! hangs, taken over from a worker that died.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shiftwork::adapter::{
    Due, JobAdapter, JobSpec, JobTemplate, Payload, Schedule, StoreSettings, SystemClock, Timing,
};
use shiftwork::{JobState, JobsBuilder};
use tokio::time::sleep;

use crate::faulty::{Fault, Faulty};
use crate::support::*;
use shiftwork::prelude::*;

#[tokio::test(start_paused = true)]
async fn the_jobs_of_a_dead_worker_run_again_ahead_of_newer_ones_within_lease_and_grace() {
    #[job]
    async fn works(name: String, notes: State<Notes>, ctx: JobContext) {
        notes.add(format!("{name}, crashes {}, attempt {}", ctx.crashes(), ctx.attempt()));
        if ctx.crashes() == 0 && name == "first" {
            std::future::pending::<()>().await;
        }
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = |store: Arc<dyn JobAdapter>| {
        world
            .process_on(store, [("JOBS_CONCURRENCY", "1")])
            .state(notes.clone())
            .register(works::definition())
    };
    // A process that from some moment on can no longer be heard of.
    let faulty = Faulty::on(world.store.clone());
    let dying = process(faulty.clone()).start().await.unwrap();
    let first = dying.enqueue(works::job("first".into())).await.unwrap();
    notes.reach(1).await;
    faulty.everywhere(Fault::Hang);
    let other = process(world.store.clone()).start().await.unwrap();
    let died = world.elapsed();
    let second = other.enqueue(works::job("second".into())).await.unwrap();
    finished(&other, second.id()).await;
    let third = other.enqueue(works::job("third".into()).delay(seconds(30))).await.unwrap();
    let record = finished(&other, first.id()).await;
    assert!(world.elapsed() - died <= seconds(11), "it took {:?}", world.elapsed() - died);
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Completed, 1, 1));
    finished(&other, third.id()).await;
    assert_eq!(
        notes.all(),
        [
            "first, crashes 0, attempt 1",
            "second, crashes 0, attempt 1",
            "first, crashes 1, attempt 1",
            "third, crashes 0, attempt 1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_kills_its_worker_runs_alone_and_is_then_the_only_dead_letter() {
    #[job]
    async fn poison(_n: u32, notes: State<Notes>, ctx: JobContext) {
        notes.add(format!("poison {}", ctx.crashes()));
        std::future::pending::<()>().await;
    }
    #[job]
    async fn innocent() {
        sleep(seconds(1)).await;
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let start = async |store: Arc<dyn JobAdapter>| {
        let process = world.process_on(store, [("JOBS_CONCURRENCY", "100")]);
        let process = process.state(notes.clone());
        let process = process.register(poison::definition()).register(innocent::definition());
        process.start().await.unwrap()
    };
    let web = world.process([("JOBS_ENABLED", "false")]);
    let mut runs = Vec::new();
    let enqueuer = Faulty::on(world.store.clone());
    enqueuer.shared_by_processes();
    let web = web.adapter(enqueuer).register(poison::definition()).register(innocent::definition());
    let web = web.start().await.unwrap();
    let bad = web.enqueue(poison::job(1)).await.unwrap();
    for _ in 0..300 {
        runs.push(web.enqueue(innocent::job()).await.unwrap());
    }
    for life in 1..=3 {
        let faulty = Faulty::on(world.store.clone());
        let _dying = start(faulty.clone()).await;
        notes.reach(life).await;
        faulty.everywhere(Fault::Hang);
        sleep(seconds(20)).await;
    }
    let survivor = start(world.store.clone()).await;
    let record = finished(&survivor, bad.id()).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Dead, 0, 3));
    for run in runs {
        let record = finished(&survivor, run.id()).await;
        assert_eq!(record.state, JobState::Completed);
    }
    assert_eq!(survivor.counts("default").await.unwrap().dead, 1);
    assert_eq!(notes.all(), ["poison 0", "poison 1", "poison 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_exchanges_fail_for_long_keeps_what_it_has_finished() {
    #[job]
    async fn brief(notes: State<Notes>) {
        notes.add("ran");
        sleep(seconds(1)).await;
    }
    for fault in [Fault::Fail, Fault::TimeOut] {
        let world = World::new().await;
        let notes = Notes::new(&world);
        let faulty = Faulty::on(world.store.clone());
        let process =
            |store| world.process_on(store, []).state(notes.clone()).register(brief::definition());
        let worker = process(faulty.clone()).start().await.unwrap();
        let run = worker.enqueue(brief::job()).await.unwrap();
        notes.reach(1).await;
        // Its heart beats, and it tries and pauses, at last for longer than a call may take.
        faulty.exchange(fault);
        let other = process(world.store.clone()).start().await.unwrap();
        sleep(minutes(5)).await;
        faulty.exchange(Fault::None);
        let record = finished(&other, run.id()).await;
        assert_eq!((record.state, record.crashes), (JobState::Completed, 0), "{fault:?}");
        assert_eq!(notes.all(), ["ran"], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_loop_hangs_is_unhealthy_and_loses_its_jobs_once_they_are_overdue() {
    #[job(timeout = "1m")]
    async fn slow(notes: State<Notes>, ctx: JobContext) {
        notes.add_at(&format!("began, crashes {}", ctx.crashes()));
        if ctx.crashes() == 0 {
            sleep(seconds(20)).await;
        }
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let faulty = Faulty::on(world.store.clone());
    let process =
        |store| world.process_on(store, []).state(notes.clone()).register(slow::definition());
    let hanging = process(faulty.clone()).start().await.unwrap();
    let run = hanging.enqueue(slow::job()).await.unwrap();
    notes.reach(1).await;
    // Its exchanges are never answered; its heart could still beat.
    faulty.exchange(Fault::Hang);
    let other = process(world.store.clone()).start().await.unwrap();
    assert!(hanging.health().await.healthy);
    let record = finished(&other, run.id()).await;
    assert_eq!((record.state, record.crashes), (JobState::Completed, 1));
    // The attempt ended at 20 s and could not be settled. The heart renews for the 8 s in which the
    // loop may get round; what it renewed last is good for another 8 s, and the grace is 2 s.
    let again = &notes.all()[1];
    let at: f64 = again.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((28.0..=39.0).contains(&at), "{again}");
    // It has hung since then.
    sleep(seconds(44) - world.elapsed()).await;
    let health = hanging.health().await;
    assert!(!health.healthy);
    assert!(health.to_string().contains("worker of queue default has not got round"), "{health}");
}

#[job]
async fn counted(notes: State<Notes>) {
    notes.add("ran");
}

/// A process on a store that can be told to misbehave, idle.
async fn counting() -> (World, Notes, Arc<Faulty>, Jobs) {
    let world = World::new().await;
    let notes = Notes::new(&world);
    let faulty = Faulty::on(world.store.clone());
    let process = world.process_on(faulty.clone(), []).state(notes.clone());
    let jobs = process.register(counted::definition()).start().await.unwrap();
    sleep(seconds(1)).await;
    (world, notes, faulty, jobs)
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_panics_is_started_again_and_nothing_is_lost_or_doubled() {
    let (_world, notes, faulty, jobs) = counting().await;
    // The store does what it was asked, and then the loop dies of the answer.
    faulty.exchange(Fault::PanicAfter);
    let run = jobs.enqueue(counted::job()).await.unwrap();
    let record = finished(&jobs, run.id()).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Completed, 1, 0));
    assert_eq!(notes.all(), ["ran"]);
    assert!(jobs.health().await.healthy);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_panics_twice_ends_the_process_with_an_error() {
    #[job]
    async fn never() {}
    let world = World::new().await;
    let faulty = Faulty::on(world.store.clone());
    let process = world.process_on(faulty.clone(), []).register(never::definition());
    let jobs = process.start().await.unwrap();
    sleep(seconds(1)).await;
    faulty.exchange(Fault::AlwaysPanic);
    jobs.enqueue(never::job()).await.unwrap();
    let error = jobs.run_until_shutdown().await.unwrap_err();
    assert_eq!(error.kind(), shiftwork::ErrorKind::Engine);
    assert!(error.to_string().contains("worker of queue default panicked twice"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_asked_again_until_it_answers_and_nothing_is_doubled() {
    let (_world, notes, faulty, jobs) = counting().await;
    // Executed, but the reply is lost: for some seconds.
    faulty.exchange(Fault::LoseReplies);
    let runs = jobs.enqueue_many((0..20).map(|_| counted::job())).await.unwrap();
    sleep(seconds(3)).await;
    assert!(!jobs.health().await.healthy);
    faulty.exchange(Fault::None);
    for run in runs {
        let record = finished(&jobs, run.id()).await;
        assert_eq!((record.state, record.attempts), (JobState::Completed, 1));
    }
    assert_eq!(notes.all().len(), 20);
    assert!(jobs.health().await.healthy);
}

#[tokio::test(start_paused = true)]
async fn what_ends_is_settled_at_once_though_nobody_can_be_woken() {
    #[job]
    async fn ten_seconds_long() {
        sleep(seconds(10)).await;
    }
    let world = World::new().await;
    let faulty = Faulty::on(world.store.clone());
    let process = world.process_on(faulty.clone(), []).register(ten_seconds_long::definition());
    let jobs = process.start().await.unwrap();
    let run = jobs.enqueue(ten_seconds_long::job()).await.unwrap();
    sleep(seconds(1)).await;
    faulty.others(Fault::Fail);
    sleep(Duration::from_millis(9010)).await;
    let record = world.store.job(run.queue(), run.id()).await.unwrap().unwrap();
    assert_eq!(record.state, JobState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_is_unhealthy_within_three_leases_and_not_before() {
    #[job(every = "1m")]
    async fn minutely() {}
    // The clock says every half a minute that this process is there; the sweeper has something to do
    // in a minute.
    for (role, healthy_for) in [("cron", 52), ("async", 82)] {
        let world = World::new().await;
        let faulty = Faulty::on(world.store.clone());
        faulty.shared_by_processes();
        let process = world.process_on(faulty.clone(), [("WORKER_ROLE", role)]);
        let jobs = process.register(minutely::definition()).start().await.unwrap();
        // Idle for long, which is no fault: an idle loop answers.
        sleep(hours(1)).await;
        assert!(jobs.health().await.healthy, "{}", jobs.health().await);
        // From a second later on, the store does not answer.
        let queue = shiftwork::QueueName::new("default").unwrap();
        world.store.enqueue(&queue, vec![delayed_spec(seconds(60))]).await.unwrap();
        sleep(seconds(1)).await;
        faulty.others(Fault::Hang);
        sleep(seconds(healthy_for)).await;
        assert!(jobs.health().await.healthy, "{}", jobs.health().await);
        sleep(seconds(2)).await;
        let health = jobs.health().await;
        let stalled =
            if role == "cron" { "the clock has" } else { "the sweeper of queue default has" };
        assert!(health.to_string().contains(stalled), "{role}: {health}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_heart_that_panics_is_started_again_and_the_second_time_the_process_ends() {
    #[job(timeout = "1h")]
    async fn long() {
        sleep(minutes(5)).await;
    }
    let world = World::new().await;
    let faulty = Faulty::on(world.store.clone());
    let process = world.process_on(faulty.clone(), []).register(long::definition());
    let jobs = process.start().await.unwrap();
    let run = jobs.enqueue(long::job()).await.unwrap();
    sleep(seconds(10)).await;
    faulty.beats(Fault::PanicAfter);
    let record = finished(&jobs, run.id()).await;
    assert_eq!((record.state, record.crashes), (JobState::Completed, 0));
    assert!(jobs.health().await.healthy);
    faulty.beats(Fault::AlwaysPanic);
    jobs.enqueue(long::job()).await.unwrap();
    let error = jobs.run_until_shutdown().await.unwrap_err();
    assert!(error.to_string().contains("the heart panicked twice"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_or_sweeper_that_panics_twice_ends_the_process_too() {
    #[job(every = "1m")]
    async fn minutely() {}
    let world = World::new().await;
    for role in ["cron", "async"] {
        let faulty = Faulty::on(world.store.clone());
        faulty.shared_by_processes();
        let process = world.process_on(faulty.clone(), [("WORKER_ROLE", role)]);
        let jobs = process.register(minutely::definition()).start().await.unwrap();
        sleep(seconds(1)).await;
        faulty.others(Fault::AlwaysPanic);
        world.store.schedule(touched(&world).await, Some(START + hours(500))).await.unwrap();
        let queue = shiftwork::QueueName::new("default").unwrap();
        world.store.enqueue(&queue, vec![delayed_spec(Duration::from_millis(1))]).await.unwrap();
        let error = jobs.run_until_shutdown().await.unwrap_err();
        let what =
            if role == "cron" { "the clock panicked" } else { "the sweeper of queue default" };
        assert!(error.to_string().contains(what), "{error}");
    }
}

/// A schedule that the store has not seen: whoever waits for changes wakes up.
async fn touched(world: &World) -> shiftwork::adapter::Schedule {
    let id = format!("touch-{}", world.elapsed().as_millis());
    let template = JobTemplate::new(shiftwork::JobName::new("nobody").unwrap(), Payload::none());
    let queue = shiftwork::QueueName::new("default").unwrap();
    let timing = Timing::Every { period_ms: 3_600_000 };
    Schedule::new(shiftwork::ScheduleId::new(id).unwrap(), queue, timing, template)
}

/// A job that is due earlier than any sweep expects.
fn delayed_spec(delay: Duration) -> JobSpec {
    let name = shiftwork::JobName::new("nobody").unwrap();
    let mut spec =
        JobSpec::new(shiftwork::JobId::from_bytes(fastrand_bytes()), name, Payload::none());
    spec.due = Due::After(delay);
    spec
}

fn fastrand_bytes() -> [u8; 16] {
    std::array::from_fn(|_| fastrand::u8(..))
}

/// Real time, real threads: the one thing that a simulated clock cannot show.
#[test]
fn a_handler_that_blocks_every_thread_for_three_leases_keeps_its_lease() {
    static BLOCKED: AtomicBool = AtomicBool::new(false);
    #[job(attempts = 1)]
    async fn blocks_its_thread(both: u8) {
        let _ = both;
        BLOCKED.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(6500));
    }
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().build().unwrap()
    };
    let (blocked, watching) = (runtime(), runtime());
    let mut settings = StoreSettings::default();
    settings.lease = Duration::from_secs(2);
    settings.grace = Duration::from_secs(1);
    settings.keep_completed.age = Duration::from_secs(3600);
    let store = watching.block_on(memory(settings, Arc::new(SystemClock))).unwrap();
    let process = || {
        Jobs::from_vars([("JOBS_LEASE", "2s"), ("JOBS_KEEP_COMPLETED", "1h")])
            .without_linked_jobs()
            .adapter(store.clone())
            .register(blocks_its_thread::definition())
    };
    let jobs = blocked.block_on(JobsBuilder::start(process())).unwrap();
    let runs: Vec<_> = (0..2)
        .map(|n| watching.block_on(jobs.enqueue(blocks_its_thread::job(n))).unwrap())
        .collect();
    while !BLOCKED.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    // Another process stands by, to take the jobs over should the lease lapse.
    let other = watching.block_on(process().start()).unwrap();
    watching.block_on(async {
        for run in &runs {
            run.result(seconds(20)).await.unwrap();
            let record = other.job(run.id()).await.unwrap().unwrap();
            assert_eq!(record.state, JobState::Completed);
            assert_eq!((record.attempts, record.crashes), (1, 0), "the lease was lost");
        }
    });
    blocked.shutdown_background();
    watching.shutdown_background();
}
