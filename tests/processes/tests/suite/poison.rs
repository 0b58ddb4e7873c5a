//! A job that ends every process which runs it.

use shiftwork::prelude::*;
use shiftwork::{FailureKind, JobState};
use shiftwork_process_tests::jobs::{Poison, SLOW, Slow, Told};
use shiftwork_process_tests::journal::Event;

use crate::account::{is_settled, records};
use crate::world::{LONG, World, report, until};

const OTHERS: usize = 99;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_ends_its_worker_is_the_only_dead_letter_among_a_hundred() {
    let world = World::new([
        ("JOBS_LEASE", "1s"),
        ("JOBS_CONCURRENCY", "100"),
        ("JOBS_KEEP_COMPLETED", "1h"),
    ]);
    let web = world.web([]).await;
    // All others run beside it whenever it ends the process, for as long as they may.
    let slow = Slow { ms: 500, ms_after_crash: 80, told_to_stop: Told::Leaves };
    let mut jobs = vec![slow.job(); OTHERS];
    jobs.insert(OTHERS / 2, Poison { after_ms: 40 }.job());
    let runs = web.enqueue_many(jobs).await.unwrap();
    let poison = runs[OTHERS / 2].id();

    let start = || world.process("async", [("JOBS_QUEUES", SLOW)]);
    let mut worker = start();
    let mut deaths = 0;
    let counts = until("all are settled", LONG, async || {
        if let Some(status) = worker.ended() {
            assert!(!status.success(), "it ended, and not by the poison: {status}");
            deaths += 1;
            worker = start();
        }
        let counts = web.counts(SLOW).await.unwrap();
        if is_settled(&counts) { Ok(counts) } else { Err(format!("{deaths} deaths, {counts:?}")) }
    })
    .await;

    assert_eq!((counts.completed, counts.dead), (OTHERS as u64, 1), "{counts:?}");
    let records = records(&web, SLOW).await;
    for record in records.values().filter(|record| record.spec.id != poison) {
        let fine = (record.state, record.attempts) == (JobState::Completed, 1);
        assert!(fine && record.crashes < 3, "{record:?}");
    }
    let dead = &records[&poison];
    assert_eq!((dead.state, dead.attempts, dead.crashes), (JobState::Dead, 0, 3), "{dead:?}");
    let why = dead.last_attempt.as_ref().and_then(|report| report.failure.as_ref());
    assert_eq!(why.map(|failure| failure.kind), Some(FailureKind::Crash), "{dead:?}");
    assert_eq!(deaths, 3, "it ended a process as often as it may");
    assert_eq!(world.events(Event::Start, "poison").len(), 3);
    let beside = records.values().filter(|record| record.crashes == 2).count();
    report("poison", format_args!("{deaths} deaths; {beside} of {OTHERS} were beside it twice"));
}
