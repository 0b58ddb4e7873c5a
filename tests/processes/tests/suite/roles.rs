//! What a role does, and what it leaves to others.

use std::time::Duration;

use shiftwork::prelude::*;
use shiftwork::{JobState, RunStatus};
use shiftwork_process_tests::jobs::{SLOW, Slow, Told, Whereabouts};
use shiftwork_process_tests::journal::Event;
use shiftwork_test_kit::{Fsync, RedisServer};
use tokio::time::Instant;

use crate::world::{LONG, World, report};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_process_awaits_the_result_of_a_job_that_ran_in_another() {
    let world = World::new([]);
    let web = world.web([]).await;
    let run = web.trigger(Whereabouts.job()).await.unwrap();
    let worker = world.started("async", []).await;
    let RunStatus::Finished(result) = run.result(LONG).await.unwrap() else {
        panic!("the job did not end within {LONG:?}");
    };
    assert!(result.success, "{result:?}");
    let ran_in: u32 = result.data().unwrap().expect("it answers where it ran");
    assert_eq!(ran_in, worker.id());
    assert_ne!(ran_in, std::process::id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_awaited_through_the_death_of_a_worker_and_of_the_server() {
    let server = RedisServer::options().append_only(Fsync::Always).start();
    let world = World::of(server, [("JOBS_LEASE", "1s")]);
    let web = world.web([]).await;
    let mut first = world.started("async", [("JOBS_QUEUES", SLOW)]).await;
    let slow = Slow { ms: 600_000, ms_after_crash: 1500, told_to_stop: Told::Leaves };
    let run = web.trigger(slow.job()).await.unwrap();
    let awaiting = tokio::spawn(async move { run.result(LONG).await });
    world.until_events(Event::Start, "slow", 1).await;
    first.kill();
    let second = world.started("async", [("JOBS_QUEUES", SLOW)]).await;
    world.until_events(Event::Start, "slow", 2).await;
    world.server.kill();
    // The job ends while nobody can be told.
    world.until_events(Event::End, "slow", 1).await;
    world.server.restart();
    let RunStatus::Finished(result) = awaiting.await.unwrap().unwrap() else {
        panic!("the job did not end within {LONG:?}");
    };
    assert!(result.success, "{result:?}");
    assert_eq!(result.data::<u32>().unwrap(), Some(second.id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_end_hands_back_what_it_cannot_finish() {
    let world = World::new([("JOBS_SHUTDOWN_GRACE", "500ms")]);
    let web = world.web([]).await;
    let mut worker = world.started("async", []).await;
    let slow = Slow { ms: 600_000, ms_after_crash: 0, told_to_stop: Told::Leaves };
    let run = web.enqueue(slow).await.unwrap();
    world.until_events(Event::Start, "slow", 1).await;
    worker.terminate();
    let status = worker.end(LONG).await;
    assert!(status.success(), "{status}");
    assert_eq!(world.events(Event::Stop, "slow").len(), 1, "it was told to stop");
    let job = web.job(run.id()).await.unwrap().expect("it is known");
    assert_eq!((job.state, job.attempts, job.crashes), (JobState::Waiting, 0, 0), "{job:?}");
}

/// More than the grace period, the time that handlers have to stop, and that for the last words to
/// the store.
const ENDS_WITHIN: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_end_ends_though_the_server_is_away() {
    let server = RedisServer::options().append_only(Fsync::Always).start();
    let variables = [("JOBS_SHUTDOWN_GRACE", "500ms"), ("JOBS_LEASE", "1s")];
    let world = World::of(server, variables);
    let web = world.web([]).await;
    let mut worker = world.started("worker", [("JOBS_TICK_ENABLED", "false")]).await;
    let slow = Slow { ms: 600_000, ms_after_crash: 10, told_to_stop: Told::Leaves };
    let run = web.enqueue(slow.job().keep_result(hours(1))).await.unwrap();
    world.until_events(Event::Start, "slow", 1).await;
    world.server.kill();
    let asked = Instant::now();
    worker.terminate();
    worker.end(ENDS_WITHIN).await;
    report("ends without its server", format_args!("after {:.1?}", asked.elapsed()));
    world.server.restart();
    // It could tell nobody, so its job comes back by its lease.
    let _other = world.started("async", [("JOBS_QUEUES", SLOW)]).await;
    let RunStatus::Finished(result) = run.result(LONG).await.unwrap() else {
        panic!("the job did not end within {LONG:?}");
    };
    assert!(result.success, "{result:?}");
}
