//! What is put in comes out, whatever it is.

use std::num::NonZeroU32;
use std::time::Duration;

use super::kit::name;
use super::{Kit, case_list};
use crate::{
    Due, Enqueued, JobSpec, JobTemplate, MAX_NAME_LEN, Payload, Priority, QueueName, Schedule,
    ScheduleId, ScheduledBy, Scope, Timestamp, Timing,
};

case_list! {
    "payloads", __conformance_payloads:
    every_byte_comes_back,
    an_empty_payload_comes_back_empty,
    a_payload_of_a_mebibyte_comes_back,
    many_large_payloads_are_all_claimed,
    text_of_every_script_comes_back,
    provenance_comes_back,
    limits_come_back,
    every_priority_comes_back,
    times_at_the_edges_come_back,
    names_of_the_greatest_length_are_taken,
    names_that_look_like_numbers_or_keys_are_taken,
}

async fn every_byte_comes_back(kit: Kit) {
    let bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let mut spec = kit.new_job();
    spec.payload = Payload::from_json_bytes(bytes);
    assert_comes_back(&kit, spec).await;
}

async fn an_empty_payload_comes_back_empty(kit: Kit) {
    let mut spec = kit.new_job();
    spec.payload = Payload::from_json_bytes("");
    assert_comes_back(&kit, spec).await;
}

async fn a_payload_of_a_mebibyte_comes_back(kit: Kit) {
    let mut spec = kit.new_job();
    let bytes: Vec<u8> =
        (0..1 << 20).map(|place: u32| (place.wrapping_mul(31) >> 3) as u8).collect();
    spec.payload = Payload::from_json_bytes(bytes);
    assert_comes_back(&kit, spec).await;
}

async fn many_large_payloads_are_all_claimed(kit: Kit) {
    let mut jobs = Vec::new();
    for _ in 0..5 {
        let mut spec = kit.new_job();
        spec.payload = Payload::from_json_bytes(vec![b'x'; 600_000]);
        jobs.push(kit.add(spec).await);
    }
    // In as many claims as the store needs for it.
    let mut worker = kit.worker();
    let claimed = worker.claim(5).await;
    assert_eq!(super::kit::ids(&claimed), jobs);
    assert!(claimed.iter().all(|claimed| claimed.spec.payload.len() == 600_000));
}

async fn text_of_every_script_comes_back(kit: Kit) {
    let mut spec = kit.new_job();
    let text = "Grüße, 世界! Привет \u{0} \u{1F680} \"quoted\" \\ \r\n \u{2028} {a}:*";
    spec.payload = Payload::json(text).expect("text is JSON");
    assert_comes_back(&kit, spec).await;
}

async fn provenance_comes_back(kit: Kit) {
    let mut spec = kit.new_job();
    let provenance = spec.provenance_mut();
    provenance.scope = Some(Scope::new("mandant-ü", "日本 {x}:y"));
    provenance.actor = Some("user:17 \"x\"".into());
    provenance.correlation_id = Some("c\u{0}d".into());
    provenance.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    provenance.schedule = Some(ScheduledBy {
        schedule: ScheduleId::new("nightly").expect("a valid name"),
        occurrence: Timestamp::from_millis(1_772_330_400_123),
    });
    assert_comes_back(&kit, spec).await;

    let mut spec = kit.new_job();
    spec.provenance_mut().scope = Some(Scope::tenant(""));
    assert_comes_back(&kit, spec).await;
}

async fn limits_come_back(kit: Kit) {
    let mut spec = kit.new_job();
    spec.attempts = NonZeroU32::new(25);
    spec.timeout = Some(Duration::from_millis(1500));
    spec.keep_result = Some(Duration::from_hours(24));
    assert_comes_back(&kit, spec).await;

    let mut spec = kit.new_job();
    spec.attempts = NonZeroU32::new(u32::MAX);
    spec.timeout = Some(Duration::from_hours(24 * 365));
    assert_comes_back(&kit, spec).await;
}

async fn every_priority_comes_back(kit: Kit) {
    for priority in Priority::ALL {
        let mut spec = kit.new_job();
        spec.priority = priority;
        assert_comes_back(&kit, spec).await;
    }
}

async fn times_at_the_edges_come_back(kit: Kit) {
    for instant in [Timestamp::from_millis(i64::MIN), Timestamp::from_millis(-1), Timestamp::EPOCH]
    {
        let mut spec = kit.new_job();
        spec.due = Due::At(instant);
        assert_comes_back(&kit, spec).await;
    }
    let mut spec = kit.new_job();
    spec.due = Due::At(Timestamp::MAX);
    kit.add(spec.clone()).await;
    let record = kit.record(spec.id).await;
    assert_eq!((&*record.spec, record.due_at), (&spec, Timestamp::MAX));
}

async fn names_of_the_greatest_length_are_taken(kit: Kit) {
    let longest = "x".repeat(MAX_NAME_LEN);
    assert_names_are_taken(&kit, &longest).await;
}

async fn names_that_look_like_numbers_or_keys_are_taken(kit: Kit) {
    for name in ["0", "00", "1e5", "a.b-c_d", "null", "true", "A"] {
        assert_names_are_taken(&kit, name).await;
    }
}

/// As the name of a queue, of a job and of a schedule.
async fn assert_names_are_taken(kit: &Kit, text: &str) {
    let queue = QueueName::new(text).expect("a valid name");
    let schedule = ScheduleId::new(text).expect("a valid name");
    let mut spec = kit.new_job();
    spec.name = name(text);
    let answer = kit.enqueue(&queue, vec![spec.clone()]).await;
    assert_eq!(answer.expect("the store enqueues"), [Enqueued::New]);
    assert_eq!(*kit.worker_in(&queue).claim_one().await.spec, spec);
    assert!(kit.queues().await.expect("the store names its queues").contains(&queue));

    let template = JobTemplate::new(name(text), Payload::none());
    let timing = Timing::Every { period_ms: u64::MAX };
    let definition = Schedule::new(schedule.clone(), queue, timing, template);
    kit.define(definition.clone(), Some(Timestamp::MAX)).await;
    assert_eq!(*kit.schedule_of(&schedule).await.schedule, definition);
    assert!(kit.cancel(&schedule).await.expect("the store cancels"));
}

/// The job is looked up and claimed exactly as it was enqueued.
async fn assert_comes_back(kit: &Kit, spec: JobSpec) {
    let (_worker, claimed) = kit.claimed_of(spec.clone()).await;
    // Payloads do not show: they are compared apart, so that a failure says where.
    assert!(claimed.spec.payload == spec.payload, "the payload is claimed as it was");
    assert_eq!(*claimed.spec, spec);
    assert_eq!(*kit.record(spec.id).await.spec, spec);
}
