//! Where wake-ups may be lost, polls stand behind them: seldom enough to cost little, and often
//! enough for what is promised.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::faulty::{Fault, Faulty};
use crate::support::*;
use shiftwork::prelude::*;

#[job(queue = "one")]
async fn first(notes: State<Notes>) {
    notes.add_at("ran");
}

#[job(queue = "two", cron = "0 0 1 1 *")]
async fn second() {}

#[job(queue = "three", every = "24h")]
async fn third() {}

#[job(queue = "four")]
async fn fourth() {}

#[job(queue = "five")]
async fn fifth() {}

/// A process on five queues whose store announces nothing.
async fn idle() -> (World, Notes, Arc<Faulty>, Jobs) {
    let world = World::new().await;
    let notes = Notes::new(&world);
    let store = Faulty::on(world.store.clone());
    store.loses_wakeups();
    let process = world.process_on(store.clone(), []).state(notes.clone());
    let all = [first::definition(), second::definition(), third::definition()];
    let all = all.into_iter().chain([fourth::definition(), fifth::definition()]);
    let jobs = all.fold(process, |process, job| process.register(job)).start().await.unwrap();
    sleep(minutes(1)).await;
    (world, notes, store, jobs)
}

#[tokio::test(start_paused = true)]
async fn an_idle_process_on_five_queues_asks_its_store_less_than_once_a_second() {
    let (_world, _notes, store, jobs) = idle().await;
    store.take_calls();
    sleep(minutes(10)).await;
    let mut calls = store.take_calls();
    // A wait is this process's own: it asks the store for nothing.
    calls.remove("wait");
    assert_eq!(calls.keys().copied().collect::<Vec<_>>(), ["due", "sweep"]);
    // Every 9 s to 10 s for each of five queues; every 30 s.
    assert!((300..=335).contains(&calls["sweep"]), "{calls:?}");
    assert!(calls["due"] <= 21, "{calls:?}");
    assert!(jobs.health().await.healthy);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_announces_runs_within_a_poll() {
    let (world, notes, _store, jobs) = idle().await;
    for round in 1..=20 {
        sleep(Duration::from_millis(730)).await;
        let began = world.elapsed();
        jobs.enqueue(first::job()).await.unwrap();
        notes.reach(round).await;
        assert!(world.elapsed() - began <= seconds(10), "{:?}", world.elapsed() - began);
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_nobody_announces_fires_within_half_a_minute() {
    let (world, notes, _store, _jobs) = idle().await;
    let store = Faulty::on(world.store.clone());
    store.shared_by_processes();
    let web = world.process_on(store, [("JOBS_ENABLED", "false")]).register(first::definition());
    let web = web.start().await.unwrap();
    let began = world.elapsed();
    web.schedule(NewSchedule::every("often", seconds(1), first::job())).await.unwrap();
    notes.reach(1).await;
    assert!(world.elapsed() - began <= seconds(40), "{:?}", world.elapsed() - began);
}

#[tokio::test(start_paused = true)]
async fn where_every_wake_up_is_lost_the_jobs_of_a_dead_worker_run_again_within_twelve_seconds() {
    #[job(timeout = "1h")]
    async fn endless(notes: State<Notes>, ctx: JobContext) {
        notes.add(format!("crashes {}", ctx.crashes()));
        if ctx.crashes() == 0 {
            std::future::pending::<()>().await;
        }
    }
    // It dies at another moment of its life, and of the other's poll, each time.
    for step in 0..16 {
        let world = World::new().await;
        let notes = Notes::new(&world);
        let start = async |store: Arc<Faulty>| {
            store.loses_wakeups();
            let process = world.process_on(store, []).state(notes.clone());
            process.register(endless::definition()).start().await.unwrap()
        };
        let dying_store = Faulty::on(world.store.clone());
        let dying = start(dying_store.clone()).await;
        let run = dying.enqueue(endless::job()).await.unwrap();
        notes.reach(1).await;
        let survivor = start(Faulty::on(world.store.clone())).await;
        sleep(Duration::from_millis(20_000 + 617 * step)).await;
        dying_store.everywhere(Fault::Hang);
        let died = world.elapsed();
        assert_eq!(finished(&survivor, run.id()).await.crashes, 1);
        let took = world.elapsed() - died;
        assert!(took <= Duration::from_millis(12_200), "it took {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_nobody_announces_is_found_within_a_poll_though_others_fire_all_the_time() {
    #[job(queue = "one", every = "1s")]
    async fn each_second() {}
    #[job]
    async fn quiet(notes: State<Notes>) {
        notes.add_at("ran");
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let store = Faulty::on(world.store.clone());
    store.loses_wakeups();
    let process = world.process_on(store, []).state(notes.clone());
    let process = process.register(each_second::definition()).register(quiet::definition());
    let jobs = process.start().await.unwrap();
    sleep(seconds(100)).await;
    jobs.schedule(NewSchedule::every("quiet", seconds(1), quiet::job())).await.unwrap();
    let ran = notes.reach(1).await;
    assert!(world.elapsed() <= seconds(131), "{ran:?}");
}
