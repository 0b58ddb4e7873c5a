//! Workers that are killed at random, again and again, while there is work.

use std::collections::HashSet;
use std::time::Duration;

use shiftwork_process_tests::jobs::{BRIEF, Brief};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::account::{completed, is_settled, settled};
use crate::process::shut_down;
use crate::world::{LONG, World, report};

const JOBS: usize = 20_000;
const WORKERS: usize = 4;

/// Each job runs so long: there are always some in hand.
const BRIEF_MS: u64 = 60;

/// How often a worker is killed, and how many are at most.
const PACE: Duration = Duration::from_millis(300);
const MOST_KILLED: usize = 100;

const VARIABLES: [(&str, &str); 5] = [
    ("JOBS_LEASE", "1s"),
    // A job that is in hand of many killed workers is no poison.
    ("JOBS_MAX_CRASHES", "1000"),
    ("JOBS_CONCURRENCY", "50"),
    ("JOBS_KEEP_COMPLETED", "1h"),
    ("JOBS_KEEP_COMPLETED_COUNT", "100000"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_and_each_is_settled_once_while_workers_are_killed_at_random() {
    let world = World::new(VARIABLES);
    let mut chance = world.chance();
    let web = world.web([]).await;
    let start = || world.process("async", [("JOBS_QUEUES", BRIEF)]);
    let mut workers: Vec<_> = (0..WORKERS).map(|_| start()).collect();
    let began = Instant::now();

    let enqueueing = tokio::spawn({
        let web = web.clone();
        async move {
            let mut ids = Vec::new();
            for _ in 0..JOBS / 500 {
                let batch = (0..500).map(|_| Brief { ms: BRIEF_MS });
                let runs = web.enqueue_many(batch).await.unwrap();
                ids.extend(runs.iter().map(|run| run.id()));
            }
            ids
        }
    });
    let mut killed = HashSet::new();
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while killed.len() < MOST_KILLED {
        pace.tick().await;
        if enqueueing.is_finished() && is_settled(&web.counts(BRIEF).await.unwrap()) {
            break;
        }
        let victim = &mut workers[chance.usize(..WORKERS)];
        victim.kill();
        killed.insert(std::mem::replace(victim, start()).name.clone());
    }
    let ids = enqueueing.await.unwrap();
    let counts = settled(&web, BRIEF, LONG).await;
    let took = began.elapsed();
    shut_down(workers).await;

    assert_eq!((counts.completed, counts.dead, counts.cancelled), (JOBS as u64, 0, 0));
    let account = completed(&world, &web, BRIEF, &ids, |process| killed.contains(process)).await;
    report("killed", format_args!("{account}; {} workers killed in {took:.1?}", killed.len()));
    assert!(killed.len() >= 10, "only {} workers were killed", killed.len());
}
