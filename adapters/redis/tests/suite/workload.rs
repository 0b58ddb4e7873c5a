//! A workload that calls every method of the adapter, in all the ways that lead to other steps of
//! its scripts. That the answers are right is shown elsewhere; here only that there are any.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::*;

/// A lease that passes soon.
const LEASE: Duration = ms(300);
const GRACE: Duration = ms(100);

/// What is kept so long is forgotten soon.
const BRIEF: Duration = ms(50);

/// How the processes of the workload see their store.
pub fn settings(settings: &mut StoreSettings) {
    settings.lease = LEASE;
    settings.grace = GRACE;
    // Where nobody tells.
    settings.idle_poll = Some(BRIEF);
    settings.keep_completed.count = 2;
    settings.keep_dead.count = 2;
}

/// Runs it through, in processes of this URL.
pub async fn run(url: &str) {
    let adapter = open_with(url, settings);
    adapter.ping().await.expect("the server answers");
    run_jobs(&adapter, &work()).await;
    operate(&adapter).await;
    lose_workers(&adapter).await;
    fire(&adapter).await;
    // A process that keeps nothing, and whose jobs run alone.
    let other = open_with(url, |all| {
        settings(all);
        all.max_crashes = 1;
        all.keep_completed.age = Duration::ZERO;
        all.keep_dead.age = Duration::ZERO;
    });
    run_jobs(&other, &queue("alone")).await;
    operate(&other).await;
    fire(&other).await;
    forget(&other).await;
    for adapter in [&adapter, &other] {
        adapter.shutdown().await.unwrap();
    }
}

/// Enqueues jobs of every kind and settles them in every way.
async fn run_jobs(adapter: &Arc<RedisAdapter>, queue: &QueueName) {
    let mut batch = jobs(20);
    for (place, job) in batch.iter_mut().enumerate() {
        job.priority = Priority::ALL[place % 5];
        job.keep_result = (place % 3 == 0).then_some(Duration::from_secs(60));
        job.due = match place {
            17 => Due::After(ms(200)),
            18 => Due::At(Timestamp::from_millis(1)),
            19 => Due::After(Duration::from_hours(1)),
            _ => Due::Now,
        };
    }
    // Due when somebody awaits it for long.
    let watched = batch[17].id;
    let mut worker = Worker::new(adapter, queue);
    let waiting = worker.exchange(&worker.turn(&[], 5)).await;
    adapter.sweep(queue).await.unwrap();
    adapter.enqueue(queue, batch.clone()).await.unwrap();
    adapter.enqueue(queue, batch).await.unwrap();
    soon("a wake-up", adapter.wait(Watch::Work(queue.clone(), waiting.ticket))).await.unwrap();
    let (ended, ()) = tokio::join!(
        adapter.await_finish(queue, watched, LONG),
        run_until_nothing_is_left(adapter, &mut worker)
    );
    ended.unwrap();
}

/// Settles jobs in every way, and at last so that they end.
async fn run_until_nothing_is_left(adapter: &Arc<RedisAdapter>, worker: &mut Worker) {
    let outcomes = [
        Outcome::Complete,
        Outcome::Retry(Duration::ZERO),
        Outcome::Retry(BRIEF),
        Outcome::Dead,
        Outcome::Cancel,
        Outcome::Release(Duration::ZERO),
        Outcome::Release(BRIEF),
    ];
    let deadline = Instant::now() + LONG;
    let mut round = 0;
    loop {
        assert!(Instant::now() < deadline, "there is always another job");
        let mut turn = worker.turn(&[], 7);
        turn.solo = true;
        let answer = worker.exchange(&turn).await;
        let again = adapter.exchange(&turn).await.unwrap();
        assert!(matches!(again, ExchangeReply::Answered(_)));
        let held: Vec<_> = worker.held.keys().copied().collect();
        if held.is_empty() && !answer.more {
            let swept = adapter.sweep(&worker.queue).await.unwrap();
            // One job is due in an hour.
            if adapter.counts(&worker.queue).await.unwrap().delayed == 1 && !swept.claimable {
                return;
            }
            sleep(swept.next.unwrap_or_default().min(BRIEF)).await;
            continue;
        }
        let outcome = |place: usize| match round {
            0..30 => outcomes[(round + place) % outcomes.len()],
            _ => outcomes[[0, 3, 4][place % 3]],
        };
        let settled: Vec<_> =
            held.iter().enumerate().map(|(place, job)| (*job, outcome(place))).collect();
        worker.settle(&settled).await;
        round += 1;
    }
}

