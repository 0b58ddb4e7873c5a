//! Who waits is woken, whatever becomes of its connection meanwhile.

use crate::support::*;

/// A worker that found nothing to do, and what it waits for.
async fn idle(adapter: &Arc<RedisAdapter>) -> (Worker, Watch) {
    let mut worker = Worker::new(adapter, &work());
    let answer = worker.exchange(&worker.turn(&[], 1)).await;
    assert_eq!(answer.claimed.len(), 0);
    let watch = Watch::Work(work(), answer.ticket);
    (worker, watch)
}

fn wait(adapter: &Arc<RedisAdapter>, watch: Watch) -> tokio::task::JoinHandle<Result<()>> {
    let adapter = adapter.clone();
    tokio::spawn(async move { adapter.wait(watch).await })
}

#[tokio::test]
async fn a_worker_whose_connection_was_cut_is_woken_by_another_process() {
    let world = World::new();
    let (adapter, other) = (world.adapter(), world.other());
    let (mut worker, watch) = idle(&adapter).await;
    world.proxy.cut();
    // Whoever waited looks again, since it may have missed something, and listens again by that.
    soon("it looks again", wait(&adapter, watch)).await.unwrap().unwrap();
    let answer = worker.exchange(&worker.turn(&[], 1)).await;
    let waiting = wait(&adapter, Watch::Work(work(), answer.ticket));
    sleep(ms(50)).await;
    assert!(!waiting.is_finished(), "there is nothing to do");
    other.enqueue(&work(), jobs(1)).await.unwrap();
    let (woken, took) = timed(soon("it is woken", waiting)).await;
    woken.unwrap().unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(worker.claim(1).await.len(), 1);
}

#[tokio::test]
async fn a_wakeup_that_came_while_there_was_no_connection_is_made_up_for() {
    let world = World::new();
    let (adapter, other) = (world.adapter(), world.other());
    let (mut worker, watch) = idle(&adapter).await;
    let waiting = wait(&adapter, watch);
    world.proxy.refuse();
    other.enqueue(&work(), jobs(1)).await.unwrap();
    assert!(!waiting.is_finished(), "it cannot know");
    world.proxy.pass();
    soon("it is woken", waiting).await.unwrap().unwrap();
    assert_eq!(worker.claim(1).await.len(), 1);
}

#[tokio::test]
async fn sweepers_and_clocks_whose_connection_was_cut_look_again() {
    let world = World::new();
    let (adapter, other) = (world.adapter(), world.other());
    let swept = adapter.sweep(&work()).await.unwrap().ticket;
    let listed = adapter.scheduled_jobs().await.unwrap().ticket;
    let waiting =
        [wait(&adapter, Watch::Sweep(work(), swept)), wait(&adapter, Watch::Schedules(listed))];
    world.proxy.cut();
    for waiting in waiting {
        soon("it looks again", waiting).await.unwrap().unwrap();
    }
    // And they are told on the new connection.
    let swept = adapter.sweep(&work()).await.unwrap().ticket;
    let listed = adapter.scheduled_jobs().await.unwrap().ticket;
    let sweeper = wait(&adapter, Watch::Sweep(work(), swept));
    let clock = wait(&adapter, Watch::Schedules(listed));
    let mut late = job();
    late.due = Due::After(Duration::from_hours(1));
    other.enqueue(&work(), vec![late]).await.unwrap();
    other.schedule(schedule("nightly", &work()), None).await.unwrap();
    soon("the sweeper is told", sweeper).await.unwrap().unwrap();
    soon("the clock is told", clock).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_awaits_a_job_is_told_of_its_end_after_a_cut() {
    let world = World::new();
    let (adapter, other) = (world.adapter(), world.other());
    let job = job();
    adapter.enqueue(&work(), vec![job.clone()]).await.unwrap();
    let awaiting = {
        let adapter = adapter.clone();
        tokio::spawn(async move { adapter.await_finish(&work(), job.id, LONG).await })
    };
    let awaited = ["HLEN", "{test:work}:awaited"];
    eventually("it is awaited", || world.server.call(&awaited).int() == 1).await;
    world.proxy.refuse();
    let mut worker = Worker::new(&other, &work());
    let held = worker.claim(1).await;
    worker.settle(&[(held[0], Outcome::Complete)]).await;
    world.proxy.pass();
    let (ended, took) = timed(soon("it is told", awaiting)).await;
    assert_eq!(ended.unwrap().unwrap().unwrap().state, JobState::Completed);
    assert!(took < Duration::from_secs(4), "not by a slow look of its own: {took:?}");
}

#[tokio::test]
async fn a_call_that_nobody_polls_holds_up_no_other() {
    let world = World::new();
    let adapter = world.adapter();
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    // Each of them subscribes first, to the same.
    let mut worker = Worker::new(&adapter, &work());
    let turn = worker.turn(&[], 1);
    let mut claiming = Box::pin(worker.exchange(&turn));
    begin(&mut claiming).await;
    let mut listing = Box::pin(adapter.scheduled_jobs());
    begin(&mut listing).await;
    soon("a sweep", adapter.sweep(&work())).await.unwrap();
    soon("another list", adapter.scheduled_jobs()).await.unwrap();
    assert_eq!(claiming.await.claimed.len(), 1);
    listing.await.unwrap();
}
