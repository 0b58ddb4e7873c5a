//! A store that is away, at the start or later, and comes back.

use std::sync::Arc;

use shiftwork::adapter::{AppName, JobTemplate, Origin, Payload, Schedule, Timing};
use shiftwork::{ErrorKind, JobName, JobState, JobsBuilder, QueueName, ScheduleId};
use tokio::time::{sleep, timeout};

use crate::config::SHARED;
use crate::events::record;
use crate::faulty::{Fault, Faulty};
use crate::support::*;
use shiftwork::prelude::*;

#[job]
async fn greet(notes: State<Notes>) {
    notes.add_at("greeted");
}

#[job(every = "1m")]
async fn minutely(notes: State<Notes>) {
    notes.add_at("minute");
}

/// A store that processes share, and misbehaves so.
async fn store(world: &World, fault: Fault) -> Arc<Faulty> {
    let store = Faulty::on(world.store.clone());
    store.shared_by_processes();
    store.everywhere(fault);
    store
}

fn process(world: &World, store: &Arc<Faulty>, vars: &[(&str, &str)]) -> (JobsBuilder, Notes) {
    let notes = Notes::new(world);
    let mut all = vec![("JOBS_PROVIDER", "shared"), ("JOBS_APP", "away")];
    all.extend(vars);
    let process = Jobs::from_vars(all).without_linked_jobs();
    let process = process.provider(SHARED).adapter(store.clone());
    let process = process.clock(world.clock.clone()).seed(7).state(notes.clone());
    (process.register(greet::definition()).register(minutely::definition()), notes)
}