/// Looks and operates.
async fn operate(adapter: &Arc<RedisAdapter>) {
    let queue = work();
    let mut batch = jobs(8);
    batch[0].due = Due::After(Duration::from_hours(1));
    batch[4].keep_result = Some(Duration::from_hours(1));
    let ids: Vec<_> = batch.iter().map(|job| job.id).collect();
    adapter.enqueue(&queue, batch).await.unwrap();
    let mut worker = Worker::new(adapter, &queue);
    let mut turn = worker.turn(&[], 3);
    turn.solo = true;
    worker.exchange(&turn).await;
    let held: Vec<_> = worker.held.keys().copied().collect();
    let mut heart = adapter.heart().await.unwrap();
    for job in ids.iter().filter(|job| !held.contains(job)).take(3).chain([&held[0], &id()]) {
        adapter.cancel_job(&queue, *job).await.unwrap();
        adapter.cancel_job(&queue, *job).await.unwrap();
    }
    let beats = [worker.beat(), Beat::new(queue.clone(), incarnation(), 0)];
    heart.beat(&beats).await.unwrap();
    worker.exchange(&worker.turn(&[], 0)).await;
    adapter.held(&queue, worker.incarnation, None).await.unwrap();
    adapter.held(&queue, incarnation(), None).await.unwrap();

    adapter.pause(&queue).await.unwrap();
    adapter.pause(&queue).await.unwrap();
    assert_eq!(worker.claim(5).await, []);
    adapter.resume(&queue).await.unwrap();
    adapter.resume(&queue).await.unwrap();

    let settled: Vec<_> = held.iter().map(|job| (*job, Outcome::Dead)).collect();
    worker.settle(&settled).await;
    for job in &ids {
        adapter.job(&queue, *job).await.unwrap();
        adapter.replay(&queue, *job).await.unwrap();
        adapter.await_finish(&queue, *job, Duration::ZERO).await.unwrap();
    }
    adapter.counts(&queue).await.unwrap();
    adapter.queues().await.unwrap();
    let mut find = Find::new().limit(3);
    loop {
        find.after = adapter.find(&queue, &find).await.unwrap().next;
        if find.after.is_none() {
            break;
        }
    }
    for job in &ids {
        adapter.cancel_job(&queue, *job).await.unwrap();
        adapter.discard(&queue, *job).await.unwrap();
    }
}

/// Workers vanish with their jobs, until the last one is dead.
async fn lose_workers(adapter: &Arc<RedisAdapter>) {
    let queue = queue("crashes");
    let job = job();
    let other = crate::support::job();
    adapter.enqueue(&queue, vec![job.clone(), other.clone()]).await.unwrap();
    for crash in 1..=3 {
        let mut worker = Worker::new(adapter, &queue);
        let mut turn = worker.turn(&[], 2);
        turn.solo = true;
        worker.exchange(&turn).await;
        assert!(!worker.held.is_empty());
        if crash == 1 {
            adapter.cancel_job(&queue, other.id).await.unwrap();
        }
        let deadline = Instant::now() + LONG;
        while adapter.sweep(&queue).await.unwrap().recovered.is_empty() {
            assert!(Instant::now() < deadline, "the worker is never given up");
            sleep(ms(20)).await;
        }
        let late = worker.turn(&[], 1);
        let reply = worker.try_exchange(&late).await.unwrap();
        assert!(matches!(reply, ExchangeReply::Expired));
    }
    assert_eq!(state(adapter, &queue, job.id).await, Some(JobState::Dead));
}

