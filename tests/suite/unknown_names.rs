//! A job whose handler this process does not have.

use shiftwork::{FailureKind, JobState};
use tokio::time::sleep;

use crate::support::*;
use shiftwork::prelude::*;

#[job]
async fn known() {}

fn unknown() -> NewJob {
    NewJob::new("from_the_next_release", &7).foreign()
}

#[tokio::test(start_paused = true)]
async fn it_is_handed_back_unspent_and_shown_in_health() {
    let world = World::new().await;
    let old = world.worker([], [known::definition()]).await;
    let run = old.enqueue(unknown()).await.unwrap();
    sleep(minutes(10)).await;
    let record = old.job(run.id()).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Delayed, 0, 0));
    let health = old.health().await;
    assert!(health.healthy, "a rollout is no illness: {health}");
    let unknown = &health.unknown_jobs[0];
    assert_eq!(unknown.name, "from_the_next_release");
    // After 1, 2, 4 … 32 seconds, and then each minute.
    assert!((10..=20).contains(&unknown.handed_back), "{unknown:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_has_the_handler_runs_it_within_a_minute() {
    #[job]
    async fn from_the_next_release(number: u8) -> Result<u8, JobError> {
        Ok(number)
    }
    let world = World::new().await;
    let old = world.worker([], [known::definition()]).await;
    let run = old.enqueue(unknown()).await.unwrap();
    sleep(hours(3)).await;
    let new = world.worker([], [from_the_next_release::definition()]).await;
    let began = world.elapsed();
    old.shutdown().await.unwrap();
    let record = finished(&new, run.id()).await;
    assert_eq!((record.state, record.attempts), (JobState::Completed, 1));
    assert!(world.elapsed() - began <= seconds(61));
}

#[tokio::test(start_paused = true)]
async fn an_old_job_is_not_dead_at_first_sight() {
    let world = World::new().await;
    let jobs = world.worker([("JOBS_UNKNOWN_AFTER", "2h")], [known::definition()]).await;
    jobs.pause("default").await.unwrap();
    let run = jobs.enqueue(unknown()).await.unwrap();
    sleep(hours(48)).await;
    jobs.resume("default").await.unwrap();
    sleep(hours(1)).await;
    assert_eq!(jobs.job(run.id()).await.unwrap().unwrap().state, JobState::Delayed);
    sleep(hours(2)).await;
    assert_eq!(jobs.job(run.id()).await.unwrap().unwrap().state, JobState::Dead);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_names_ends_dead_too() {
    let world = World::new().await;
    let jobs = world.worker([("JOBS_UNKNOWN_AFTER", "2h")], [known::definition()]).await;
    let flood = (0..150).map(|n| NewJob::new(format!("unknown-{n}"), &n).foreign());
    jobs.enqueue_many(flood).await.unwrap();
    sleep(hours(1)).await;
    let health = jobs.health().await;
    assert_eq!(health.unknown_jobs.len(), 100);
    assert_eq!(jobs.counts("default").await.unwrap().dead, 0);
    sleep(hours(2)).await;
    assert_eq!(jobs.counts("default").await.unwrap().dead, 150);
}

#[tokio::test(start_paused = true)]
async fn after_long_enough_it_is_a_dead_letter() {
    let world = World::new().await;
    let jobs = world.worker([("JOBS_UNKNOWN_AFTER", "2h")], [known::definition()]).await;
    // Counted from when it was due, not from when it was enqueued.
    let run = jobs.enqueue(unknown().delay(hours(5))).await.unwrap();
    sleep(hours(6)).await;
    assert_eq!(jobs.job(run.id()).await.unwrap().unwrap().state, JobState::Delayed);
    let record = finished(&jobs, run.id()).await;
    assert_eq!(record.state, JobState::Dead);
    let failure = record.last_attempt.unwrap().failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::UnknownName);
    assert!(failure.chain[0].contains("JOBS_UNKNOWN_AFTER is 7200s"), "{failure}");
}
