//! A panic fails its attempt and nothing else.

use shiftwork::{FailureKind, JobState};

use crate::support::*;
use shiftwork::prelude::*;

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_attempt_only() {
    #[job(attempts = 1)]
    async fn panics(with: String) {
        panic!("lost {with}");
    }
    #[job]
    async fn neighbour() {}

    let world = World::new().await;
    let jobs = world.worker([], [panics::definition(), neighbour::definition()]).await;
    let bad = jobs.enqueue(panics::job("the thread".into())).await.unwrap();
    let good = jobs.enqueue(neighbour::job()).await.unwrap();
    let record = finished(&jobs, bad.id()).await;
    assert_eq!(record.state, JobState::Dead);
    let failure = record.last_attempt.unwrap().failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Panic);
    assert_eq!(failure.chain, ["panicked: lost the thread"]);
    assert_eq!(finished(&jobs, good.id()).await.state, JobState::Completed);
    assert!(jobs.health().await.healthy);
}

#[tokio::test(start_paused = true)]
async fn a_panic_after_an_await_is_caught_too_and_tried_again() {
    #[job]
    async fn panics_later(ctx: JobContext) -> Result<(), JobError> {
        tokio::time::sleep(seconds(1)).await;
        assert!(ctx.is_last_attempt(), "not the last");
        Ok(())
    }
    let world = World::new().await;
    let jobs = world.worker([], [panics_later::definition()]).await;
    let run = jobs.enqueue(panics_later::job()).await.unwrap();
    let record = finished(&jobs, run.id()).await;
    assert_eq!((record.state, record.attempts), (JobState::Completed, 3));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_plain_function_is_caught_on_the_blocking_pool() {
    #[job(attempts = 1)]
    fn blocks_and_panics() {
        panic!("in the pool");
    }
    let world = World::new().await;
    let jobs = world.worker([], [blocks_and_panics::definition()]).await;
    let run = jobs.enqueue(blocks_and_panics::job()).await.unwrap();
    let record = finished(&jobs, run.id()).await;
    let failure = record.last_attempt.unwrap().failure.clone().unwrap();
    assert_eq!((failure.kind, &*failure.chain[0]), (FailureKind::Panic, "panicked: in the pool"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_handler_is_dropped_fails_its_attempt() {
    struct PanicsOnDrop;
    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }
    #[job(attempts = 1, timeout = "1s")]
    async fn holds_a_bomb() {
        let _bomb = PanicsOnDrop;
        std::future::pending::<()>().await;
    }
    let world = World::new().await;
    let jobs = world.worker([], [holds_a_bomb::definition()]).await;
    let run = jobs.enqueue(holds_a_bomb::job()).await.unwrap();
    assert_eq!(finished(&jobs, run.id()).await.state, JobState::Dead);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_when_it_is_told_spends_its_attempts() {
    #[derive(Debug)]
    struct Bomb;
    impl std::fmt::Display for Bomb {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("told");
        }
    }
    impl std::error::Error for Bomb {}

    #[job(attempts = 2)]
    async fn returns_a_bomb() -> Result<(), Bomb> {
        Err(Bomb)
    }
    let world = World::new().await;
    let jobs = world.worker([], [returns_a_bomb::definition()]).await;
    let run = jobs.enqueue(returns_a_bomb::job()).await.unwrap();
    let record = finished(&jobs, run.id()).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Dead, 2, 0));
    let failure = record.last_attempt.unwrap().failure.clone().unwrap();
    assert_eq!((failure.kind, &*failure.chain[0]), (FailureKind::Panic, "panicked: told"));
}