#[tokio::test(start_paused = true)]
async fn a_process_that_only_enqueues_is_told_how_long_it_waited_and_how_to_start_without() {
    let world = World::new().await;
    for (fault, vars, waited) in [
        (Fault::Fail, &[("WORKER_ROLE", "web")][..], "0.0ns"),
        (Fault::TimeOut, &[], "5.0s"),
        // One that breaks its promise is not waited for much longer.
        (Fault::Hang, &[], "5.5s"),
        (Fault::Hang, &[("JOBS_CONNECT_TIMEOUT", "200ms")], "220.0ms"),
        (Fault::Fail, &[("JOBS_ENABLED", "false"), ("WORKER_ROLE", "worker")], "0.0ns"),
    ] {
        let store = store(&world, fault).await;
        let began = world.elapsed();
        let error = process(&world, &store, vars).0.start().await.unwrap_err();
        assert!(world.elapsed() - began < seconds(6), "{error}");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Store, true), "{error}");
        let text = error.to_string();
        for part in [&format!("{waited} were waited"), "JOBS_CONNECT_TIMEOUT", "JOBS_LAZY=true"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        assert_eq!(store.take_calls().into_iter().collect::<Vec<_>>(), [("ping", 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lazy_process_that_only_enqueues_starts_without_asking() {
    let world = World::new().await;
    let store = store(&world, Fault::Hang).await;
    let began = world.elapsed();
    let (by_variable, _) = process(&world, &store, &[("JOBS_LAZY", "true")]);
    let jobs = by_variable.start().await.unwrap();
    let (by_code, _) = process(&world, &store, &[]);
    by_code.lazy().start().await.unwrap();
    assert_eq!(world.elapsed(), began);
    assert!(store.take_calls().is_empty());
    // It is of use as soon as the store is there.
    store.everywhere(Fault::None);
    jobs.enqueue(greet::job()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_asking_again_cannot_help_keeps_every_process_from_starting() {
    let world = World::new().await;
    let store = store(&world, Fault::Deny).await;
    for role in ["web", "worker", "async", "cron"] {
        let error = process(&world, &store, &[("WORKER_ROLE", role)]).0.start().await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Store, false), "{role}");
        assert!(error.to_string().contains("ping: told to deny"), "{error}");
    }
    // So does a store that lets itself be asked and not be changed.
    store.everywhere(Fault::None);
    store.method("schedule", Fault::Deny);
    for role in ["worker", "cron"] {
        let error = process(&world, &store, &[("WORKER_ROLE", role)]).0.start().await.unwrap_err();
        assert!(error.to_string().contains("schedule: told to deny"), "{error}");
    }
    process(&world, &store, &[("WORKER_ROLE", "async")]).0.start().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_with_duties_starts_without_the_store_and_catches_up_by_itself() {
    for fault in [Fault::Fail, Fault::TimeOut] {
        for role in ["worker", "async", "cron"] {
            for lazy in [false, true] {
                starts_without_the_store_and_catches_up(fault, role, lazy).await;
            }
        }
    }
}

async fn starts_without_the_store_and_catches_up(fault: Fault, role: &str, lazy: bool) {
    let world = World::new().await;
    let store = store(&world, fault).await;
    let vars = [("WORKER_ROLE", role), ("JOBS_LAZY", if lazy { "true" } else { "false" })];
    let (process, notes) = process(&world, &store, &vars);
    let jobs = process.start().await.unwrap();
    let health = jobs.health().await;
    assert!(health.to_string().contains("the store has not answered yet"), "{health}");
    let says_why = health.to_string().contains("ping: told to");
    assert_eq!((health.healthy, says_why), (false, !lazy), "{health}");

    sleep(minutes(10)).await;
    let health = jobs.health().await;
    assert!(health.to_string().contains("the store has not answered yet"), "{health}");
    assert!(health.to_string().contains("the store failed the "), "{health}");
    assert!(jobs.enqueue(greet::job()).await.is_err());
    assert!(world.store.scheduled_jobs().await.unwrap().records.is_empty());

    store.everywhere(Fault::None);
    jobs.enqueue(greet::job()).await.unwrap();
    // As long as a failing store is left alone, and as a call takes to fail.
    sleep(seconds(13)).await;
    let health = jobs.health().await;
    assert!(health.healthy, "{role}: {health}");
    assert_eq!(notes.all().len(), usize::from(role != "cron"), "{role}: {:?}", notes.all());
    assert_eq!(jobs.is_scheduled("minutely").await.unwrap(), role != "async", "{role}");
    sleep(minutes(3)).await;
    let schedules = jobs.scheduled_jobs().await.unwrap();
    let occurrences: u64 = schedules.iter().map(|s| s.fired + s.overlapped).sum();
    assert_eq!(occurrences, if role == "async" { 0 } else { 3 }, "{role}");
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_the_store_answers_and_will_not_list_its_schedules_they_are_reconciled_later() {
    let world = World::new().await;
    for fault in [Fault::Fail, Fault::Hang] {
        let store = store(&world, Fault::None).await;
        store.method("scheduled_jobs", fault);
        let (process, _) = process(&world, &store, &[("WORKER_ROLE", "cron")]);
        let jobs = process.start().await.unwrap();
        assert!(!jobs.health().await.healthy);
        assert!(!jobs.is_scheduled("minutely").await.unwrap());
        store.method("scheduled_jobs", Fault::None);
        sleep(seconds(13)).await;
        assert!(jobs.is_scheduled("minutely").await.unwrap());
        assert!(jobs.health().await.healthy, "{}", jobs.health().await);
        jobs.cancel("minutely").await.unwrap();
        jobs.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_fires_before_the_schedules_of_the_code_are_reconciled() {
    let world = World::new().await;
    // What an earlier release has left behind: due at once, and declared no more.
    let (id, name) = (ScheduleId::new("retired").unwrap(), JobName::new("greet").unwrap());
    let template = JobTemplate::new(name, Payload::none());
    let timing = Timing::Every { period_ms: 1000 };
    let mut retired = Schedule::new(id, QueueName::new("default").unwrap(), timing, template);
    retired.origin = Origin::Code { app: AppName::new("away").unwrap() };
    world.store.schedule(retired, Some(START)).await.unwrap();

    let store = store(&world, Fault::Fail).await;
    let (process, notes) = process(&world, &store, &[("WORKER_ROLE", "worker")]);
    let jobs = process.start().await.unwrap();
    sleep(seconds(30)).await;
    // The schedules can be read before they can be changed.
    store.method("cancel", Fault::Fail);
    store.everywhere(Fault::None);
    sleep(seconds(30)).await;
    assert!(!jobs.health().await.healthy);
    assert!(jobs.is_scheduled("retired").await.unwrap(), "it cannot be removed yet");
    store.method("cancel", Fault::None);
    sleep(minutes(2)).await;
    let schedules = jobs.scheduled_jobs().await.unwrap();
    let [minutely] = &schedules[..] else { panic!("{schedules:?}") };
    assert_eq!(minutely.schedule.id, *"minutely");
    assert!(minutely.fired > 0);
    assert!(notes.all().iter().all(|note| note.starts_with("minute")), "{:?}", notes.all());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_and_comes_back_is_told_with_growing_silence() {
    #[job(queue = "silence-grows", timeout = "1h")]
    async fn long() {
        sleep(minutes(5)).await;
    }
    record();
    let world = World::new().await;
    let store = store(&world, Fault::None).await;
    let (process, _) = process(&world, &store, &[("WORKER_ROLE", "async")]);
    let jobs = process.register(long::definition()).start().await.unwrap();
    let run = jobs.enqueue(long::job()).await.unwrap();
    sleep(seconds(1)).await;
    assert!(jobs.health().await.healthy);
    store.everywhere(Fault::Fail);
    sleep(minutes(4)).await;
    let health = jobs.health().await;
    for who in ["sweeper of queue silence-grows", "heart"] {
        assert!(health.to_string().contains(&format!("the store failed the {who}")), "{health}");
    }
    store.everywhere(Fault::None);
    // The lease was lost meanwhile, and the job runs again.
    assert_eq!(finished(&jobs, run.id()).await.state, JobState::Completed);
    assert!(jobs.health().await.healthy, "{}", jobs.health().await);

    let who = "sweeper of queue silence-grows";
    let told = record().with([("who", who), ("level", "WARN")]);
    let counts: Vec<u32> = told.iter().map(|event| event["in_a_row"].parse().unwrap()).collect();
    assert!(counts.len() >= 6, "{counts:?}");
    let powers: Vec<u32> = (0..counts.len()).map(|power| 1 << power).collect();
    assert_eq!(counts, powers);
    let again = record().with([("who", who), ("message", "the store answers again")]);
    assert_eq!(again.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_heart_that_has_nothing_left_to_tell_is_no_reason_for_concern() {
    let world = World::new().await;
    let store = store(&world, Fault::None).await;
    #[job(timeout = "1h")]
    async fn short() {
        // Shorter than the lease, which nobody renews.
        sleep(seconds(6)).await;
    }
    let (process, _) = process(&world, &store, &[("WORKER_ROLE", "async")]);
    let jobs = process.register(short::definition()).start().await.unwrap();
    let run = jobs.enqueue(short::job()).await.unwrap();
    sleep(seconds(1)).await;
    store.beats(Fault::Fail);
    sleep(seconds(4)).await;
    assert!(jobs.health().await.to_string().contains("the store failed the heart"));
    finished(&jobs, run.id()).await;
    sleep(seconds(5)).await;
    assert!(jobs.health().await.healthy, "{}", jobs.health().await);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_has_nothing_to_ask_the_store_is_healthy_without_an_answer() {
    let world = World::new().await;
    let store = store(&world, Fault::Fail).await;
    let vars = [("WORKER_ROLE", "async"), ("JOBS_LAZY", "true"), ("JOBS_APP", "away")];
    let process = Jobs::from_vars(vars).without_linked_jobs().adapter(store.clone());
    let jobs = process.clock(world.clock.clone()).start().await.unwrap();
    assert!(jobs.health().await.healthy, "{}", jobs.health().await);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_of_a_process_that_never_reached_its_store_ends() {
    let world = World::new().await;
    for fault in [Fault::Fail, Fault::TimeOut, Fault::Hang] {
        let store = store(&world, fault).await;
        let (process, _) = process(&world, &store, &[("WORKER_ROLE", "worker")]);
        let jobs = process.start().await.unwrap();
        sleep(seconds(20)).await;
        let ended = timeout(minutes(2), jobs.shutdown()).await;
        ended.expect("the shutdown is stuck").unwrap();
    }
    // So does one that begins at once.
    let store = store(&world, Fault::TimeOut).await;
    let vars = [("WORKER_ROLE", "worker"), ("JOBS_LAZY", "true")];
    let jobs = process(&world, &store, &vars).0.start().await.unwrap();
    timeout(minutes(2), jobs.shutdown()).await.expect("the shutdown is stuck").unwrap();
}
