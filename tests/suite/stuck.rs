//! A queue whose exchanges are not answered holds up no other queue of the process, and what its
//! late answers bring is accounted for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use shiftwork::{JobState, JobsBuilder, Run};
use tokio::time::{sleep, timeout};

use crate::faulty::{Fault, Faulty};
use crate::support::*;
use shiftwork::prelude::*;

/// Who runs.
#[derive(Clone, Default)]
struct Gauge {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    disturbed: Arc<AtomicBool>,
}

impl Gauge {
    async fn hold(&self, count: u64) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        sleep(seconds(count)).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    /// The same, and notices whoever runs meanwhile.
    async fn hold_alone(&self, count: u64) {
        let watched = async {
            loop {
                if self.now.load(Ordering::SeqCst) > 1 {
                    self.disturbed.store(true, Ordering::SeqCst);
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = self.hold(count) => {}
            () = watched => {}
        }
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    /// How many ran at once at most since the last time this was asked.
    fn take_most(&self) -> usize {
        self.most.swap(self.now(), Ordering::SeqCst)
    }
}

#[job(queue = "stuck", timeout = "1h")]
async fn stuck(count: u64, gauge: State<Gauge>, notes: State<Notes>) {
    notes.add_at("stuck");
    gauge.hold(count).await;
}

#[job(queue = "other", timeout = "1h")]
async fn other(count: u64, gauge: State<Gauge>, notes: State<Notes>) {
    notes.add_at("other");
    gauge.hold(count).await;
}

/// Takes its first worker down.
#[job(queue = "suspects", timeout = "1h")]
async fn suspect(count: u64, gauge: State<Gauge>, notes: State<Notes>, ctx: JobContext) {
    notes.add_at("suspect");
    if ctx.crashes() == 0 {
        std::future::pending::<()>().await;
    }
    gauge.hold_alone(count).await;
}

struct Scene {
    world: World,
    gauge: Gauge,
    notes: Notes,
    store: Arc<Faulty>,
    jobs: Jobs,
}

impl Scene {
    /// A process of two slots; the second crash of a job is its last.
    async fn new() -> Self {
        let world = World::with(|settings| settings.max_crashes = 2).await;
        let (gauge, notes) = (Gauge::default(), Notes::new(&world));
        let store = Faulty::on(world.store.clone());
        let process = world.process_on(store.clone(), [("JOBS_CONCURRENCY", "2")]);
        let jobs = with_jobs(process, &gauge, &notes).start().await.unwrap();
        sleep(seconds(1)).await;
        Self { world, gauge, notes, store, jobs }
    }

    async fn enqueue(&self, jobs: impl IntoIterator<Item = NewJob>) -> Vec<Run> {
        self.jobs.enqueue_many(jobs).await.unwrap()
    }

    /// Suspects whose first worker has vanished, and which now wait to run alone.
    async fn suspects(&self, runs_for: &[u64]) -> Vec<Run> {
        let dying = Faulty::on(self.world.store.clone());
        let vars = [("JOBS_CONCURRENCY", "10"), ("JOBS_QUEUES", "suspects")];
        let process = self.world.process_on(dying.clone(), vars);
        // It is there first.
        self.jobs.pause("suspects").await.unwrap();
        let process = with_jobs(process, &self.gauge, &self.notes).start().await.unwrap();
        let runs = process.enqueue_many(runs_for.iter().map(|&count| suspect::job(count)));
        let runs = runs.await.unwrap();
        self.store.exchange_of("suspects", Fault::Fail);
        self.jobs.resume("suspects").await.unwrap();
        self.notes.reach(runs.len()).await;
        dying.everywhere(Fault::Hang);
        self.store.exchange_of("suspects", Fault::None);
        for run in &runs {
            while self.jobs.job(run.id()).await.unwrap().unwrap().crashes == 0 {
                sleep(Duration::from_millis(100)).await;
            }
        }
        runs
    }

    async fn finish(&self, runs: &[Run]) {
        for run in runs {
            let ended = timeout(hours(1), finished(&self.jobs, run.id())).await;
            let record = ended.expect("the process is stuck");
            assert_eq!(record.state, JobState::Completed);
            assert_eq!(record.attempts, 1, "it was claimed twice");
        }
    }

    /// Two slots, neither more nor less, are shared by the queues; and a job that must run alone
    /// finds all of them free.
    async fn assert_that_accounts_are_whole(&self) {
        sleep(seconds(30)).await;
        assert_eq!(self.gauge.now(), 0);
        self.gauge.take_most();
        let began = self.world.elapsed();
        let runs = self.enqueue((0..10).map(|_| stuck::job(1))).await;
        let runs = [runs, self.enqueue((0..10).map(|_| other::job(1))).await].concat();
        self.finish(&runs).await;
        assert_eq!(self.gauge.take_most(), 2);
        let took = self.world.elapsed() - began;
        assert!(took < Duration::from_millis(10_500), "20 seconds of work took {took:?}");
    }
}

fn with_jobs(process: JobsBuilder, gauge: &Gauge, notes: &Notes) -> JobsBuilder {
    let process = process.state(gauge.clone()).state(notes.clone());
    let process = process.register(stuck::definition()).register(other::definition());
    process.register(suspect::definition())
}

#[tokio::test(start_paused = true)]
async fn a_queue_whose_exchange_is_not_answered_leaves_all_slots_to_the_others() {
    for fault in [Fault::Fail, Fault::TimeOut, Fault::LoseReplies] {
        let scene = Scene::new().await;
        scene.store.exchange_of("stuck", fault);
        let late = scene.enqueue((0..4).map(|_| stuck::job(1))).await;
        // It has asked for both, and has heard that nobody answers.
        sleep(seconds(6)).await;
        let began = scene.world.elapsed();
        let runs = scene.enqueue((0..6).map(|_| other::job(10))).await;
        scene.finish(&runs).await;
        let took = scene.world.elapsed() - began;
        assert!(took < seconds(31), "{fault:?}: 60 seconds of work in two slots took {took:?}");
        assert_eq!(scene.gauge.take_most(), 2, "{fault:?}");
        assert!(scene.notes.all().iter().all(|note| note.starts_with("other")), "{fault:?}");

        scene.store.exchange_of("stuck", Fault::None);
        scene.finish(&late).await;
        scene.assert_that_accounts_are_whole().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_late_answer_brings_runs_at_once_and_is_worked_off_before_more_is_claimed() {
    let scene = Scene::new().await;
    scene.store.exchange_of("stuck", Fault::LoseReplies);
    let late = scene.enqueue((0..2).map(|_| stuck::job(60))).await;
    sleep(seconds(1)).await;
    let long = scene.enqueue([other::job(20), other::job(100)]).await;
    scene.notes.reach(2).await;
    scene.store.exchange_of("stuck", Fault::None);
    scene.notes.reach(4).await;
    assert_eq!(scene.gauge.now(), 4);
    // At 20 s, three run; at 60 s, one: from then on there is a slot again.
    let next = scene.enqueue([other::job(1), stuck::job(1)]).await;
    sleep(seconds(50)).await;
    assert_eq!((scene.gauge.now(), scene.notes.all().len()), (3, 4));
    scene.notes.reach(5).await;
    let at: f64 = scene.notes.all()[4].rsplit(' ').next().unwrap().parse().unwrap();
    assert!((60.0..80.0).contains(&at), "{:?}", scene.notes.all());
    for runs in [late, long, next] {
        scene.finish(&runs).await;
    }
    scene.assert_that_accounts_are_whole().await;
}

#[tokio::test(start_paused = true)]
async fn what_ends_while_the_exchange_is_not_answered_gives_its_slot_to_the_others() {
    let scene = Scene::new().await;
    let late = scene.enqueue([stuck::job(2), stuck::job(4)]).await;
    scene.notes.reach(2).await;
    scene.store.exchange_of("stuck", Fault::Fail);
    let began = scene.world.elapsed();
    let runs = scene.enqueue((0..8).map(|_| other::job(1))).await;
    scene.finish(&runs).await;
    // Two from the second second on, and the others two at a time after the fourth.
    let took = scene.world.elapsed() - began;
    assert!(took < seconds(8), "it took {took:?}");
    scene.store.exchange_of("stuck", Fault::None);
    scene.finish(&late).await;
    scene.assert_that_accounts_are_whole().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_must_run_alone_and_comes_late_is_handed_back_and_runs_alone() {
    let scene = Scene::new().await;
    scene.store.exchange_alone(Fault::LoseReplies);
    let suspects = scene.suspects(&[5]).await;
    sleep(seconds(5)).await;
    // The process has claimed it, and has not heard of it; others have the process meanwhile.
    assert_eq!(scene.jobs.counts("suspects").await.unwrap().active, 1);
    let long = scene.enqueue([other::job(20), other::job(30)]).await;
    scene.notes.reach(3).await;
    scene.store.exchange_alone(Fault::None);
    sleep(seconds(10)).await;
    assert_eq!(scene.jobs.counts("suspects").await.unwrap().waiting, 1, "it is handed back");
    scene.finish(&long).await;
    scene.finish(&suspects).await;
    assert!(!scene.gauge.disturbed.load(Ordering::SeqCst), "it did not run alone");
    assert_eq!(scene.jobs.job(suspects[0].id()).await.unwrap().unwrap().crashes, 1);
    scene.assert_that_accounts_are_whole().await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_late_while_another_queues_job_runs_alone_is_handed_back() {
    let scene = Scene::new().await;
    scene.store.exchange_of("stuck", Fault::LoseReplies);
    let late = scene.enqueue([stuck::job(1), stuck::job(1)]).await;
    sleep(seconds(1)).await;
    assert_eq!(scene.jobs.counts("stuck").await.unwrap().active, 2, "claimed, and not heard of");
    let suspects = scene.suspects(&[30]).await;
    scene.notes.reach(2).await;
    sleep(seconds(5)).await;
    scene.store.exchange_of("stuck", Fault::None);
    scene.finish(&suspects).await;
    scene.finish(&late).await;
    assert!(!scene.gauge.disturbed.load(Ordering::SeqCst), "it did not run alone");
    scene.assert_that_accounts_are_whole().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_to_be_alone_holds_nobody_up_while_its_store_does_not_answer() {
    let scene = Scene::new().await;
    let long = scene.enqueue([other::job(100)]).await;
    let suspects = scene.suspects(&[1]).await;
    // It waits for the process to be its own, and asks every two seconds whether it still must.
    sleep(seconds(3)).await;
    scene.store.exchange_of("suspects", Fault::Fail);
    sleep(seconds(3)).await;
    let began = scene.world.elapsed();
    let runs = scene.enqueue([other::job(1), other::job(1)]).await;
    scene.finish(&runs).await;
    assert!(scene.world.elapsed() - began < seconds(5));
    scene.store.exchange_of("suspects", Fault::None);
    scene.finish(&long).await;
    scene.finish(&suspects).await;
    scene.assert_that_accounts_are_whole().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_alone_stays_alone_while_another_waits_to_be() {
    let scene = Scene::new().await;
    let suspects = scene.suspects(&[30, 30]).await;
    scene.notes.reach(3).await;
    let runs = scene.enqueue((0..4).map(|_| other::job(1))).await;
    scene.finish(&suspects).await;
    scene.finish(&runs).await;
    assert!(!scene.gauge.disturbed.load(Ordering::SeqCst), "one did not run alone");
    scene.assert_that_accounts_are_whole().await;
}
