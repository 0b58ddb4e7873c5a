//! A job one crash short of the limit runs alone in its process; and what that must not do to the
//! others.

use std::sync::Arc;

use shiftwork::JobState;
use shiftwork::adapter::JobAdapter;
use tokio::time::{sleep, timeout};

use crate::faulty::{Fault, Faulty};
use crate::support::*;
use shiftwork::prelude::*;

#[job(timeout = "1h")]
async fn runs_for(count: u64, notes: State<Notes>) {
    notes.add_at(&format!("runs for {count}"));
    sleep(seconds(count)).await;
}

#[job]
async fn suspect(ctx: JobContext, notes: State<Notes>) {
    notes.add_at("suspect");
    if ctx.crashes() == 0 {
        std::future::pending::<()>().await;
    }
}

#[job(queue = "innocent")]
async fn innocent(notes: State<Notes>) {
    notes.add_at("innocent");
}

/// A world in which a second crash is the last, with a process that runs jobs of 60 and 120
/// seconds, and a suspect whose first worker has vanished: the process waits to be alone.
async fn waiting_to_be_alone() -> (World, Notes, Jobs, shiftwork::JobId) {
    let world = World::with(|settings| settings.max_crashes = 2).await;
    let notes = Notes::new(&world);
    let start = async |store: Arc<dyn JobAdapter>, queues| {
        let vars = [("JOBS_CONCURRENCY", "2"), ("JOBS_QUEUES", queues)];
        let process = world.process_on(store, vars).state(notes.clone());
        let process = process.register(runs_for::definition()).register(suspect::definition());
        process.register(innocent::definition()).start().await.unwrap()
    };
    let jobs = start(world.store.clone(), "*").await;
    for count in [60, 120] {
        jobs.enqueue(runs_for::job(count)).await.unwrap();
    }
    notes.reach(2).await;
    let faulty = Faulty::on(world.store.clone());
    let dying = start(faulty.clone(), "default").await;
    let id = dying.enqueue(suspect::job()).await.unwrap().id();
    notes.reach(3).await;
    faulty.everywhere(Fault::Hang);
    // The first job is over, and the process has heard of the suspect.
    sleep(seconds(80)).await;
    (world, notes, jobs, id)
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_what_runs_and_then_runs_alone() {
    let (_world, notes, jobs, id) = waiting_to_be_alone().await;
    let other = jobs.enqueue(innocent::job()).await.unwrap();
    let record = finished(&jobs, id).await;
    assert_eq!((record.state, record.crashes, record.attempts), (JobState::Completed, 1, 1));
    finished(&jobs, other.id()).await;
    let all = notes.all();
    assert_eq!(&all[3..], ["suspect at 120", "innocent at 120"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cancelled_while_the_process_waits_holds_nobody_up() {
    let (_world, notes, jobs, id) = waiting_to_be_alone().await;
    jobs.cancel_job(id).await.unwrap();
    let other = jobs.enqueue(innocent::job()).await.unwrap();
    timeout(hours(1), finished(&jobs, other.id())).await.expect("the process is stuck");
    // Long before the job of 120 seconds has ended: it asked whether it still must wait.
    let note = notes.all().pop().unwrap();
    let at: f64 = note.trim_start_matches("innocent at ").parse().unwrap();
    assert!(at < 90.0, "{note}");
}

#[tokio::test(start_paused = true)]
async fn one_whose_queue_is_paused_while_the_process_waits_holds_no_other_queue_up() {
    let (_world, _notes, jobs, id) = waiting_to_be_alone().await;
    jobs.pause("default").await.unwrap();
    let other = jobs.enqueue(innocent::job()).await.unwrap();
    timeout(hours(1), finished(&jobs, other.id())).await.expect("the process is stuck");
    jobs.resume("default").await.unwrap();
    timeout(hours(1), finished(&jobs, id)).await.expect("the process is stuck");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_has_itself_alone_and_is_given_another_job_shares_it() {
    let (world, notes, jobs, id) = waiting_to_be_alone().await;
    // Another process takes the suspect away, and there is other work.
    world.store.cancel_job(&shiftwork::QueueName::new("default").unwrap(), id).await.unwrap();
    jobs.enqueue(runs_for::job(500)).await.unwrap();
    sleep(seconds(60)).await;
    let other = jobs.enqueue(innocent::job()).await.unwrap();
    finished(&jobs, other.id()).await;
    let note = notes.all().pop().unwrap();
    let at: f64 = note.trim_start_matches("innocent at ").parse().unwrap();
    assert!(at < 160.0, "{note}");
}

#[tokio::test(start_paused = true)]
async fn many_of_one_queue_take_turns_with_other_queues() {
    #[job(queue = "many")]
    async fn one_second() {
        sleep(seconds(1)).await;
    }
    // Every crash is the last: every job runs alone.
    let world = World::with(|settings| settings.max_crashes = 1).await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone());
    let process = process.register(one_second::definition()).register(innocent::definition());
    let jobs = process.start().await.unwrap();
    jobs.enqueue_many((0..500).map(|_| one_second::job())).await.unwrap();
    sleep(seconds(5)).await;
    jobs.enqueue(innocent::job()).await.unwrap();
    let note = notes.reach(1).await.pop().unwrap();
    let at: f64 = note.trim_start_matches("innocent at ").parse().unwrap();
    assert!(at <= 8.0, "{note}");
}
