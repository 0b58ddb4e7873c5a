//! Workers that stand still for longer than their leases, and go on as if nothing had been.

use std::time::Duration;

use shiftwork::prelude::*;
use shiftwork::{JobId, JobRecord};
use shiftwork_process_tests::jobs::{BRIEF, Brief, SLOW, Slow, Told};
use shiftwork_process_tests::journal::Event;
use tokio::time::{Instant, sleep};

use crate::account::{completed, is_settled, records, settled};
use crate::process::shut_down;
use crate::world::{LONG, World, report};

const VARIABLES: [(&str, &str); 5] = [
    ("JOBS_LEASE", "1s"),
    ("JOBS_MAX_CRASHES", "1000"),
    ("JOBS_CONCURRENCY", "50"),
    ("JOBS_KEEP_COMPLETED", "1h"),
    ("JOBS_KEEP_COMPLETED_COUNT", "100000"),
];

const JOBS: usize = 20_000;

/// Each job runs so long: the workers are busy for longer than all stops last.
const BRIEF_MS: u64 = 100;

/// How often a worker is stopped at most, and for how long: shorter than a lease, and up to longer than it
/// takes to recover its jobs.
const STOPS: usize = 4;
const STOP_MS: std::ops::Range<u64> = 500..5500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stood_still_stops_what_it_lost_and_goes_on_anew() {
    let world = World::new(VARIABLES);
    let web = world.web([]).await;
    let victim = world.started("async", [("JOBS_QUEUES", SLOW)]).await;
    // Those run when the victim wakes up, and these have come to their end by then.
    let long = enqueue(&web, 600_000).await;
    let short = enqueue(&web, 1500).await;
    let in_hand = long.len() + short.len();
    world.until_events(Event::Start, "slow", in_hand).await;

    victim.stop();
    let mut other = world.started("async", [("JOBS_QUEUES", SLOW)]).await;
    let counts = settled(&web, SLOW, LONG).await;
    assert_eq!(counts.completed, in_hand as u64, "{counts:?}");
    victim.resume();
    victim.logs("lost the lease", LONG).await;
    world.until_events(Event::Stop, "slow", long.len()).await;

    other.terminate();
    assert!(other.end(LONG).await.success());
    let fresh = enqueue(&web, 10).await;
    settled(&web, SLOW, LONG).await;

    let ids = [&long[..], &short, &fresh].concat();
    let account = completed(&world, &web, SLOW, &ids, |_| false).await;
    let records = records(&web, SLOW).await;
    for id in long.iter().chain(&short) {
        let record = &records[id];
        assert_eq!((record.crashes, ran_in(record)), (1, other.id()), "{record:?}");
    }
    for id in &fresh {
        let record = &records[id];
        assert_eq!((record.crashes, ran_in(record)), (0, victim.id()), "{record:?}");
    }
    let stops = world.events(Event::Stop, "slow");
    for id in &long {
        let of_job: Vec<_> = stops.iter().filter(|stop| stop.id == *id).collect();
        assert!(matches!(of_job[..], [stop] if stop.process == victim.name), "{id}: {of_job:?}");
    }
    report("stood still", account);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_and_each_is_settled_once_while_workers_stand_still_at_random() {
    let world = World::new(VARIABLES);
    let mut chance = world.chance();
    let web = world.web([]).await;
    let workers: Vec<_> =
        (0..4).map(|_| world.process("async", [("JOBS_QUEUES", BRIEF)])).collect();
    let began = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..JOBS / 1000 {
        let batch = (0..1000).map(|_| Brief { ms: BRIEF_MS });
        let runs = web.enqueue_many(batch).await.unwrap();
        ids.extend(runs.iter().map(|run| run.id()));
    }
    let mut stops = 0;
    while stops < STOPS && !is_settled(&web.counts(BRIEF).await.unwrap()) {
        let victim = &workers[chance.usize(..workers.len())];
        victim.stop();
        sleep(Duration::from_millis(chance.u64(STOP_MS))).await;
        victim.resume();
        stops += 1;
    }
    let counts = settled(&web, BRIEF, LONG).await;
    let took = began.elapsed();
    shut_down(workers).await;

    assert_eq!((counts.completed, counts.dead, counts.cancelled), (JOBS as u64, 0, 0));
    let account = completed(&world, &web, BRIEF, &ids, |_| false).await;
    report("stood still at random", format_args!("{account}; {stops} stops in {took:.1?}"));
    assert!(stops >= 2, "the jobs were done too soon: after {stops} stops");
}

async fn enqueue(web: &Jobs, ms: u64) -> Vec<JobId> {
    let job = Slow { ms, ms_after_crash: 10, told_to_stop: Told::Insists };
    let runs = web.enqueue_many(std::iter::repeat_n(job, 20)).await.unwrap();
    runs.iter().map(|run| run.id()).collect()
}

/// The process whose settlement the store took.
fn ran_in(record: &JobRecord) -> u32 {
    let data = record.last_attempt.as_ref().and_then(|report| report.data.as_ref());
    let text = std::str::from_utf8(data.expect("each answers where it ran").as_bytes());
    text.unwrap().parse().unwrap()
}
