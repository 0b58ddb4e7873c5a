//! Workers that end at random, again and again, while there is work: killed, or asked to.

use std::collections::HashSet;
use std::time::Duration;

use shiftwork::{JobId, JobState, Jobs};
use shiftwork_process_tests::jobs::{BRIEF, Brief};
use shiftwork_process_tests::journal::Event;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::account::{completed, is_settled, records, settled};
use crate::process::{Process, shut_down};
use crate::world::{LONG, World, report};

const JOBS: usize = 20_000;
const WORKERS: usize = 4;

/// How much of it is in hand.
struct Load {
    /// How many jobs a process runs at once,
    concurrency: &'static str,
    /// and how long each takes: there are always some in hand.
    ms: u64,
}

const SOME: Load = Load { concurrency: "50", ms: 60 };

/// So many at once that each process has two workers of the queue.
const MANY: Load = Load { concurrency: "400", ms: 500 };

/// How often a worker ends, and how many do at most.
const PACE: Duration = Duration::from_millis(300);
const MOST_ENDED: usize = 100;

const VARIABLES: [(&str, &str); 4] = [
    ("JOBS_LEASE", "1s"),
    // A job that is in hand of many killed workers is no poison.
    ("JOBS_MAX_CRASHES", "1000"),
    ("JOBS_KEEP_COMPLETED", "1h"),
    ("JOBS_KEEP_COMPLETED_COUNT", "100000"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_and_each_is_settled_once_while_workers_are_killed_at_random() {
    killed(SOME).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_is_lost_or_settled_twice_where_a_killed_process_had_two_workers_of_the_queue() {
    killed(MANY).await;
}

async fn killed(load: Load) {
    let world = World::new(VARIABLES);
    let web = world.web([]).await;
    let mut killed = HashSet::new();
    let concurrency = load.concurrency;
    let (ids, workers, took) = work(&world, &web, load, MOST_ENDED, |worker| {
        worker.kill();
        killed.insert(worker.name.clone());
    })
    .await;
    shut_down(workers).await;
    let counts = web.counts(BRIEF).await.unwrap();
    assert_eq!((counts.completed, counts.dead, counts.cancelled), (JOBS as u64, 0, 0));
    let account = completed(&world, &web, BRIEF, &ids, |process| killed.contains(process)).await;
    let count = killed.len();
    report(
        "killed",
        format_args!("{account}; {count} workers of {concurrency} killed in {took:.1?}"),
    );
    assert!(count >= 10, "only {count} workers were killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_runs_once_while_workers_are_asked_to_end_at_random() {
    let world = World::new(VARIABLES);
    let web = world.web([]).await;
    let mut asked = 0;
    let (ids, workers, took) = work(&world, &web, SOME, MOST_ENDED, |worker| {
        worker.terminate();
        asked += 1;
    })
    .await;
    shut_down(workers).await;
    let account = completed(&world, &web, BRIEF, &ids, |_| false).await;
    report("asked to end", format_args!("{account}; {asked} workers in {took:.1?}"));
    assert_eq!(world.events(Event::Start, "brief").len(), JOBS, "{account}");
    assert!(asked >= 10, "only {asked} workers were asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_were_in_hand_of_killed_workers_too_often_run_alone_and_hold_up_no_others() {
    let variables = VARIABLES.into_iter().filter(|(name, _)| *name != "JOBS_MAX_CRASHES");
    let world = World::new(variables);
    let web = world.web([]).await;
    let mut killed = HashSet::new();
    let (ids, workers, took) = work(&world, &web, SOME, 24, |worker| {
        worker.kill();
        killed.insert(worker.name.clone());
    })
    .await;
    shut_down(workers).await;
    let records = records(&web, BRIEF).await;
    assert_eq!(records.len(), ids.len());
    let mut by_crashes = [0; 4];
    for record in records.values() {
        by_crashes[record.crashes as usize] += 1;
        // The third time, it was alone.
        let expected = if record.crashes < 3 { JobState::Completed } else { JobState::Dead };
        assert_eq!(record.state, expected, "{record:?}");
    }
    report("killed, three crashes", format_args!("{by_crashes:?} by crashes; in {took:.1?}"));
}

/// Lets workers end and others take their places, so many at most, until all jobs are done: their
/// ids, all workers, and how long it took.
async fn work(
    world: &World,
    web: &Jobs,
    Load { concurrency, ms }: Load,
    most: usize,
    mut end: impl FnMut(&mut Process),
) -> (Vec<JobId>, Vec<Process>, Duration) {
    let mut chance = world.chance();
    let variables = [("JOBS_QUEUES", BRIEF), ("JOBS_CONCURRENCY", concurrency)];
    let start = || world.process("async", variables);
    let mut workers: Vec<_> = (0..WORKERS).map(|_| start()).collect();
    let mut ended = Vec::new();
    let began = Instant::now();
    let enqueueing = tokio::spawn({
        let web = web.clone();
        async move {
            let mut ids = Vec::new();
            for _ in 0..JOBS / 500 {
                let batch = (0..500).map(|_| Brief { ms });
                let runs = web.enqueue_many(batch).await.unwrap();
                ids.extend(runs.iter().map(|run| run.id()));
            }
            ids
        }
    });
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while ended.len() < most {
        pace.tick().await;
        if enqueueing.is_finished() && is_settled(&web.counts(BRIEF).await.unwrap()) {
            break;
        }
        let place = chance.usize(..WORKERS);
        // One that could not even start would answer to nothing but to be killed.
        workers[place].started().await;
        end(&mut workers[place]);
        ended.push(std::mem::replace(&mut workers[place], start()));
    }
    let ids = enqueueing.await.unwrap();
    settled(web, BRIEF, LONG).await;
    workers.extend(ended);
    (ids, workers, began.elapsed())
}
