//! A server that is killed and started again, while there is work.

use std::time::Duration;

use shiftwork_process_tests::jobs::{BRIEF, SLOW, Slow, Told};
use shiftwork_process_tests::journal::Event;
use shiftwork_test_kit::{Fsync, RedisServer};
use tokio::time::{Instant, sleep};

use crate::account::{completed, settled};
use crate::enqueuer::enqueue;
use crate::process::shut_down;
use crate::world::{LONG, World, report};

const JOBS: usize = 20_000;
const BRIEF_MS: u64 = 60;

/// Batches, and how often one is enqueued: for as long as the server is killed.
const BATCH: usize = 250;
const PACE: Duration = Duration::from_millis(100);

/// How long the server is up, and down; and how often at least.
const UP_MS: std::ops::Range<u64> = 800..2500;
const DOWN_MS: std::ops::Range<u64> = 100..800;
const RESTARTS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_job_is_lost_while_the_server_is_killed_and_restarted() {
    let server = RedisServer::options().append_only(Fsync::Always).start();
    let world = World::of(
        server,
        [
            ("JOBS_LEASE", "1s"),
            ("JOBS_MAX_CRASHES", "1000"),
            ("JOBS_CONCURRENCY", "50"),
            ("JOBS_KEEP_COMPLETED", "1h"),
            ("JOBS_KEEP_COMPLETED_COUNT", "100000"),
        ],
    );
    let mut chance = world.chance();
    // Less than the server is away: so some enqueues fail.
    let web = world.web([("JOBS_CONNECT_TIMEOUT", "300ms")]).await;
    let workers: Vec<_> =
        (0..4).map(|_| world.process("async", [("JOBS_QUEUES", BRIEF)])).collect();
    let began = Instant::now();
    let enqueueing =
        tokio::spawn(enqueue(web.clone(), chance.fork(), (JOBS, BRIEF_MS), (BATCH, PACE)));
    let mut restarts = 0;
    while !enqueueing.is_finished() {
        sleep(Duration::from_millis(chance.u64(UP_MS))).await;
        world.server.kill();
        sleep(Duration::from_millis(chance.u64(DOWN_MS))).await;
        world.server.restart();
        restarts += 1;
    }
    let enqueued = enqueueing.await.unwrap();
    let counts = settled(&web, BRIEF, LONG).await;
    let took = began.elapsed();
    shut_down(workers).await;

    assert_eq!((counts.completed, counts.dead, counts.cancelled), (JOBS as u64, 0, 0));
    let account = completed(&world, &web, BRIEF, &enqueued.ids, |_| false).await;
    let figures = format_args!("{enqueued}; {account}; {restarts} restarts in {took:.1?}");
    report("restarts", figures);
    assert!(restarts >= RESTARTS, "only {restarts} restarts");
    let failures = enqueued.without_effect + enqueued.unknown;
    assert!(failures > 0, "no enqueue met the server while it was away");
}

/// The server is away for so long: the workers' pauses between two tries have grown long by then,
/// much longer than what is left of a lease.
const AWAY: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_end_while_the_server_is_away_are_settled_and_do_not_run_again() {
    let world = World::of(
        RedisServer::options().append_only(Fsync::Always).start(),
        [
            ("JOBS_LEASE", "1s"),
            ("JOBS_CONCURRENCY", "10"),
            ("JOBS_CONNECT_TIMEOUT", "200ms"),
            ("JOBS_KEEP_COMPLETED", "1h"),
        ],
    );
    let web = world.web([]).await;
    let queues = ("JOBS_QUEUES", SLOW);
    let worker = world.started("async", [queues]).await;
    let slow = Slow { ms: 1500, ms_after_crash: 0, told_to_stop: Told::Leaves };
    let runs = web.enqueue_many(vec![slow; 10]).await.unwrap();
    let ids: Vec<_> = runs.iter().map(|run| run.id()).collect();
    world.until_events(Event::Start, "slow", ids.len()).await;
    // Who takes back what nobody seems to hold.
    let _other = world.started("async", [queues]).await;
    world.server.kill();
    world.until_events(Event::End, "slow", ids.len()).await;
    sleep(AWAY).await;
    world.server.restart();
    let counts = settled(&web, SLOW, LONG).await;

    assert_eq!(counts.completed, ids.len() as u64, "{counts:?}");
    let account = completed(&world, &web, SLOW, &ids, |_| false).await;
    let starts = world.events(Event::Start, "slow");
    assert!(
        starts.len() == ids.len() && !worker.log().contains("lost the lease"),
        "{account}: {starts:#?}"
    );
}
