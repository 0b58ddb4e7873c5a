//! A schedule is stored in two places, what changes and what is defined, and read as one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::*;

#[tokio::test]
async fn a_schedule_that_is_defined_anew_while_it_is_read_is_read_as_one() {
    let world = World::new();
    let (writer, reader) = (world.adapter(), world.other());
    let payload = |revision: u64| Payload::from_json_bytes(revision.to_string());
    let define = async |revision| {
        let mut definition = schedule("nightly", &work());
        definition.template.payload = payload(revision);
        writer.schedule(definition, Some(Timestamp::EPOCH)).await.unwrap();
    };
    define(1).await;
    let is_over = AtomicBool::new(false);
    let writing = async {
        for revision in 2..=300 {
            define(revision).await;
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let reading = async {
        let mut read = Vec::new();
        while !is_over.load(Ordering::SeqCst) {
            let due = reader.due(None, Duration::ZERO, 10).await.unwrap();
            assert_eq!((due.queues.len(), due.unread.len()), (1, 0));
            read.extend(due.queues.into_iter().flat_map(|queue| queue.records));
            read.extend(reader.scheduled_jobs().await.unwrap().records);
        }
        read
    };
    let ((), read) = tokio::join!(writing, reading);
    assert!(read.len() > 20, "it was read meanwhile");
    for record in &read {
        assert_eq!(record.schedule.template.payload, payload(record.revision));
    }
    let found = read.windows(2).filter(|pair| pair[0].revision != pair[1].revision).count();
    assert!(found > 5, "it was defined anew in between");
}

#[tokio::test]
async fn what_was_planned_together_of_one_schedule_is_fired_without_reading_it_again() {
    let world = World::new();
    let adapter = world.adapter();
    let mut definition = schedule("often", &work());
    definition.overlap = Overlap::Allow;
    let at = |ms: i64| Timestamp::from_millis(ms);
    adapter.schedule(definition, Some(at(1000))).await.unwrap();
    let due = adapter.due(None, Duration::ZERO, 10).await.unwrap();
    let record = &due.queues[0].records[0];
    adapter.fire(&[Firing::new(record, at(1000), Some(at(2000)))]).await.unwrap();
    let before = calls(&world);
    let fired = adapter.fire(&[Firing::new(record, at(2000), Some(at(3000)))]).await.unwrap();
    assert!(matches!(fired[..], [Fired::Job(_)]));
    // One script, which reads the schedule's state, and whether there may be a job already.
    let now = calls(&world);
    assert_eq!([0, 1, 2].map(|at| now[at] - before[at]), [1, 1, 1]);
}

#[tokio::test]
async fn who_fires_what_they_have_not_looked_for_reads_it_together() {
    let world = World::new();
    let (looker, firer) = (world.adapter(), world.other());
    let at = |ms: i64| Timestamp::from_millis(ms);
    for number in 0..100 {
        let queue = queue(if number % 2 == 0 { "even" } else { "odd" });
        let definition = schedule(&format!("number-{number}"), &queue);
        looker.schedule(definition, Some(at(1000))).await.unwrap();
    }
    let due = looker.due(None, Duration::ZERO, 100).await.unwrap();
    let records = due.queues.iter().flat_map(|queue| &queue.records);
    let firings: Vec<_> =
        records.map(|record| Firing::new(record, at(1000), Some(at(2000)))).collect();
    let before = calls(&world);
    let fired = firer.fire(&firings).await.unwrap();
    assert_eq!(fired.len(), 100);
    assert!(fired.iter().all(|fired| matches!(fired, Fired::Job(_))), "{fired:?}");
    // The index, then of each queue states and definitions; and in the script of each, the states
    // again, and whether there may be a job already.
    let now = calls(&world);
    assert_eq!([0, 1, 2].map(|at| now[at] - before[at]), [2, 2, 7]);
}

/// How often scripts, HGET and HMGET were called.
fn calls(world: &World) -> [u32; 3] {
    let stats = world.server.info("commandstats");
    let sent = ["evalsha", "hget", "hmget"].map(|name| stats.get(&format!("cmdstat_{name}")));
    let calls = |stat: &String| stat.split(',').next()?.strip_prefix("calls=")?.parse().ok();
    sent.map(|stat| stat.and_then(calls).unwrap_or(0))
}

#[tokio::test]
async fn who_fires_late_without_knowing_the_time_leaves_it_to_the_server() {
    let world = World::new();
    let adapter = world.adapter();
    let before = adapter.ping().await.unwrap().now;
    let due = before - Duration::from_millis(500);
    adapter.schedule(schedule("late", &work()), Some(due)).await.unwrap();
    let record = adapter.scheduled_job(&ScheduleId::new("late").unwrap()).await.unwrap().unwrap();
    let fired = adapter.fire(&[Firing::new(&record, due, Some(before))]).await.unwrap();
    let [Fired::Job(job)] = fired[..] else { panic!("it made no job: {fired:?}") };
    let job = adapter.job(&work(), job).await.unwrap().unwrap();
    assert!(before <= job.enqueued_at && job.enqueued_at == job.due_at);
}

#[tokio::test]
async fn nothing_is_remembered_of_runs_but_how_the_last_of_each_schedule_ended() {
    let world = World::new();
    let remembered = || world.server.call(&["HLEN", "{test:work}:runs"]).int();
    for keeps in [false, true] {
        let age = Duration::from_secs(if keeps { 60 } else { 0 });
        let adapter = world.adapter_with(|settings| settings.keep_completed.age = age);
        let id = ScheduleId::new("often").unwrap();
        let mut definition = schedule("often", &work());
        definition.overlap = Overlap::Allow;
        adapter.schedule(definition, Some(Timestamp::EPOCH)).await.unwrap();
        let mut worker = Worker::new(&adapter, &work());
        let fire = async || {
            let record = record(&adapter, &id).await;
            let next = record.next.unwrap();
            let firing = Firing::new(&record, next, Some(next + Duration::from_secs(1)));
            assert!(matches!(adapter.fire(&[firing]).await.unwrap()[..], [Fired::Job(_)]));
        };
        for _ in 0..3 {
            fire().await;
        }
        assert_eq!(remembered(), 0, "none of them has ended");
        let jobs = worker.claim(3).await;
        for (job, outcome) in [(2, Outcome::Complete), (0, Outcome::Complete), (1, Outcome::Dead)] {
            worker.settle(&[(jobs[job], outcome)]).await;
            assert_eq!(remembered(), 1, "the last of them has ended");
        }
        adapter.replay(&work(), jobs[1]).await.unwrap();
        worker.claim(1).await;
        worker.settle(&[(jobs[1], Outcome::Complete)]).await;
        assert_eq!(remembered(), 1);
        fire().await;
        assert_eq!(remembered(), 0, "there is another last run");
        adapter.cancel(&id).await.unwrap();
        let last = worker.claim(1).await;
        worker.settle(&[(last[0], Outcome::Complete)]).await;
        assert_eq!(remembered(), 0, "its schedule is no more");
    }
}
