//! A cluster under load: a master that dies, and slots that move.

use std::collections::HashSet;
use std::time::Duration;

use shiftwork::JobId;
use shiftwork::prelude::*;
use shiftwork_process_tests::jobs::{BRIEF, Whereabouts};
use shiftwork_process_tests::journal::Event;
use shiftwork_test_kit::{Clustered, RedisServer};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep};

use crate::account::{completed, settled};
use crate::enqueuer::enqueue;
use crate::process::shut_down;
use crate::world::{LONG, World, report};

const JOBS: usize = 8000;
const BRIEF_MS: u64 = 20;
const BATCH: usize = 20;
const PACE: Duration = Duration::from_millis(15);
const WORKERS: usize = 3;

/// The queue of [`Whereabouts`].
const QUESTIONS: &str = "questions";

/// How long it may take until the queue of a master that died takes a job again.
const FOLLOWED: Duration = Duration::from_secs(15);

/// How long a job of another queue may take, from enqueueing it to its result. By default a cluster
/// stops all of its nodes while nobody has the slots of one, from when it is held for dead until its
/// replica has them: an election, and no more.
const OTHERS: Duration = Duration::from_secs(4);

/// A world of a cluster, in a namespace whose two queues are on two masters, and its keys of its own
/// on another one than the busy queue's.
async fn world(variables: &[(&str, &str)]) -> (World<Clustered>, String) {
    let cluster = spawn_blocking(Clustered::start).await.unwrap();
    let master = |key: String| cluster.master_of(&key, None).port();
    let namespaces = (0..1000).map(|number| format!("test-{number}"));
    let is_spread = |namespace: &String| {
        let busy = master(format!("{{{namespace}:{BRIEF}}}:jobs"));
        busy != master(format!("{{{namespace}:{QUESTIONS}}}:jobs"))
            && busy != master(format!("{{{namespace}}}:queues"))
    };
    let namespace = namespaces.into_iter().find(is_spread).expect("some namespace is");
    let key = format!("{{{namespace}:{BRIEF}}}:jobs");
    let own = [
        ("JOBS_NAMESPACE", namespace.as_str()),
        ("JOBS_LEASE", "1s"),
        ("JOBS_MAX_CRASHES", "1000"),
        ("JOBS_CONCURRENCY", "50"),
        ("JOBS_CONNECT_TIMEOUT", "1s"),
        ("JOBS_KEEP_COMPLETED", "1h"),
        ("JOBS_KEEP_COMPLETED_COUNT", "100000"),
    ];
    (World::of(cluster, own.into_iter().chain(variables.iter().copied())), key)
}

fn workers(world: &World<Clustered>) -> Vec<crate::process::Process> {
    let queues = format!("{BRIEF},{QUESTIONS}");
    (0..WORKERS).map(|_| world.process("async", [("JOBS_QUEUES", queues.as_str())])).collect()
}

/// Enqueues jobs of the other queue and awaits their results, for eight seconds; answers the longest
/// that one took.
fn ask(web: Jobs) -> JoinHandle<Duration> {
    tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        let until = Instant::now() + Duration::from_secs(8);
        while Instant::now() < until {
            let began = Instant::now();
            // It may fail while nobody has the slots of the one that died.
            while answer(&web).await.is_err() {
                assert!(began.elapsed() < LONG, "the other queue is away");
            }
            longest = longest.max(began.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
        longest
    })
}

async fn answer(web: &Jobs) -> shiftwork::Result<()> {
    let run = web.trigger(Whereabouts.job()).await?;
    run.result(Duration::from_secs(1)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_master_takes_nothing_along_that_a_replica_had_and_other_queues_go_on() {
    let (world, key) = world(&[("JOBS_REDIS_WAIT_REPLICAS", "1")]).await;
    let web = world.web([]).await;
    let workers = workers(&world);
    let asking = ask(web.clone());
    let enqueueing =
        tokio::spawn(enqueue(web.clone(), world.chance(), (JOBS, BRIEF_MS), (BATCH, PACE)));
    world.until_events(Event::Start, "brief", 500).await;

    let master = world.server.master_of(&key, None);
    master.kill();
    let died = Instant::now();
    world.server.until_replaced(&key, master);
    // As a replica, by now: else there would be none that could confirm anything.
    master.restart();
    let enqueued = enqueueing.await.unwrap();
    let longest = asking.await.unwrap();
    settled(&web, BRIEF, LONG).await;
    shut_down(workers).await;

    let ran: HashSet<JobId> =
        world.events(Event::Start, "brief").iter().map(|entry| entry.id).collect();
    let ids: HashSet<JobId> = enqueued.ids.iter().copied().collect();
    let lost = ids.difference(&ran).count();
    let after = enqueued.at.iter().filter(|at| **at > died).min().expect("it goes on");
    let followed = *after - died;
    report(
        "lost master",
        format_args!(
            "{enqueued}; {lost} lost; enqueued again {followed:.1?} after it died, and a job of \
             another queue took {longest:.1?} at most"
        ),
    );
    assert_eq!(lost, 0, "nothing that was acknowledged is lost");
    assert!(ran.is_subset(&ids), "nothing ran that was not enqueued");
    assert!(followed < FOLLOWED, "{followed:?}");
    assert!(longest < OTHERS, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_under_load_loses_nothing_and_no_job_runs_twice() {
    let (world, key) = world(&[]).await;
    let web = world.web([]).await;
    let workers = workers(&world);
    let asking = ask(web.clone());
    let enqueueing =
        tokio::spawn(enqueue(web.clone(), world.chance(), (JOBS, BRIEF_MS), (BATCH, PACE)));
    world.until_events(Event::Start, "brief", 500).await;

    // From one master to the next, and on.
    let masters: Vec<&RedisServer> = world.server.nodes()[..3].iter().collect();
    let first = world.server.master_of(&key, None).port();
    let first = masters.iter().position(|master| master.port() == first).unwrap();
    let mut moves = Vec::new();
    for step in 0..4 {
        let (from, to) = (masters[(first + step) % 3], masters[(first + step + 1) % 3]);
        let began = Instant::now();
        world.server.begin_move(&key, from, to);
        world.server.move_keys(&key, from, to, 2);
        sleep(Duration::from_millis(100)).await;
        world.server.end_move(&key, from, to);
        moves.push(began.elapsed());
        sleep(Duration::from_millis(700)).await;
    }
    let enqueued = enqueueing.await.unwrap();
    let longest = asking.await.unwrap();
    settled(&web, BRIEF, LONG).await;
    shut_down(workers).await;
    let account = completed(&world, &web, BRIEF, &enqueued.ids, |_| false).await;
    report(
        "moving slots",
        format_args!(
            "{enqueued}; {account}; four moves, of {moves:.1?}; a job of another queue took \
             {longest:.1?} at most"
        ),
    );
    assert_eq!(world.events(Event::Start, "brief").len(), JOBS, "{account}");
    assert!(longest < OTHERS, "{longest:?}");
}
