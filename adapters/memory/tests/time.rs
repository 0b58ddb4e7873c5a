//! Clocks that jump, machines that sleep, and idle stores that need no timer.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.
#![allow(clippy::disallowed_methods, reason = "tests let time pass")]

mod kit;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kit::{START, Worker, clock, connection, id, queue, settled, spec, specs};
use shiftwork_adapter::{
    Beat, BeatReply, Clock, Connection, Due, JobAdapter, JobState, Namespace, Outcome, Result,
    TestClock, Timestamp, Watch,
};
use shiftwork_memory::MemoryAdapter;
use tokio::time::{Instant, sleep, timeout};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn adapter_under(clock: &Arc<TestClock>) -> MemoryAdapter {
    let namespace = Namespace::new("test").unwrap();
    MemoryAdapter::new(Connection::new(namespace, clock.clone())).unwrap()
}

async fn beat(adapter: &MemoryAdapter, worker: &Worker) -> BeatReply {
    let beat = Beat::new(queue(), worker.incarnation(), 1);
    adapter.heart().await.unwrap().beat(&[beat]).await.unwrap().remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_beats_keeps_its_jobs_over_a_night_in_which_the_machine_slept() {
    let clock = clock();
    let adapter = adapter_under(&clock);
    let mut worker = Worker::new(1);
    adapter.enqueue(&queue(), specs(0..1)).await.unwrap();
    let claimed = worker.claim(&adapter, 1).await;

    clock.set(START + DAY);
    assert!(adapter.sweep(&queue()).await.unwrap().recovered.is_empty());
    assert_eq!(beat(&adapter, &worker).await, BeatReply::Renewed { cancelled: vec![] });
    sleep(Duration::from_secs(3)).await;
    assert!(adapter.sweep(&queue()).await.unwrap().recovered.is_empty());
    let answer = worker.exchange(&adapter, settled(&claimed, Outcome::Complete), 0).await;
    assert!(answer.refused.is_empty() && !answer.reconcile);
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_does_not_leave_jobs_with_a_dead_worker_for_longer_than_a_lease() {
    let clock = clock();
    let adapter = adapter_under(&clock);
    adapter.enqueue(&queue(), specs(0..1)).await.unwrap();
    Worker::new(1).claim(&adapter, 1).await;

    clock.set(START - DAY);
    let started = Instant::now();
    let mut recovered = Vec::new();
    while recovered.is_empty() {
        let answer = adapter.sweep(&queue()).await.unwrap();
        recovered = answer.recovered;
        sleep(answer.next.unwrap_or_default().min(Duration::from_secs(30))).await;
    }
    assert_eq!(recovered[0].crashes, 1);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_at_every_step_breaks_nothing() {
    let clock = clock();
    let adapter = adapter_under(&clock);
    let mut worker = Worker::new(1);
    let times = [START, Timestamp::EPOCH, Timestamp::MAX, START - DAY, START + DAY, START];
    for (round, &now) in times.iter().cycle().take(60).enumerate() {
        clock.set(Timestamp::from_millis(now.as_millis().min(i64::MAX / 2)));
        let round = u64::try_from(round).unwrap();
        let mut delayed = spec(2 * round);
        delayed.due = Due::After(Duration::from_secs(round));
        adapter.enqueue(&queue(), vec![delayed, spec(2 * round + 1)]).await.unwrap();
        let claimed = worker.claim(&adapter, 10).await;
        let (dead, rest) = claimed.split_at(claimed.len() / 2);
        let mut settlements = settled(dead, Outcome::Dead);
        settlements.extend(settled(rest, Outcome::Retry(Duration::from_secs(1))));
        worker.exchange(&adapter, settlements, 0).await;
        adapter.sweep(&queue()).await.unwrap();
        adapter.counts(&queue()).await.unwrap();
    }
    // All a clock can do to a job is to delay it, or to have it forgotten once it is dead.
    clock.set(Timestamp::from_millis(i64::MAX / 2) + DAY);
    while adapter.sweep(&queue()).await.unwrap().next == Some(Duration::ZERO) {}
    let counts = adapter.counts(&queue()).await.unwrap();
    assert_eq!((counts.active, counts.delayed), (0, 0));
    assert!(counts.waiting > 0);
}

/// A clock of the system's kind, that timers can disagree with.
#[derive(Debug)]
struct Settable(Arc<TestClock>);

impl Clock for Settable {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn longest_sleep(&self) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_can_be_set_is_looked_at_every_30_seconds_while_something_is_due() {
    let clock = clock();
    let mut connection = connection();
    connection.clock = Arc::new(Settable(clock.clone()));
    let adapter = MemoryAdapter::new(connection).unwrap();
    assert_eq!(adapter.sweep(&queue()).await.unwrap().next, None);

    let mut tomorrow = spec(1);
    tomorrow.due = Due::After(DAY);
    adapter.enqueue(&queue(), vec![tomorrow]).await.unwrap();
    let answer = adapter.sweep(&queue()).await.unwrap();
    assert_eq!(answer.next, Some(Duration::from_secs(30)));
    clock.set(START + DAY);
    assert_eq!(adapter.sweep(&queue()).await.unwrap().promoted, 1);
}

/// Waits, and counts how often the runtime came by.
async fn counting_polls(adapter: &MemoryAdapter, watch: Watch, polls: &AtomicUsize) -> Result<()> {
    let mut wait = pin!(adapter.wait(watch));
    poll_fn(|context| {
        polls.fetch_add(1, Ordering::SeqCst);
        wait.as_mut().poll(context)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn an_idle_store_has_nothing_to_wake_for_in_a_year() {
    let adapter = adapter_under(&clock());
    let mut worker = Worker::new(1);
    adapter.enqueue(&queue(), specs(0..1)).await.unwrap();
    let claimed = worker.claim(&adapter, 1).await;
    let answer = worker.exchange(&adapter, settled(&claimed, Outcome::Complete), 1).await;
    let swept = adapter.sweep(&queue()).await.unwrap();
    assert_eq!(swept.next, None);

    let schedules = adapter.scheduled_jobs().await.unwrap();
    for watch in [
        Watch::Work(queue(), answer.ticket),
        Watch::Sweep(queue(), swept.ticket),
        Watch::Schedules(schedules.ticket),
    ] {
        let polls = AtomicUsize::new(0);
        let year = timeout(365 * DAY, counting_polls(&adapter, watch.clone(), &polls)).await;
        assert!(year.is_err(), "{watch:?} returned");
        // Once when it began, once when the year was over.
        assert!(polls.load(Ordering::SeqCst) <= 2, "{watch:?} has a timer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_queue_does_not_wake_who_sweeps() {
    let adapter = adapter_under(&clock());
    let mut worker = Worker::new(1);
    adapter.enqueue(&queue(), specs(0..100)).await.unwrap();
    let mut claimed = worker.claim(&adapter, 1).await;
    let swept = adapter.sweep(&queue()).await.unwrap();
    for _ in 1..100 {
        sleep(Duration::from_millis(10)).await;
        claimed = worker.exchange(&adapter, settled(&claimed, Outcome::Complete), 1).await.claimed;
    }
    let wait = adapter.wait(Watch::Sweep(queue(), swept.ticket));
    assert!(timeout(Duration::from_secs(1), wait).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_job_kept_for_ever_needs_no_timer() {
    let mut connection = connection();
    connection.settings.keep_dead.age = Duration::MAX;
    let adapter = MemoryAdapter::new(connection).unwrap();
    let mut worker = Worker::new(1);
    adapter.enqueue(&queue(), specs(0..1)).await.unwrap();
    let claimed = worker.claim(&adapter, 1).await;
    worker.exchange(&adapter, settled(&claimed, Outcome::Dead), 0).await;
    assert_eq!(adapter.sweep(&queue()).await.unwrap().next, None);
    let job = adapter.job(&queue(), id(0)).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Dead);
}
