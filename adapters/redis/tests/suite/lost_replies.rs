//! A request that was executed and whose reply is lost is sent again, by the adapter itself, and
//! the effect is that of one.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::monitor::{calls, has};
use crate::support::*;
use crate::workload::by_hand;

/// Does something of which one reply is lost.
async fn lose<T>(
    world: &World,
    is_it: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    call: impl Future<Output = T>,
) -> T {
    let lost = world.proxy.lose_next_reply(is_it);
    let answer = call.await;
    assert!(lost.happened(), "no reply was lost");
    answer
}

/// A worker that holds a job, the job, and another that waits.
async fn with_a_held_job(world: &World) -> (Worker, JobId, JobId) {
    let adapter = world.adapter();
    let (first, second) = (job(), job());
    let ids = (first.id, second.id);
    adapter.enqueue(&work(), vec![first, second]).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    assert_eq!(worker.claim(1).await, [ids.0]);
    (worker, ids.0, ids.1)
}

/// A job that died.
async fn with_a_dead_job(world: &World) -> (Arc<RedisAdapter>, JobId) {
    let (mut worker, job, _) = with_a_held_job(world).await;
    worker.settle(&[(job, Outcome::Dead)]).await;
    (worker.adapter, job)
}

#[tokio::test]
async fn an_enqueue_is_one() {
    let world = World::new();
    let adapter = world.adapter();
    let mut batch = jobs(3);
    batch[2].due = Due::After(Duration::from_hours(1));
    adapter.enqueue(&work(), vec![batch[0].clone()]).await.unwrap();
    let answers = lose(&world, calls("enqueue"), adapter.enqueue(&work(), batch)).await.unwrap();
    assert_eq!(answers, [Enqueued::Existing, Enqueued::New, Enqueued::New], "as the first time");
    let counts = world.other().counts(&work()).await.unwrap();
    assert_eq!((counts.waiting, counts.delayed), (2, 1));
}

#[tokio::test]
async fn an_enqueue_is_one_though_its_jobs_are_done_and_forgotten_when_it_comes_again() {
    is_one_though_forgotten("enqueue", 3).await;
}

#[tokio::test]
async fn a_lone_enqueue_is_one_though_its_job_is_done_and_forgotten_when_it_comes_again() {
    is_one_though_forgotten("push", 1).await;
}

fn completed(job: JobId) -> (JobId, Outcome) {
    (job, Outcome::Complete)
}

async fn is_one_though_forgotten(script: &'static str, count: usize) {
    let world = World::new();
    let adapter = world.adapter();
    let other = world.other_with(|settings| settings.keep_completed.age = Duration::ZERO);
    let mut worker = Worker::new(&other, &work());
    // From now on the time is known, as it has to be for a lone job.
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let done: Vec<_> = worker.claim(1).await.into_iter().map(completed).collect();
    worker.settle(&done).await;
    let lost = world.proxy.lose_next_reply(calls(script));
    // Who sends it again has to wait at the gate, until the job is forgotten.
    let (open, gate) = mpsc::channel::<()>();
    let (arrived, arrives) = mpsc::channel();
    let (gate, is_enqueue) = (Mutex::new(gate), calls(script));
    let _never = world.proxy.lose_next_reply(move |request| {
        if is_enqueue(request) {
            let _ = arrived.send(());
            let _ = gate.lock().unwrap().recv_timeout(LONG);
        }
        false
    });
    let (batch, queue) = (jobs(count), work());
    let mut ids: Vec<_> = batch.iter().map(|job| job.id).collect();
    let enqueueing = tokio::spawn(async move { adapter.enqueue(&queue, batch).await });
    let lost = blocking(move || lost.wait(LONG)).await;
    assert!(lost, "the reply is lost");
    blocking(move || arrives.recv_timeout(LONG)).await.expect("it is sent again");

    assert_eq!(worker.claim(count).await, ids);
    let done: Vec<_> = ids.iter().copied().map(completed).collect();
    worker.settle(&done).await;
    assert_eq!(state(&other, &work(), ids.remove(0)).await, None, "it is forgotten");
    open.send(()).unwrap();

    assert_eq!(enqueueing.await.unwrap().unwrap(), vec![Enqueued::New; count]);
    assert_eq!(worker.claim(1).await, [], "none runs twice");
    assert_eq!(other.counts(&work()).await.unwrap().total(), 0);
}