/// Defines, moves, fires, triggers and removes schedules.
async fn fire(adapter: &Arc<RedisAdapter>) {
    let (first, second) = (queue("first"), queue("second"));
    let definition = schedule("nightly", &first);
    let name = definition.id.clone();
    let at = |seconds: i64| Some(Timestamp::from_millis(seconds * 1000));
    let before = adapter.scheduled_jobs().await.unwrap().ticket;
    adapter.schedule(definition.clone(), at(1)).await.unwrap();
    adapter.schedule(definition.clone(), at(1)).await.unwrap();
    let mut changed = definition.clone();
    changed.template.keep_result = Some(Duration::from_secs(60));
    adapter.schedule(changed.clone(), at(1)).await.unwrap();
    soon("schedules change", adapter.wait(Watch::Schedules(before))).await.unwrap();
    assert!(adapter.is_scheduled(&name).await.unwrap());

    let stored = record(adapter, &name).await;
    let due = Firing::new(&stored, at(1).unwrap(), at(2));
    let mut overlapping = Firing::new(&stored, at(2).unwrap(), at(3));
    overlapping.missed = 1;
    let mut missed = Firing::new(&stored, at(3).unwrap(), at(1 << 40));
    (missed.run, missed.missed) = (None, 1);
    let early = Firing::new(&stored, at(1 << 40).unwrap(), None);
    let fired = adapter.fire(&[due.clone(), due, overlapping, missed, early]).await.unwrap();
    assert_eq!(&fired[2..], [Fired::Overlapped, Fired::Missed, Fired::Early]);
    let ahead = record(adapter, &name).await;
    assert!(adapter.rewind(Rewind::new(&ahead, at(3).unwrap()).unwrap()).await.unwrap());
    // One that finds nothing to decide.
    let plain = schedule("plain", &first);
    adapter.schedule(plain.clone(), at(1)).await.unwrap();
    let firing = Firing::new(&record(adapter, &plain.id).await, at(1).unwrap(), at(1 << 40));
    assert!(matches!(adapter.fire(&[firing]).await.unwrap()[..], [Fired::Job(_)]));
    assert!(adapter.cancel(&plain.id).await.unwrap());
    queue_one(adapter, &first).await;

    // Beside the run that waits, and not.
    let mut trigger = Trigger::new(name.clone(), by_hand(), Duration::from_secs(1));
    assert!(matches!(adapter.trigger(trigger.clone()).await.unwrap(), Triggered::Overlapped(_)));
    trigger.overlap = TriggerOverlap::Allow;
    adapter.trigger(trigger).await.unwrap();
    assert!(adapter.pause_schedule(&name).await.unwrap());
    assert!(adapter.resume_schedule(&name, at(1)).await.unwrap());
    adapter.due(None, Duration::ZERO, 10).await.unwrap();
    announce(adapter).await;
    // Jobs that one by one are enqueued otherwise than in a batch.
    adapter.enqueue(&first, vec![job()]).await.unwrap();
    let mut moved = changed;
    moved.queue = second;
    adapter.schedule(moved, at(1)).await.unwrap();
    assert!(adapter.cancel(&name).await.unwrap());
    assert!(!adapter.cancel(&name).await.unwrap());
}

/// An occurrence is queued behind a run, and makes its job when that has ended; of a schedule that is
/// due once.
async fn queue_one(adapter: &Arc<RedisAdapter>, queue: &QueueName) {
    let once = Timestamp::from_millis(5000);
    let mut definition = schedule("once", queue);
    definition.timing = Timing::Once { at: once };
    definition.overlap = Overlap::Queue;
    definition.template.priority = Priority::Critical;
    let name = definition.id.clone();
    adapter.schedule(definition, Some(once)).await.unwrap();
    let by_hand = Trigger::new(name.clone(), by_hand(), Duration::from_secs(1));
    adapter.trigger(by_hand.clone()).await.unwrap();
    let firing = Firing::new(&record(adapter, &name).await, once, None);
    assert_eq!(adapter.fire(&[firing]).await.unwrap(), [Fired::Queued]);
    adapter.cancel_job(queue, by_hand.job).await.unwrap();
    let due = adapter.due(Some(std::slice::from_ref(queue)), Duration::ZERO, 10).await.unwrap();
    let queued = due.queues[0].records.iter().find(|record| record.schedule.id == name).unwrap();
    let firing = Firing::of_queued(queued, once);
    assert!(matches!(adapter.fire(&[firing]).await.unwrap()[..], [Fired::Job(_)]));
    assert!(!adapter.is_scheduled(&name).await.unwrap());
}

/// Two releases come, and one goes.
async fn announce(adapter: &Arc<RedisAdapter>) {
    let app = AppName::new("shop").unwrap();
    for (process, number) in [("old", "1"), ("new", "2")] {
        let release = ReleaseId::parse(number).unwrap();
        let declares = BTreeSet::from([ScheduleId::new("nightly").unwrap()]);
        let lasts = Duration::from_secs(60);
        let said = Announcement::new(app.clone(), process.into(), release, declares, lasts);
        adapter.announce(said).await.unwrap();
    }
    adapter.withdraw(&app, "old").await.unwrap();
}

/// An id of a run by hand.
pub fn by_hand() -> JobId {
    JobId::by_hand(fastrand::u128(..).to_be_bytes())
}

/// A job becomes too old to be kept, where none is kept but for its result.
async fn forget(adapter: &Arc<RedisAdapter>) {
    let queue = queue("brief");
    let mut batch = jobs(2);
    batch[0].keep_result = Some(BRIEF);
    adapter.enqueue(&queue, batch).await.unwrap();
    let mut worker = Worker::new(adapter, &queue);
    for _ in 0..2 {
        let mut turn = worker.turn(&[], 1);
        turn.solo = true;
        worker.exchange(&turn).await;
        let job = *worker.held.keys().next().unwrap();
        worker.settle(&[(job, Outcome::Complete)]).await;
    }
    sleep(BRIEF).await;
    assert_eq!(adapter.sweep(&queue).await.unwrap().trimmed, 1);
}
