//! How many jobs the store holds, and what it says when it is full.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.

mod kit;

use kit::{Worker, adapter_for, connection, id, queue, settled, spec, specs};
use shiftwork_adapter::{
    Effect, Enqueued, ErrorKind, Fired, Firing, JobAdapter, JobName, JobTemplate, Outcome, Payload,
    Schedule, ScheduleId, Timing, Trigger,
};
use shiftwork_memory::MemoryAdapter;

#[tokio::test(start_paused = true)]
async fn a_batch_without_room_is_refused_whole_and_says_what_to_do() {
    let adapter = adapter_for("3");
    adapter.enqueue(&queue(), specs(0..2)).await.unwrap();

    let error = adapter.enqueue(&queue(), specs(2..4)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Capacity, Effect::None));
    assert!(error.is_retryable());
    let message = error.to_string();
    for part in ["enqueue", "no room for 2 more", "2 jobs of at most 3", "JOBS_MEMORY_CAPACITY"] {
        assert!(message.contains(part), "{part:?} is missing: {message}");
    }
    assert_eq!(adapter.counts(&queue()).await.unwrap().total(), 2);
    adapter.enqueue(&queue(), specs(2..3)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_resend_to_a_full_store_is_known_and_needs_no_room() {
    let adapter = adapter_for("2");
    adapter.enqueue(&queue(), specs(0..2)).await.unwrap();
    assert_eq!(adapter.enqueue(&queue(), specs(0..2)).await.unwrap(), [Enqueued::Existing; 2]);
}

#[tokio::test(start_paused = true)]
async fn two_of_one_id_take_the_room_of_one() {
    let adapter = adapter_for("1");
    let answers = adapter.enqueue(&queue(), vec![spec(7), spec(7)]).await.unwrap();
    assert_eq!(answers, [Enqueued::New, Enqueued::Existing]);
    assert!(adapter.enqueue(&queue(), vec![spec(8)]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ends_and_is_not_kept_makes_room() {
    let adapter = adapter_for("10");
    let mut worker = Worker::new(1);
    for round in 0..50 {
        adapter.enqueue(&queue(), specs(round * 10..round * 10 + 10)).await.unwrap();
        let claimed = worker.claim(&adapter, 10).await;
        worker.exchange(&adapter, settled(&claimed, Outcome::Complete), 0).await;
    }
    assert_eq!(adapter.counts(&queue()).await.unwrap().total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_takes_room_until_it_is_discarded() {
    let adapter = adapter_for("1");
    let mut worker = Worker::new(1);
    adapter.enqueue(&queue(), specs(0..1)).await.unwrap();
    let claimed = worker.claim(&adapter, 1).await;
    worker.exchange(&adapter, settled(&claimed, Outcome::Dead), 0).await;
    assert!(adapter.enqueue(&queue(), specs(1..2)).await.is_err());
    adapter.discard(&queue(), id(0)).await.unwrap();
    adapter.enqueue(&queue(), specs(1..2)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_finds_the_store_full_keeps_its_occurrence() {
    let adapter = adapter_for("1");
    adapter.enqueue(&queue(), specs(0..1)).await.unwrap();
    let nightly = ScheduleId::new("nightly").unwrap();
    let template = JobTemplate::new(JobName::new("report").unwrap(), Payload::none());
    let timing = Timing::Every { period_ms: 1000 };
    let schedule = Schedule::new(nightly.clone(), queue(), timing, template);
    adapter.schedule(schedule, Some(kit::START)).await.unwrap();
    let record = adapter.scheduled_jobs().await.unwrap().records.remove(0);
    let firing = Firing::new(&record, kit::START, None);

    let error = adapter.fire(std::slice::from_ref(&firing)).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Capacity, "fire"));
    let trigger = Trigger::new(nightly, id(1), std::time::Duration::ZERO);
    assert_eq!(adapter.trigger(trigger).await.unwrap_err().kind(), ErrorKind::Capacity);
    assert_eq!(adapter.scheduled_jobs().await.unwrap().records, [record]);

    adapter.cancel_job(&queue(), id(0)).await.unwrap();
    assert!(matches!(adapter.fire(&[firing]).await.unwrap()[..], [Fired::Job(_)]));
}

#[tokio::test(start_paused = true)]
async fn a_capacity_that_is_none_is_refused_by_name_value_and_range() {
    for value in ["", "0", "-1", "many", "1e6", "100000001", &"9".repeat(10_000)] {
        let mut connection = connection();
        connection.variables.insert("JOBS_MEMORY_CAPACITY", value.into());
        let error = MemoryAdapter::new(connection).err().expect("it is out of range");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let message = error.to_string();
        assert!(message.contains("JOBS_MEMORY_CAPACITY is \""), "{message}");
        assert!(message.contains("from 1 to 100000000"), "{message}");
        assert!(message.len() < 300, "{message}");
    }
}