#[tokio::test]
async fn an_exchange_settles_and_claims_once() {
    let world = World::new();
    let (mut worker, first, second) = with_a_held_job(&world).await;
    let turn = worker.turn(&[(first, Outcome::Retry(Duration::ZERO))], 1);
    let answer = lose(&world, calls("exchange"), worker.exchange(&turn)).await;
    assert_eq!((answer.refused.len(), answer.reconcile), (0, false));
    assert_eq!(answer.claimed.iter().map(|job| job.spec.id).collect::<Vec<_>>(), [second]);
    let other = world.other();
    let settled = other.job(&work(), first).await.unwrap().unwrap();
    assert_eq!((settled.state, settled.attempts), (JobState::Waiting, 1));
    assert_eq!(worker.held_by(&other).await, [second].into());
    worker.settle(&[(second, Outcome::Complete)]).await;
}

#[tokio::test]
async fn a_worker_comes_to_know_of_what_it_lost_its_reply_about() {
    let world = World::new();
    let (mut worker, first, _) = with_a_held_job(&world).await;
    let adapter = worker.adapter.clone();
    let found =
        lose(&world, calls("held"), adapter.held(&work(), worker.incarnation, None)).await.unwrap();
    assert_eq!(found.jobs, [(first, worker.held[&first].generation)]);
    let counts = lose(&world, calls("count"), adapter.counts(&work())).await.unwrap();
    assert_eq!((counts.waiting, counts.active), (1, 1));
    let found = lose(&world, has("HSCAN"), adapter.find(&work(), &Find::new())).await.unwrap();
    assert_eq!(found.jobs.len(), 2);
    let found = lose(&world, calls("look"), adapter.job(&work(), first)).await.unwrap().unwrap();
    assert_eq!(found.state, JobState::Active);
    let queues = lose(&world, has("SMEMBERS"), adapter.queues()).await.unwrap();
    assert_eq!(queues, [work()]);
    lose(&world, has("TIME"), adapter.ping()).await.unwrap();
    worker.settle(&[(first, Outcome::Complete)]).await;
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_once() {
    let world = World::new();
    let (worker, _, second) = with_a_held_job(&world).await;
    let queue = work();
    let cancelling = worker.adapter.cancel_job(&queue, second);
    lose(&world, calls("cancel"), cancelling).await.unwrap();
    let counts = world.other().counts(&work()).await.unwrap();
    assert_eq!((counts.waiting, counts.active, counts.cancelled), (0, 1, 1));
}

#[tokio::test]
async fn a_delayed_job_is_cancelled_once() {
    let world = World::new();
    let adapter = world.adapter();
    let mut job = job();
    job.due = Due::After(Duration::from_hours(1));
    adapter.enqueue(&work(), vec![job.clone()]).await.unwrap();
    lose(&world, calls("cancel"), adapter.cancel_job(&work(), job.id)).await.unwrap();
    let counts = world.other().counts(&work()).await.unwrap();
    assert_eq!((counts.delayed, counts.cancelled, counts.total()), (0, 1, 1));
}

#[tokio::test]
async fn a_worker_is_asked_once_to_cancel_a_job() {
    let world = World::new();
    let (mut worker, first, _) = with_a_held_job(&world).await;
    let adapter = worker.adapter.clone();
    let answer = lose(&world, calls("cancel"), adapter.cancel_job(&work(), first)).await.unwrap();
    assert_eq!(answer, CancelJob::Requested);
    let answer = worker.exchange(&worker.turn(&[], 0)).await;
    assert_eq!(answer.cancelled, [first]);
}

#[tokio::test]
async fn a_job_is_replayed_once() {
    let world = World::new();
    let (adapter, job) = with_a_dead_job(&world).await;
    lose(&world, calls("replay"), adapter.replay(&work(), job)).await.unwrap();
    let counts = world.other().counts(&work()).await.unwrap();
    assert_eq!((counts.waiting, counts.dead, counts.total()), (2, 0, 2));
    let mut worker = Worker::new(&adapter, &work());
    assert_eq!(worker.claim(5).await.len(), 2);
}

#[tokio::test]
async fn a_job_is_discarded_once() {
    let world = World::new();
    let (adapter, job) = with_a_dead_job(&world).await;
    lose(&world, calls("discard"), adapter.discard(&work(), job)).await.unwrap();
    let counts = world.other().counts(&work()).await.unwrap();
    assert_eq!((counts.waiting, counts.dead, counts.total()), (1, 0, 1));
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed() {
    let world = World::new();
    let adapter = world.adapter();
    lose(&world, calls("pause"), adapter.pause(&work())).await.unwrap();
    assert!(world.other().counts(&work()).await.unwrap().paused);
    lose(&world, calls("pause"), adapter.resume(&work())).await.unwrap();
    assert!(!world.other().counts(&work()).await.unwrap().paused);
}

#[tokio::test]
async fn a_due_job_waits_once() {
    let world = World::new();
    let adapter = world.adapter();
    let mut job = job();
    job.due = Due::After(ms(1));
    adapter.enqueue(&work(), vec![job]).await.unwrap();
    sleep(ms(10)).await;
    lose(&world, calls("sweep"), adapter.sweep(&work())).await.unwrap();
    let counts = world.other().counts(&work()).await.unwrap();
    assert_eq!((counts.waiting, counts.total()), (1, 1));
}

#[tokio::test]
async fn a_vanished_worker_counts_one_crash() {
    let world = World::new();
    let adapter = world.adapter_with(|settings| {
        settings.lease = ms(50);
        settings.grace = ms(20);
    });
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    let [id] = worker.claim(1).await[..] else { panic!("there is one job") };
    let lost = world.proxy.lose_next_reply(calls("recover"));
    soon("the worker is given up", async {
        while !lost.happened() {
            adapter.sweep(&work()).await.unwrap();
            sleep(ms(10)).await;
        }
    })
    .await;
    let job = world.other().job(&work(), id).await.unwrap().unwrap();
    assert_eq!((job.state, job.crashes), (JobState::Waiting, 1));
    let late = worker.turn(&[(id, Outcome::Complete)], 0);
    assert!(matches!(worker.try_exchange(&late).await.unwrap(), ExchangeReply::Expired));
    assert_eq!(Worker::new(&adapter, &work()).claim(5).await, [id]);
}

/// A schedule that is due, as it is read.
async fn due(adapter: &RedisAdapter) -> ScheduleRecord {
    let mut definition = schedule("nightly", &work());
    definition.overlap = Overlap::Skip;
    adapter.schedule(definition.clone(), Some(at(1))).await.unwrap();
    record(adapter, &definition.id).await
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

#[tokio::test]
async fn a_firing_makes_one_job_and_says_which() {
    let world = World::new();
    let adapter = world.adapter();
    let firing = Firing::new(&due(&adapter).await, at(1), Some(at(2)));
    let batch = [firing.clone()];
    let fired = lose(&world, calls("fire_plain"), adapter.fire(&batch)).await.unwrap();
    assert_eq!(fired, [Fired::Job(JobId::of_occurrence(&firing.schedule, at(1)))]);
    let other = world.other();
    assert_eq!(other.counts(&work()).await.unwrap().total(), 1);
    let stored = record(&other, &firing.schedule).await;
    assert_eq!((stored.next, stored.fired), (Some(at(2)), 1));
    // Its last occurrence, after which there is something to decide.
    let mut worker = Worker::new(&adapter, &work());
    let job = worker.claim(1).await[0];
    worker.settle(&[(job, Outcome::Complete)]).await;
    let last = Firing::new(&stored, at(2), None);
    let fired =
        lose(&world, calls("fire"), adapter.fire(std::slice::from_ref(&last))).await.unwrap();
    assert_eq!(fired, [Fired::Job(JobId::of_occurrence(&last.schedule, at(2)))]);
    assert_eq!(other.counts(&work()).await.unwrap().waiting, 1);
    assert_eq!(record(&other, &last.schedule).await.fired, 2);
    assert_eq!(other.queues().await.unwrap(), [work()]);
}

#[tokio::test]
async fn an_occurrence_is_overlapped_or_missed_once() {
    let world = World::new();
    let adapter = world.adapter();
    let due = due(&adapter).await;
    adapter.fire(&[Firing::new(&due, at(1), Some(at(2)))]).await.unwrap();
    let overlapped = Firing::new(&due, at(2), Some(at(3)));
    lose(&world, calls("fire"), adapter.fire(&[overlapped])).await.unwrap();
    let mut missed = Firing::new(&due, at(3), Some(at(6)));
    (missed.run, missed.missed) = (None, 3);
    lose(&world, calls("fire"), adapter.fire(&[missed])).await.unwrap();
    let stored = record(&world.other(), &due.schedule.id).await;
    assert_eq!(stored.next, Some(at(6)));
    assert_eq!((stored.fired, stored.overlapped, stored.missed), (1, 1, 3));
}

#[tokio::test]
async fn a_schedule_goes_back_once_and_the_answer_says_so() {
    let world = World::new();
    let adapter = world.adapter();
    let due = due(&adapter).await;
    let mut missed = Firing::new(&due, at(1), Some(at(9)));
    (missed.run, missed.missed) = (None, 8);
    adapter.fire(&[missed]).await.unwrap();
    let ahead = record(&adapter, &due.schedule.id).await;
    let rewind = Rewind::new(&ahead, at(5)).unwrap();
    assert!(lose(&world, calls("rewind"), adapter.rewind(rewind)).await.unwrap());
    let stored = record(&world.other(), &due.schedule.id).await;
    assert_eq!((stored.next, stored.passed.unwrap().resume), (Some(at(5)), Some(at(9))));
}

#[tokio::test]
async fn firings_that_are_sent_together_make_one_job_each() {
    let world = World::new();
    let adapter = world.adapter();
    let mut definition = schedule("hourly", &work());
    definition.overlap = Overlap::Allow;
    adapter.schedule(definition.clone(), Some(at(1))).await.unwrap();
    let due = record(&adapter, &definition.id).await;
    let batch: Vec<_> = (1..=4).map(|n| Firing::new(&due, at(n), Some(at(n + 1)))).collect();
    lose(&world, calls("fire"), adapter.fire(&batch)).await.unwrap();
    let other = world.other();
    assert_eq!(other.counts(&work()).await.unwrap().total(), 4);
    let stored = record(&other, &definition.id).await;
    assert_eq!((stored.next, stored.fired), (Some(at(5)), 4));
}

#[tokio::test]
async fn a_schedule_is_defined_once_and_removed_once() {
    let world = World::new();
    let adapter = world.adapter();
    let definition = schedule("nightly", &work());
    let defining = adapter.schedule(definition.clone(), Some(at(1)));
    lose(&world, calls("schedule"), defining).await.unwrap();
    assert_eq!(record(&world.other(), &definition.id).await.revision, 1);
    let there = lose(&world, calls("unschedule"), adapter.cancel(&definition.id)).await.unwrap();
    assert!(there, "it was there when this call came first");
    assert!(!world.other().is_scheduled(&definition.id).await.unwrap());
}

#[tokio::test]
async fn a_schedule_that_moves_keeps_its_revision_rising() {
    for which in ["unschedule", "schedule"] {
        let world = World::new();
        let adapter = world.adapter();
        let mut definition = schedule("nightly", &work());
        for seconds in 1..=3 {
            definition.timing = Timing::Every { period_ms: seconds * 1000 };
            adapter.schedule(definition.clone(), Some(at(1))).await.unwrap();
        }
        definition.queue = queue("elsewhere");
        let moving = adapter.schedule(definition.clone(), Some(at(7)));
        lose(&world, calls(which), moving).await.unwrap();
        let stored = record(&world.other(), &definition.id).await;
        assert_eq!((stored.schedule.queue.as_str(), stored.next), ("elsewhere", Some(at(7))));
        assert_eq!(stored.revision, 4, "after 3, whatever was lost of {which}");
    }
}

#[tokio::test]
async fn a_trigger_makes_one_job() {
    let world = World::new();
    let adapter = world.adapter();
    let name = due(&adapter).await.schedule.id.clone();
    let trigger = Trigger::new(name.clone(), by_hand(), Duration::from_secs(60));
    let triggering = adapter.trigger(trigger.clone());
    let triggered = lose(&world, calls("trigger"), triggering).await.unwrap();
    assert_eq!(triggered, Triggered::Enqueued(work()), "and does not overlap with itself");
    assert_eq!(world.other().counts(&work()).await.unwrap().total(), 1);
    let stored = record(&world.other(), &name).await;
    assert_eq!(stored.by_hand.map(|run| run.job), Some(trigger.job));
}

#[tokio::test]
async fn what_is_due_once_makes_one_job_and_is_gone() {
    let world = World::new();
    let adapter = world.adapter();
    let mut definition = schedule("once", &work());
    definition.timing = Timing::Once { at: at(1) };
    adapter.schedule(definition.clone(), Some(at(1))).await.unwrap();
    let firing = Firing::new(&record(&adapter, &definition.id).await, at(1), None);
    lose(&world, calls("fire"), adapter.fire(&[firing])).await.unwrap();
    assert_eq!(world.other().counts(&work()).await.unwrap().total(), 1);
    assert!(world.other().scheduled_jobs().await.unwrap().records.is_empty());
}

#[tokio::test]
async fn a_release_is_seen_once() {
    let world = World::new();
    let adapter = world.adapter();
    let app = AppName::new("shop").unwrap();
    let said = |process: &str, number: &str| {
        let release = ReleaseId::parse(number).unwrap();
        let lasts = Duration::from_secs(60);
        Announcement::new(app.clone(), process.into(), release, BTreeSet::new(), lasts)
    };
    adapter.announce(said("old", "1")).await.unwrap();
    let told = lose(&world, calls("declare"), adapter.announce(said("new", "2"))).await.unwrap();
    assert_eq!((told.live, told.ruling), (2, ReleaseId::parse("2").unwrap()));
    lose(&world, calls("withdraw"), adapter.withdraw(&app, "new")).await.unwrap();
    assert_eq!(world.other().announce(said("old", "1")).await.unwrap().live, 1);
}

#[tokio::test]
async fn a_job_that_is_awaited_is_awaited_once() {
    let world = World::new();
    let (mut worker, job, _) = with_a_held_job(&world).await;
    let adapter = world.adapter();
    let lost = world.proxy.lose_next_reply(calls("await"));
    let awaiting = tokio::spawn(async move { adapter.await_finish(&work(), job, LONG).await });
    assert!(blocking(move || lost.wait(LONG)).await);
    worker.settle(&[(job, Outcome::Complete)]).await;
    let ended = soon("the job's end", awaiting).await.unwrap().unwrap().unwrap();
    assert_eq!(ended.state, JobState::Completed);
}

/// A heart does not go on by itself: whoever has it replaces it.
#[tokio::test]
async fn a_beat_fails_as_not_known_and_the_next_heart_renews() {
    let world = World::new();
    let (worker, ..) = with_a_held_job(&world).await;
    let mut heart = worker.adapter.heart().await.unwrap();
    let error =
        lose(&world, calls("beat"), heart.beat(&[worker.beat()])).await.expect_err("it is lost");
    assert_error(&error, ErrorKind::Unavailable, Effect::Unknown, &["beat", &world.proxy.url()]);
    let mut heart = worker.adapter.heart().await.unwrap();
    let replies = heart.beat(&[worker.beat()]).await.unwrap();
    assert_eq!(replies, [BeatReply::Renewed { cancelled: Vec::new() }]);
}

/// What a store knows, but for what differs from run to run.
#[derive(Debug, PartialEq)]
struct Snapshot {
    counts: Vec<(QueueName, Counts)>,
    jobs: Vec<String>,
    schedules: Vec<String>,
}

impl Snapshot {
    async fn of(adapter: &RedisAdapter) -> Self {
        let (mut counts, mut jobs) = (Vec::new(), Vec::new());
        for queue in adapter.queues().await.unwrap() {
            let found = adapter.find(&queue, &Find::new().limit(100)).await.unwrap();
            jobs.extend(found.jobs.into_iter().map(|job| {
                let JobRecord { queue, state, attempts, crashes, generation, .. } = &job;
                let told = job.cancel_requested;
                format!(
                    "{} {queue} {state:?} {attempts} {crashes} {generation} {told}",
                    job.spec.name
                )
            }));
            counts.push((queue.clone(), adapter.counts(&queue).await.unwrap()));
        }
        jobs.sort();
        let schedules = adapter.scheduled_jobs().await.unwrap().records;
        let schedules = schedules.into_iter().map(|mut record| {
            if let Some(last) = &mut record.last {
                last.job = JobId::from_bytes([0; 16]);
            }
            format!("{record:?}")
        });
        Self { counts, jobs, schedules: schedules.collect() }
    }
}

/// A process that does one thing after the other; every call of it must succeed.
async fn tell_a_story(adapter: &Arc<RedisAdapter>) {
    let named = |name: &str| {
        let mut job = job();
        job.name = JobName::new(name).unwrap();
        job
    };
    let batch: Vec<_> = ["a", "b", "c", "d", "e"].map(named).into();
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|place| batch[place].id);
    let hour = Duration::from_hours(1);
    let mut late = named("late");
    late.due = Due::After(hour);
    adapter.enqueue(&work(), batch).await.unwrap();
    adapter.enqueue(&work(), vec![late.clone()]).await.unwrap();

    let mut worker = Worker::new(adapter, &work());
    assert_eq!(worker.claim(3).await, [a, b, c]);
    let turn = worker.turn(&[(a, Outcome::Complete), (b, Outcome::Dead)], 1);
    let answer = worker.exchange(&turn).await;
    assert_eq!(answer.refused, []);
    assert_eq!(answer.claimed[0].spec.id, d);
    let requested = adapter.cancel_job(&work(), d).await.unwrap();
    assert_eq!(requested, CancelJob::Requested);
    for _ in 0..3 {
        let mut heart = match adapter.heart().await {
            Ok(heart) => heart,
            Err(_) => continue,
        };
        if heart.beat(&[worker.beat()]).await.is_ok() {
            break;
        }
    }
    let turn = worker.turn(&[(c, Outcome::Retry(hour)), (d, Outcome::Cancel)], 0);
    assert_eq!(worker.exchange(&turn).await.refused, []);
    adapter.cancel_job(&work(), late.id).await.unwrap();
    adapter.cancel_job(&work(), e).await.unwrap();
    adapter.replay(&work(), b).await.unwrap();
    adapter.discard(&work(), a).await.unwrap();
    adapter.pause(&work()).await.unwrap();
    adapter.sweep(&work()).await.unwrap();
    adapter.resume(&work()).await.unwrap();

    let mut definition = schedule("nightly", &work());
    let name = definition.id.clone();
    adapter.schedule(definition.clone(), Some(at(1))).await.unwrap();
    definition.queue = queue("elsewhere");
    adapter.schedule(definition.clone(), Some(at(1))).await.unwrap();
    let stored = record(adapter, &name).await;
    let firing = Firing::new(&stored, at(1), Some(at(2)));
    let fired = adapter.fire(&[firing]).await.unwrap();
    assert_eq!(fired, [Fired::Job(JobId::of_occurrence(&name, at(1)))]);
    adapter.trigger(Trigger::new(name, id(), hour)).await.unwrap();
    let other = schedule("hourly", &work());
    adapter.schedule(other.clone(), Some(at(1))).await.unwrap();
    assert!(adapter.cancel(&other.id).await.unwrap());
}

#[tokio::test]
async fn whichever_reply_is_lost_the_outcome_is_the_same() {
    let server = Arc::new(RedisServer::start());
    let expected = {
        let adapter =
            Arc::new(RedisAdapter::new(connection(&server.url(), "undisturbed", |_| {})).unwrap());
        tell_a_story(&adapter).await;
        Arc::new(Snapshot::of(&adapter).await)
    };
    let next = Arc::new(AtomicUsize::new(1));
    let lost_in_all = Arc::new(AtomicUsize::new(0));
    let mut runners = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (server, next) = (server.clone(), next.clone());
        let (expected, lost_in_all) = (expected.clone(), lost_in_all.clone());
        runners.spawn(async move {
            loop {
                let which = next.fetch_add(1, Ordering::SeqCst);
                let proxy = Proxy::start(server.address());
                let seen = AtomicUsize::new(0);
                let lost = proxy
                    .lose_next_reply(move |_| seen.fetch_add(1, Ordering::SeqCst) + 1 == which);
                let namespace = format!("story-{which}");
                let connection = connection(&proxy.url(), &namespace, |_| {});
                let adapter = Arc::new(RedisAdapter::new(connection).unwrap());
                tell_a_story(&adapter).await;
                let found = Snapshot::of(&adapter).await;
                if !lost.happened() {
                    return;
                }
                lost_in_all.fetch_add(1, Ordering::SeqCst);
                assert_eq!(found, *expected, "request {which} was executed twice");
                blocking(move || drop(proxy)).await;
            }
        });
    }
    soon("all stories end", async {
        while let Some(ended) = runners.join_next().await {
            ended.unwrap();
        }
    })
    .await;
    assert!(lost_in_all.load(Ordering::SeqCst) > 40, "a story has many requests");
}
