//! What the defaults promise where a worker dies.

use std::time::Duration;

use shiftwork::prelude::*;
use shiftwork::{JobState, Run};
use shiftwork_process_tests::jobs::{SLOW, Slow, Told};
use shiftwork_process_tests::journal::{Event, now_us};

use crate::account::settled;
use crate::world::{LONG, World, report, until};

/// Within which the jobs of a killed worker run again, by default.
const PROMISED: Duration = Duration::from_secs(15);

/// So much newer work, of so long, that the other worker is busy with it for longer than that.
const NEWER: usize = 80;
const NEWER_MS: u64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_killed_worker_run_again_within_15_s_and_ahead_of_newer_ones() {
    let world = World::new([("JOBS_CONCURRENCY", "2")]);
    let web = world.web([]).await;
    let mut victim = world.started("worker", [("JOBS_QUEUES", SLOW), OFF]).await;
    let endless = slow(600_000);
    let old = enqueue(&web, endless, 2).await;
    world.until_events(Event::Start, "slow", 2).await;
    let newer = enqueue(&web, slow(NEWER_MS), NEWER).await;
    let other = world.started("worker", [("JOBS_QUEUES", SLOW), OFF]).await;
    world.until_events(Event::End, "slow", 1).await;

    victim.kill();
    let killed_us = now_us();
    let is_old = |id| old.iter().any(|run| run.id() == id);
    let again = until("they run again", LONG, async || {
        let mut starts = world.events(Event::Start, "slow");
        starts.retain(|start| start.process == other.name && is_old(start.id));
        if starts.len() == 2 { Ok(starts) } else { Err(format!("{starts:?}")) }
    })
    .await;
    let after = again.iter().map(|start| Duration::from_micros(start.at_us - killed_us));
    let after: Vec<_> = after.collect();
    assert!(after.iter().all(|after| *after < PROMISED), "they ran again after {after:?}");

    // All that is left is newer, and what had been claimed before may have begun between the two.
    let starts = world.events(Event::Start, "slow");
    let place = |id| starts.iter().rposition(|start| start.id == id).unwrap();
    let places: Vec<_> = old.iter().map(|run| place(run.id())).collect();
    let between = places[0].abs_diff(places[1]);
    assert!(between <= 2, "{between} jobs began from one to the other: {starts:#?}");
    let before = starts.iter().filter(|start| start.at_us < again[0].at_us).count() - 2;
    assert!(before < NEWER, "all newer jobs began before them");
    report(
        "defaults",
        format_args!(
            "run again {after:.1?} after the kill, ahead of {} of {NEWER} \
        newer ones",
            NEWER - before
        ),
    );

    // What they need not wait for: the newer ones are of no interest any more.
    for run in &newer {
        web.cancel_job(run.id()).await.unwrap();
    }
    settled(&web, SLOW, LONG).await;
    for run in &old {
        let job = web.job(run.id()).await.unwrap().unwrap();
        let counted = (job.state, job.attempts, job.crashes);
        assert_eq!(counted, (JobState::Completed, 1, 1), "{job:?}");
    }
}

/// Else a schedule would fire.
const OFF: (&str, &str) = ("JOBS_TICK_ENABLED", "false");

fn slow(ms: u64) -> Slow {
    Slow { ms, ms_after_crash: 10, told_to_stop: Told::Leaves }
}

async fn enqueue(web: &Jobs, slow: Slow, count: usize) -> Vec<Run> {
    let jobs = (0..count).map(|_| slow.clone().job().keep_result(hours(1)));
    web.enqueue_many(jobs).await.unwrap()
}
