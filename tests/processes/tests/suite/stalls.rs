//! Leases that lapse through no fault of their worker's.

use std::time::Duration;

use shiftwork_process_tests::jobs::{HOGS, Hog, SLOW, Slow, Told};
use shiftwork_process_tests::journal::Event;
use tokio::time::sleep;

use crate::account::{completed, records, settled};
use crate::world::{LONG, World, report};

const VARIABLES: [(&str, &str); 3] =
    [("JOBS_LEASE", "1s"), ("JOBS_CONCURRENCY", "10"), ("JOBS_KEEP_COMPLETED", "1h")];

/// The server stands still for so long, so often: longer than a lease and its grace.
const STALL: Duration = Duration::from_millis(3500);
const STALLS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stood_still_for_longer_than_a_lease_takes_no_job_from_its_worker() {
    let world = World::new(VARIABLES);
    let web = world.web([]).await;
    let workers = [(); 2].map(|()| world.process("async", [("JOBS_QUEUES", SLOW)]));
    let slow = Slow { ms: 10_000, ms_after_crash: 10, told_to_stop: Told::Leaves };
    let runs = web.enqueue_many(vec![slow; 20]).await.unwrap();
    let ids: Vec<_> = runs.iter().map(|run| run.id()).collect();
    world.until_events(Event::Start, "slow", ids.len()).await;
    for _ in 0..STALLS {
        world.server.stall();
        sleep(STALL).await;
        world.server.resume();
        // Long enough for a suspicion to become certain, if nobody gave a sign of life.
        sleep(Duration::from_millis(2500)).await;
    }
    settled(&web, SLOW, LONG).await;
    let account = completed(&world, &web, SLOW, &ids, |_| false).await;
    assert!(records(&web, SLOW).await.values().all(|record| record.crashes == 0), "{account}");
    for worker in &workers {
        assert!(!worker.log().contains("lost the lease"), "{}", worker.log());
    }
    report("stalls", account);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_block_every_thread_for_longer_than_a_lease_keep_it() {
    let world = World::new(VARIABLES);
    let web = world.web([]).await;
    let hog = world.started("async", [("JOBS_QUEUES", HOGS)]).await;
    // The program has two threads, and each handler blocks one for this long.
    let runs = web.enqueue_many(vec![Hog { ms: 5000 }; 2]).await.unwrap();
    let ids: Vec<_> = runs.iter().map(|run| run.id()).collect();
    world.until_events(Event::Start, "hog", ids.len()).await;
    // Who would take the jobs back.
    let other = world.started("async", [("JOBS_QUEUES", HOGS)]).await;
    settled(&web, HOGS, LONG).await;
    completed(&world, &web, HOGS, &ids, |_| false).await;
    let starts = world.events(Event::Start, "hog");
    assert!(starts.iter().all(|start| start.process == hog.name), "{starts:?}");
    assert!(!other.log().contains("taken back"), "{}", other.log());
}
