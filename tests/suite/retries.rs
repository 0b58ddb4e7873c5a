//! How often a failing job runs, and when.

use std::time::Duration;

use shiftwork::{FailureKind, JobState};

use crate::support::*;
use shiftwork::prelude::*;

#[tokio::test(start_paused = true)]
async fn three_attempts_are_three_runs_each_after_twice_the_wait() {
    #[job]
    async fn always_fails(notes: State<Notes>, ctx: JobContext) -> Result<(), JobError> {
        notes.add_at(&format!("{} of {}", ctx.attempt(), ctx.attempts()));
        Err("closed".into())
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let jobs = world.process([]).state(notes.clone()).register(always_fails::definition());
    let jobs = jobs.start().await.unwrap();
    let run = jobs.enqueue(always_fails::job()).await.unwrap();
    let record = finished(&jobs, run.id()).await;
    assert_eq!(record.state, JobState::Dead);
    assert_eq!(record.attempts, 3);
    assert_eq!(notes.all(), ["1 of 3 at 0", "2 of 3 at 2", "3 of 3 at 6"]);
    let failure = record.last_attempt.unwrap().failure.clone().unwrap();
    assert_eq!((failure.kind, failure.chain), (FailureKind::Error, vec!["closed".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_succeeds_completes_the_job() {
    #[job]
    async fn second_time_lucky(ctx: JobContext) -> Result<u32, JobError> {
        if ctx.is_last_attempt() { Ok(ctx.attempt()) } else { Err("not yet".into()) }
    }
    let world = World::new().await;
    let jobs = world.worker([("JOBS_ATTEMPTS", "2")], [second_time_lucky::definition()]).await;
    let run = jobs.trigger(second_time_lucky::job()).await.unwrap();
    let result = run.result(hours(1)).await.unwrap().finished().unwrap();
    assert!(result.success);
    assert_eq!(result.attempts, 2);
    assert_eq!(result.data::<u32>().unwrap(), Some(2));
    assert_eq!(result.error, None);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_backoff_waits_alike_each_time() {
    #[job(attempts = 4)]
    async fn fixed(notes: State<Notes>) -> Result<(), JobError> {
        notes.add_at("run");
        Err("closed".into())
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let vars = [("JOBS_BACKOFF_TYPE", "fixed"), ("JOBS_BACKOFF_DELAY", "5000")];
    let jobs = world.process(vars).state(notes.clone()).register(fixed::definition());
    let jobs = jobs.start().await.unwrap();
    jobs.enqueue(fixed::job()).await.unwrap();
    assert_eq!(notes.reach(4).await, ["run at 0", "run at 5", "run at 10", "run at 15"]);
}

#[tokio::test(start_paused = true)]
async fn a_jobs_own_backoff_goes_over_the_environment_and_the_longest_is_kept_to() {
    #[job(attempts = 4, backoff = "exponential(40m)")]
    async fn slow(notes: State<Notes>) -> Result<(), JobError> {
        notes.add_at("run");
        Err("closed".into())
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let jobs = world.process([]).state(notes.clone()).register(slow::definition());
    let jobs = jobs.start().await.unwrap();
    jobs.enqueue(slow::job()).await.unwrap();
    assert_eq!(notes.reach(4).await, ["run at 0", "run at 2400", "run at 6000", "run at 9600"]);
}

#[tokio::test(start_paused = true)]
async fn jitter_adds_up_to_half_and_never_takes_away() {
    #[job(attempts = 50, backoff = "fixed(10s)")]
    async fn jittered(notes: State<Notes>) -> Result<(), JobError> {
        notes.add_at("run");
        Err("closed".into())
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let jobs = world.process([("JOBS_BACKOFF_JITTER", "true")]);
    let jobs = jobs.state(notes.clone()).register(jittered::definition()).start().await.unwrap();
    jobs.enqueue(jittered::job()).await.unwrap();
    let seconds: Vec<f64> = notes
        .reach(50)
        .await
        .iter()
        .map(|note| note.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    let waits: Vec<f64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| (10.0..=15.01).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > 12.0), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_a_dead_letter_at_once() {
    #[job]
    async fn hopeless() -> anyhow::Result<()> {
        let text = String::from_utf8(vec![0xff]).map_err(Permanent::new)?;
        anyhow::bail!("read {text}");
    }
    let world = World::new().await;
    let jobs = world.worker([], [hopeless::definition()]).await;
    let run = jobs.enqueue(hopeless::job()).await.unwrap();
    let record = finished(&jobs, run.id()).await;
    assert_eq!((record.state, record.attempts), (JobState::Dead, 1));
    let failure = record.last_attempt.unwrap().failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Permanent);
    assert_eq!(failure.chain, ["invalid utf-8 sequence of 1 bytes from index 0"]);
    assert!(world.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn failure_without_an_err_is_tried_again_and_keeps_what_it_says() {
    #[job(attempts = 2)]
    async fn says_no() -> JobResult {
        JobResult::failure("the warehouse is closed")
    }
    let world = World::new().await;
    let jobs = world.worker([], [says_no::definition()]).await;
    let run = jobs.trigger(says_no::job()).await.unwrap();
    let result = run.result(hours(1)).await.unwrap().finished().unwrap();
    assert!(!result.success);
    assert_eq!(result.attempts, 2);
    assert_eq!(result.message.as_deref(), Some("the warehouse is closed"));
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_does_not_decode_is_a_dead_letter_that_says_why() {
    #[job]
    async fn takes_a_number(number: u64) {
        let _ = number;
    }
    let world = World::new().await;
    let jobs = world.worker([], [takes_a_number::definition()]).await;
    let run = jobs.enqueue(NewJob::new("takes_a_number", "secret")).await.unwrap();
    let record = finished(&jobs, run.id()).await;
    assert_eq!((record.state, record.attempts), (JobState::Dead, 1));
    let failure = record.last_attempt.unwrap().failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Payload);
    assert!(failure.chain[0].contains("expected u64"), "{failure}");
    assert!(!failure.chain[0].contains("secret"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn what_a_job_says_when_it_is_enqueued_goes_over_its_definition() {
    #[job(attempts = 7)]
    async fn one_shot() -> Result<(), JobError> {
        Err("closed".into())
    }
    let world = World::new().await;
    let jobs = world.worker([], [one_shot::definition()]).await;
    let run = jobs.enqueue(one_shot::job().attempts(1)).await.unwrap();
    assert_eq!(finished(&jobs, run.id()).await.attempts, 1);
}
