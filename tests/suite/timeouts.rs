//! How long an attempt may take.

use std::sync::atomic::{AtomicBool, Ordering};

use shiftwork::{FailureKind, JobState};
use tokio::time::sleep;

use crate::support::*;
use shiftwork::prelude::*;

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_cancelled_and_tried_again() {
    #[job(timeout = "10s", attempts = 2)]
    async fn hangs(notes: State<Notes>, ctx: JobContext) {
        notes.add_at("began");
        ctx.cancelled().await;
        notes.add_at("cancelled");
        std::future::pending::<()>().await;
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let jobs = world.process([]).state(notes.clone()).register(hangs::definition());
    let jobs = jobs.start().await.unwrap();
    let run = jobs.enqueue(hangs::job()).await.unwrap();
    let record = finished(&jobs, run.id()).await;
    assert_eq!((record.state, record.attempts), (JobState::Dead, 2));
    // Ten seconds, one more to come to an end by itself, two of backoff, and again.
    assert_eq!(notes.all(), ["began at 0", "cancelled at 10", "began at 13", "cancelled at 23"]);
    let failure = record.last_attempt.unwrap().failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.chain, ["ran for longer than its timeout of 10s"]);
}

#[tokio::test(start_paused = true)]
async fn a_success_within_the_second_after_the_timeout_counts() {
    #[job(timeout = "10s")]
    async fn just_in_time(ctx: JobContext) -> Result<&'static str, JobError> {
        ctx.cancelled().await;
        Ok("saved")
    }
    let world = World::new().await;
    let jobs = world.worker([], [just_in_time::definition()]).await;
    let run = jobs.trigger(just_in_time::job()).await.unwrap();
    let result = run.result(minutes(1)).await.unwrap().finished().unwrap();
    assert_eq!(result.data::<String>().unwrap().as_deref(), Some("saved"));
    assert_eq!(result.attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_job_keeps_its_lease_for_as_long_as_its_timeout_allows() {
    #[job(timeout = "1h")]
    async fn long() {
        sleep(minutes(50)).await;
    }
    let world = World::new().await;
    let jobs = world.worker([], [long::definition()]).await;
    let other = world.worker([], [long::definition()]).await;
    let run = jobs.enqueue(long::job()).await.unwrap();
    let record = finished(&other, run.id()).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Completed, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_is_told_and_ends_cancelled() {
    #[job]
    async fn waits(notes: State<Notes>, ctx: JobContext) -> Result<(), JobError> {
        notes.add("began");
        ctx.cancelled().await;
        Err("cancelled".into())
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let jobs = world.process([]).state(notes.clone()).register(waits::definition());
    let jobs = jobs.start().await.unwrap();
    let run = jobs.trigger(waits::job()).await.unwrap();
    notes.reach(1).await;
    assert_eq!(jobs.cancel_job(run.id()).await.unwrap(), shiftwork::CancelJob::Requested);
    let result = run.result(minutes(1)).await.unwrap().finished().unwrap();
    assert!(!result.success);
    assert_eq!(result.error.unwrap().kind, FailureKind::Cancelled);
    assert_eq!(finished(&jobs, run.id()).await.state, JobState::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_without_end_is_one() {
    #[job]
    async fn quick() {}
    let world = World::new().await;
    let jobs = world.worker([], [quick::definition()]).await;
    let job = quick::job().timeout(std::time::Duration::MAX).keep_result(std::time::Duration::MAX);
    let run = jobs.enqueue(job).await.unwrap();
    assert_eq!(finished(&jobs, run.id()).await.state, JobState::Completed);
    assert!(jobs.health().await.healthy);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_handed_on_does_not_cancel_the_attempt() {
    #[job(attempts = 1)]
    async fn hands_on(ctx: JobContext) {
        drop(ctx.cancellation().drop_guard());
        sleep(seconds(5)).await;
    }
    let world = World::new().await;
    let jobs = world.worker([], [hands_on::definition()]).await;
    let run = jobs.enqueue(hands_on::job()).await.unwrap();
    assert_eq!(finished(&jobs, run.id()).await.state, JobState::Completed);
}

/// Real time: the pool's threads do not know of a paused clock.
#[test]
fn a_blocking_handler_that_waited_for_a_thread_until_its_time_was_over_is_not_begun() {
    static FIRST: AtomicBool = AtomicBool::new(false);
    static BEGAN: AtomicBool = AtomicBool::new(false);
    #[job(attempts = 1, timeout = "300ms")]
    fn blocks(first: bool) {
        match first {
            true => {
                FIRST.store(true, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(2500));
            }
            false => BEGAN.store(true, Ordering::SeqCst),
        }
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let jobs = Jobs::from_vars([("JOBS_KEEP_DEAD", "1h")]).without_linked_jobs();
        let jobs = jobs.register(blocks::definition()).start().await.unwrap();
        jobs.enqueue(blocks::job(true)).await.unwrap();
        while !FIRST.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        let second = jobs.enqueue(blocks::job(false)).await.unwrap();
        second.result(seconds(20)).await.unwrap();
        // The one thread is free again, and has come to the second.
        tokio::task::spawn_blocking(|| {}).await.unwrap();
        assert!(!BEGAN.load(Ordering::SeqCst), "it ran after its job was settled");
        jobs.shutdown().await.unwrap();
    });
}
