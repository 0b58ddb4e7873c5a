//! A primary that dies under load while its replicas are cut off from it, and sentinels that name another:
//! what is followed, and what is lost.

use std::collections::HashSet;
use std::time::Duration;

use shiftwork::JobId;
use shiftwork_process_tests::jobs::BRIEF;
use shiftwork_process_tests::journal::Event;
use shiftwork_test_kit::Watched;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::account::settled;
use crate::enqueuer::{Enqueued, enqueue};
use crate::process::shut_down;
use crate::world::{LONG, World, report};

const JOBS: usize = 5000;
const BRIEF_MS: u64 = 20;
const BATCH: usize = 20;
const PACE: Duration = Duration::from_millis(15);
const WORKERS: usize = 3;

/// For how long the replicas are cut off before the primary dies.
const LAG: Duration = Duration::from_millis(400);

/// How long it may take until a job is enqueued again: a second until the primary is down to the
/// sentinels, an election, and the pauses between tries.
const FOLLOWED: Duration = Duration::from_secs(15);

/// What a failover came to.
struct Failover {
    enqueued: Enqueued,
    /// When the replicas were cut off, and when the primary died.
    lagged: Instant,
    died: Instant,
    /// What was acknowledged and never ran.
    lost: Vec<usize>,
}

impl Failover {
    fn acknowledged_meanwhile(&self) -> usize {
        let meanwhile = |at: &&Instant| (self.lagged..self.died).contains(*at);
        self.enqueued.at.iter().filter(meanwhile).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replicas_lag_behind_is_all_that_a_failover_loses() {
    let failover = fail_over("0").await;
    // Acknowledged, and yet on its way to the replicas when they stopped to hear.
    let margin = Duration::from_millis(100);
    for &place in &failover.lost {
        let at = failover.enqueued.at[place];
        assert!(failover.lagged - margin <= at && at <= failover.died + margin);
    }
    assert!(!failover.lost.is_empty(), "the replicas had it all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_loses_no_enqueue_that_waited_for_a_replica() {
    let failover = fail_over("1").await;
    assert!(failover.enqueued.unknown > 0, "none waited in vain");
    assert_eq!(failover.lost, [0; 0]);
}

async fn fail_over(replicas: &str) -> Failover {
    let watched = spawn_blocking(Watched::start).await.unwrap();
    let world = World::of(
        watched,
        [
            ("JOBS_LEASE", "1s"),
            ("JOBS_MAX_CRASHES", "1000"),
            // Fewer than come: a job that has run cannot be lost.
            ("JOBS_CONCURRENCY", "5"),
            ("JOBS_CONNECT_TIMEOUT", "1s"),
            ("JOBS_REDIS_WAIT_REPLICAS", replicas),
        ],
    );
    let web = world.web([]).await;
    let start = || world.process("async", [("JOBS_QUEUES", BRIEF)]);
    let workers: Vec<_> = (0..WORKERS).map(|_| start()).collect();
    let load = ((JOBS, BRIEF_MS), (BATCH, PACE));
    let enqueueing = tokio::spawn(enqueue(web.clone(), world.chance(), load.0, load.1));
    world.until_events(Event::Start, "brief", 500).await;

    let primary = world.server.primary();
    let others = world.server.servers().iter().filter(|server| server.port() != primary.port());
    let others: Vec<_> = others.collect();
    // One that stands still would find all in its socket later; so the primary lets go of them.
    others.iter().for_each(|replica| replica.stall());
    primary.call(&["CLIENT", "KILL", "TYPE", "replica"]);
    let lagged = Instant::now();
    sleep(LAG).await;
    primary.kill();
    let died = Instant::now();
    others.iter().for_each(|replica| replica.resume());

    let enqueued = enqueueing.await.unwrap();
    settled(&web, BRIEF, LONG).await;
    shut_down(workers).await;
    let ran: HashSet<JobId> =
        world.events(Event::Start, "brief").iter().map(|entry| entry.id).collect();
    let known: HashSet<JobId> = enqueued.ids.iter().copied().collect();
    assert!(ran.is_subset(&known), "nothing ran that was not enqueued");
    let is_lost = |place: &usize| !ran.contains(&enqueued.ids[*place]);
    let lost: Vec<_> = (0..enqueued.ids.len()).filter(is_lost).collect();
    let after = enqueued.at.iter().filter(|at| **at > died).min().expect("it goes on");
    let followed = *after - died;
    let failover = Failover { enqueued, lagged, died, lost };
    report(
        "failover",
        format_args!(
            "waiting for {replicas} replicas: {}; {} lost of {} that were acknowledged in {:.0?} \
             without replicas; enqueued again {followed:.1?} after the primary died",
            failover.enqueued,
            failover.lost.len(),
            failover.acknowledged_meanwhile(),
            died - lagged,
        ),
    );
    assert!(followed < FOLLOWED, "{followed:?}");
    failover
}
