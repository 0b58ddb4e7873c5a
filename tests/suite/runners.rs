//! The tasks that attempts run on: each attempt has one for itself, and they are used again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task;

use crate::support::*;
use shiftwork::prelude::*;

/// The tasks that attempts have run on, one entry for each attempt.
type Tasks = Arc<Mutex<Vec<task::Id>>>;

#[job]
async fn tells_its_task(tasks: State<Tasks>) {
    tasks.lock().unwrap().push(task::id());
}

#[job]
async fn waits_and_tells(tasks: State<Tasks>, gate: State<Arc<Semaphore>>) {
    gate.acquire().await.unwrap().forget();
    tasks.lock().unwrap().push(task::id());
}

fn different(tasks: &Tasks) -> usize {
    tasks.lock().unwrap().iter().collect::<HashSet<_>>().len()
}

#[tokio::test(start_paused = true)]
async fn attempts_one_after_another_run_on_one_task() {
    let (world, tasks) = (World::new().await, Tasks::default());
    let builder = world.process([]).register(tells_its_task::definition()).state(tasks.clone());
    let jobs = builder.start().await.unwrap();
    for _ in 0..100 {
        let run = jobs.enqueue(tells_its_task::job()).await.unwrap();
        finished(&jobs, run.id()).await;
    }
    assert_eq!(tasks.lock().unwrap().len(), 100);
    assert_eq!(different(&tasks), 1);
}

#[tokio::test(start_paused = true)]
async fn attempts_at_once_have_a_task_each() {
    let (world, tasks, gate) = (World::new().await, Tasks::default(), Arc::new(Semaphore::new(0)));
    let builder = world.process([("JOBS_CONCURRENCY", "50")]);
    let builder = builder.register(waits_and_tells::definition());
    let jobs = builder.state(tasks.clone()).state(gate.clone()).start().await.unwrap();
    let mut last = None;
    for round in 1..=3 {
        let runs = jobs.enqueue_many((0..50).map(|_| waits_and_tells::job())).await.unwrap();
        gate.add_permits(50);
        for run in &runs {
            finished(&jobs, run.id()).await;
        }
        assert_eq!(tasks.lock().unwrap().len(), 50 * round);
        last = Some(different(&tasks));
    }
    assert_eq!(last, Some(50), "fifty at once, in every round on the same tasks");
}

#[tokio::test(start_paused = true)]
async fn no_task_is_left_when_a_worker_has_ended() {
    let (world, tasks, gate) = (World::new().await, Tasks::default(), Arc::new(Semaphore::new(50)));
    let before = Handle::current().metrics().num_alive_tasks();
    let builder = world.process([("JOBS_CONCURRENCY", "50")]);
    let builder = builder.register(waits_and_tells::definition());
    let jobs = builder.state(tasks.clone()).state(gate).start().await.unwrap();
    let runs = jobs.enqueue_many((0..50).map(|_| waits_and_tells::job())).await.unwrap();
    for run in &runs {
        finished(&jobs, run.id()).await;
    }
    assert!(Handle::current().metrics().num_alive_tasks() > before);
    jobs.shutdown().await.unwrap();
    drop(jobs);
    // Those that were told to end come round once more.
    while Handle::current().metrics().num_alive_tasks() > before {
        task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_no_other_attempt_its_task() {
    #[job(attempts = 1)]
    async fn panics(tasks: State<Tasks>) {
        tasks.lock().unwrap().push(task::id());
        panic!("and on it goes");
    }
    let (world, tasks) = (World::new().await, Tasks::default());
    let builder = world.process([]).register(panics::definition());
    let builder = builder.register(tells_its_task::definition()).state(tasks.clone());
    let jobs = builder.start().await.unwrap();
    for _ in 0..10 {
        let run = jobs.enqueue(panics::job()).await.unwrap();
        finished(&jobs, run.id()).await;
        let run = jobs.enqueue(tells_its_task::job()).await.unwrap();
        finished(&jobs, run.id()).await;
    }
    assert_eq!(tasks.lock().unwrap().len(), 20);
    assert_eq!(different(&tasks), 1);
}
