//! All of it at once: workers that die and stand still, a server that dies, networks that fail.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shiftwork_process_tests::jobs::BRIEF;
use shiftwork_test_kit::{Fsync, Proxy, RedisServer};
use tokio::time::{Instant, sleep};

use crate::account::{completed, settled};
use crate::enqueuer::enqueue;
use crate::network::{EVERY_FAULT, Faults, fail};
use crate::process::shut_down;
use crate::world::{World, report};

const JOBS: usize = 40_000;
const BRIEF_MS: u64 = 60;
const BATCH: usize = 200;
const PACE: Duration = Duration::from_millis(150);
const WORKERS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute or two: cargo test -p shiftwork-process-tests -- --ignored"]
async fn no_job_is_lost_and_each_is_settled_once_while_everything_fails_at_once() {
    let server = RedisServer::options().append_only(Fsync::Always).start();
    let world = World::of(
        server,
        [
            ("JOBS_LEASE", "1s"),
            ("JOBS_MAX_CRASHES", "1000"),
            ("JOBS_CONCURRENCY", "50"),
            ("JOBS_CONNECT_TIMEOUT", "1s"),
            ("JOBS_KEEP_COMPLETED", "1h"),
            ("JOBS_KEEP_COMPLETED_COUNT", "100000"),
        ],
    );
    let mut chance = world.chance();
    let proxies: Vec<_> =
        (0..=WORKERS).map(|_| Arc::new(Proxy::start(world.server.address()))).collect();
    let urls: Vec<_> = proxies.iter().map(|proxy| proxy.url()).collect();
    let start = |place: usize| {
        world.process("async", [("JOBS_QUEUES", BRIEF), ("JOBS_REDIS_URL", &urls[place])])
    };
    let mut workers: Vec<_> = (0..WORKERS).map(start).collect();
    let caller = [("JOBS_REDIS_URL", urls[WORKERS].as_str()), ("JOBS_CONNECT_TIMEOUT", "300ms")];
    let caller = world.web(caller).await;
    let web = world.web([]).await;

    let began = Instant::now();
    let faults = Arc::new(Faults::default());
    let failing: Vec<_> = proxies
        .iter()
        .map(|proxy| tokio::spawn(fail(proxy.clone(), EVERY_FAULT, chance.fork(), faults.clone())))
        .collect();
    let enqueueing = tokio::spawn(enqueue(caller, chance.fork(), (JOBS, BRIEF_MS), (BATCH, PACE)));
    let (mut killed, mut ended, mut stops, mut restarts) = (HashSet::new(), Vec::new(), 0, 0);
    while !enqueueing.is_finished() {
        sleep(Duration::from_millis(chance.u64(100..1000))).await;
        let place = chance.usize(..WORKERS);
        match chance.u8(..10) {
            0..5 => {
                workers[place].kill();
                killed.insert(workers[place].name.clone());
                ended.push(std::mem::replace(&mut workers[place], start(place)));
            }
            5..8 => {
                workers[place].stop();
                sleep(Duration::from_millis(chance.u64(100..4500))).await;
                workers[place].resume();
                stops += 1;
            }
            _ => {
                world.server.kill();
                sleep(Duration::from_millis(chance.u64(50..2500))).await;
                world.server.restart();
                restarts += 1;
            }
        }
    }
    let enqueued = enqueueing.await.unwrap();
    faults.over.store(true, Ordering::SeqCst);
    for failing in failing {
        failing.await.unwrap();
    }
    let counts = settled(&web, BRIEF, Duration::from_secs(120)).await;
    let took = began.elapsed();
    workers.extend(ended);
    shut_down(workers).await;

    assert_eq!((counts.completed, counts.dead, counts.cancelled), (JOBS as u64, 0, 0));
    let account =
        completed(&world, &web, BRIEF, &enqueued.ids, |process| killed.contains(process)).await;
    report(
        "chaos",
        format_args!(
            "{enqueued}; {account}; {} workers killed, {stops} stopped, {restarts} restarts of the \
             server, {faults} in {took:.1?}",
            killed.len()
        ),
    );
}
