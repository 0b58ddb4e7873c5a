//! A schedule's job can be run by hand, apart from its cadence.

use std::time::Duration;

use super::schedules::id;
use super::{Kit, case_list};
use crate::{
    Fired, JobState, Outcome, Overlap, Payload, Priority, Scope, Trigger, TriggerOverlap, Triggered,
};

case_list! {
    "trigger", __conformance_trigger:
    a_trigger_makes_the_schedules_job_now,
    a_trigger_tells_the_queue,
    a_trigger_of_a_disabled_schedule_works,
    a_trigger_sent_again_makes_no_second_job,
    a_trigger_beside_a_run_that_is_not_settled_makes_nothing,
    a_trigger_beside_a_run_by_hand_makes_nothing_either,
    a_trigger_makes_a_job_once_the_runs_before_are_settled,
    where_overlap_is_allowed_triggers_stand_beside_each_other,
    a_trigger_that_may_overlap_does_whatever_the_schedule_says,
    of_two_triggers_at_once_one_makes_a_job,
    the_last_run_by_hand_is_told_with_its_end,
    a_trigger_of_a_paused_schedule_works,
    a_trigger_of_what_is_not_there_makes_nothing,
    a_trigger_of_a_cancelled_schedule_makes_nothing,
    a_trigger_may_bring_its_own_payload,
    a_triggered_job_says_who_asked_and_for_what,
    a_triggered_job_is_about_what_its_schedule_says_or_else_the_trigger,
    the_result_of_a_triggered_job_is_kept,
    a_trigger_does_not_touch_the_cadence,
    a_trigger_of_a_schedule_that_moved_goes_to_its_new_queue,
}

async fn a_trigger_makes_the_schedules_job_now(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.template.payload = Payload::from_json_bytes("[1]");
    schedule.template.priority = Priority::Low;
    schedule.template.attempts = std::num::NonZeroU32::new(2);
    schedule.template.timeout = Some(Duration::from_secs(9));
    schedule.template.scope = Some(Scope::tenant("acme"));
    let template = schedule.template.clone();
    kit.define(schedule, Some(kit.now().await + kit.units(600))).await;

    let trigger = plain(&kit);
    trigger_it(&kit, trigger.clone()).await;
    kit.assert_state(trigger.job, JobState::Waiting).await;
    let spec = kit.worker().claim_one().await.spec;
    assert_eq!(
        (spec.id, &spec.name, &spec.payload),
        (trigger.job, &template.name, &template.payload)
    );
    assert_eq!((spec.priority, spec.attempts), (template.priority, template.attempts));
    assert_eq!(spec.timeout, template.timeout);
    let provenance = spec.provenance.as_ref().expect("it says where it comes from");
    assert_eq!(provenance.scope, template.scope);
}

async fn a_trigger_tells_the_queue(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    let triggered = trigger_it(&kit, plain(&kit)).await;
    assert_eq!(triggered, Triggered::Enqueued(kit.queue.clone()));
}

async fn a_trigger_of_a_disabled_schedule_works(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.enabled = false;
    kit.define(schedule, None).await;
    let trigger = plain(&kit);
    assert!(matches!(trigger_it(&kit, trigger.clone()).await, Triggered::Enqueued(_)));
    assert_eq!(kit.worker().claim_one().await.spec.id, trigger.job);
}

async fn a_trigger_sent_again_makes_no_second_job(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    let trigger = plain(&kit);
    let first = trigger_it(&kit, trigger.clone()).await;
    let before = kit.snapshot().await;
    assert_eq!(trigger_it(&kit, trigger.clone()).await, first);
    assert_eq!(kit.snapshot().await, before);

    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Complete).await;
    assert_eq!(trigger_it(&kit, trigger).await, first, "nor after it has ended");
    assert_eq!(kit.count().await.total(), 1);
}

async fn a_trigger_beside_a_run_that_is_not_settled_makes_nothing(kit: Kit) {
    for overlap in [Overlap::Skip, Overlap::Queue] {
        let mut schedule = kit.every_minute("a");
        schedule.overlap = overlap;
        kit.define(schedule, Some(kit.now().await)).await;
        let Fired::Job(job) = kit.fire_due("a").await else { panic!("it is due") };
        let before = kit.snapshot().await;
        assert_eq!(trigger_it(&kit, plain(&kit)).await, Triggered::Overlapped(job));
        assert_eq!(kit.snapshot().await, before);
        complete_one(&kit).await;
        // Else it would be the same occurrence.
        kit.pass(1).await;
    }
}

async fn a_trigger_beside_a_run_by_hand_makes_nothing_either(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    let first = plain(&kit);
    trigger_it(&kit, first.clone()).await;
    assert_eq!(trigger_it(&kit, plain(&kit)).await, Triggered::Overlapped(first.job));
    assert_eq!(kit.count().await.waiting, 1);
}

async fn a_trigger_makes_a_job_once_the_runs_before_are_settled(kit: Kit) {
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    kit.fire_due("a").await;
    complete_one(&kit).await;
    for _ in 0..2 {
        assert!(matches!(trigger_it(&kit, plain(&kit)).await, Triggered::Enqueued(_)));
        complete_one(&kit).await;
    }
}

async fn where_overlap_is_allowed_triggers_stand_beside_each_other(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Allow;
    kit.define(schedule, Some(kit.now().await)).await;
    kit.fire_due("a").await;
    for _ in 0..2 {
        assert!(matches!(trigger_it(&kit, plain(&kit)).await, Triggered::Enqueued(_)));
    }
    assert_eq!(kit.count().await.waiting, 3);
}

async fn a_trigger_that_may_overlap_does_whatever_the_schedule_says(kit: Kit) {
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    kit.fire_due("a").await;
    for _ in 0..2 {
        let mut trigger = plain(&kit);
        trigger.overlap = TriggerOverlap::Allow;
        assert!(matches!(trigger_it(&kit, trigger).await, Triggered::Enqueued(_)));
    }
    assert_eq!(kit.count().await.waiting, 3);
    assert_eq!(kit.fire_due("a").await, Fired::Overlapped);
}

async fn of_two_triggers_at_once_one_makes_a_job(kit: Kit) {
    let another = kit.another().await;
    kit.define(kit.every_minute("a"), None).await;
    let (here, there) = tokio::join!(kit.trigger(plain(&kit)), another.trigger(plain(&kit)));
    let made = [here, there].map(|triggered| triggered.expect("the store triggers"));
    let enqueued = made.iter().filter(|made| matches!(made, Triggered::Enqueued(_))).count();
    assert_eq!(enqueued, 1, "{made:?}");
    assert_eq!(kit.count().await.waiting, 1);
}

async fn the_last_run_by_hand_is_told_with_its_end(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    let before = kit.now().await;
    let trigger = plain(&kit);
    trigger_it(&kit, trigger.clone()).await;
    let record = kit.only_schedule().await;
    let run = record.by_hand.expect("there was one");
    assert_eq!((run.job, run.state), (trigger.job, Some(JobState::Waiting)));
    assert!(before <= run.occurrence && run.occurrence <= kit.now().await);
    assert_eq!((record.last, record.fired), (None, 0));
    complete_one(&kit).await;
    let run = kit.only_schedule().await.by_hand.expect("there was one");
    assert_eq!((run.job, run.state), (trigger.job, Some(JobState::Completed)));
    assert!(run.finished_at.is_some());
}

async fn a_trigger_of_a_paused_schedule_works(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    kit.pause_schedule(&id("a")).await.expect("the store pauses");
    assert!(matches!(trigger_it(&kit, plain(&kit)).await, Triggered::Enqueued(_)));
}

async fn a_trigger_of_what_is_not_there_makes_nothing(kit: Kit) {
    assert_eq!(trigger_it(&kit, plain(&kit)).await, Triggered::NoSuchSchedule);
    assert_eq!(kit.count().await.total(), 0);
}

async fn a_trigger_of_a_cancelled_schedule_makes_nothing(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    kit.cancel(&id("a")).await.expect("the store cancels");
    assert_eq!(trigger_it(&kit, plain(&kit)).await, Triggered::NoSuchSchedule);
    assert_eq!(kit.count().await.total(), 0);
}

async fn a_trigger_may_bring_its_own_payload(kit: Kit) {
    let schedule = kit.every_minute("a");
    kit.define(schedule.clone(), None).await;
    let mut trigger = plain(&kit);
    trigger.payload = Some(Payload::from_json_bytes("{\"only\":\"today\"}"));
    trigger_it(&kit, trigger.clone()).await;
    assert_eq!(Some(&kit.worker().claim_one().await.spec.payload), trigger.payload.as_ref());
    assert_eq!(*kit.only_schedule().await.schedule, schedule, "its own stays");
}

async fn a_triggered_job_says_who_asked_and_for_what(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    let mut trigger = plain(&kit);
    trigger.actor = Some("Jürgen".into());
    trigger.correlation_id = Some("request 17".into());
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    trigger.traceparent = Some(traceparent.into());
    let before = kit.now().await;
    trigger_it(&kit, trigger).await;
    let after = kit.now().await;

    let spec = kit.worker().claim_one().await.spec;
    let provenance = spec.provenance.as_ref().expect("it says where it comes from");
    assert_eq!(provenance.actor.as_deref(), Some("Jürgen"));
    assert_eq!(provenance.correlation_id.as_deref(), Some("request 17"));
    assert_eq!(provenance.traceparent.as_deref(), Some(traceparent));
    let by = provenance.schedule.as_ref().expect("it says which schedule");
    assert_eq!(by.schedule, id("a"));
    assert!(before <= by.occurrence && by.occurrence <= after, "when it was triggered");
}

async fn a_triggered_job_is_about_what_its_schedule_says_or_else_the_trigger(kit: Kit) {
    for (own, expected) in [(Some("schedule"), "schedule"), (None, "trigger")] {
        let mut schedule = kit.every_minute("a");
        schedule.template.scope = own.map(Scope::tenant);
        kit.define(schedule, None).await;
        let mut trigger = Trigger::new(id("a"), kit.by_hand_id(), kit.units(4));
        trigger.scope = Some(Scope::tenant("trigger"));
        trigger_it(&kit, trigger).await;
        let mut worker = kit.worker();
        let claimed = worker.claim_one().await;
        worker.settle(&claimed, Outcome::Complete).await;
        let spec = claimed.spec;
        let scope = spec.provenance.as_ref().and_then(|provenance| provenance.scope.as_ref());
        assert_eq!(scope.map(|scope| scope.tenant.as_str()), Some(expected));
    }
}

async fn the_result_of_a_triggered_job_is_kept(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    kit.define(kit.every_minute("a"), None).await;
    let trigger = Trigger::new(id("a"), kit.by_hand_id(), kit.units(4));
    trigger_it(&kit, trigger.clone()).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    assert_eq!(claimed.spec.keep_result, Some(kit.units(4)));
    worker.settle(&claimed, Outcome::Complete).await;
    kit.sweep_for(2).await;
    kit.assert_state(trigger.job, JobState::Completed).await;
    kit.sweep_for(4).await;
    kit.assert_unknown(trigger.job).await;
}

async fn a_trigger_does_not_touch_the_cadence(kit: Kit) {
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    complete_one(&kit).await;
    let before = kit.only_schedule().await;
    trigger_it(&kit, plain(&kit)).await;
    let after = kit.only_schedule().await;
    assert_eq!((after.next, after.last, after.fired), (before.next, before.last, before.fired));
    assert_eq!(after.revision, before.revision);
}

async fn a_trigger_of_a_schedule_that_moved_goes_to_its_new_queue(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), None).await;
    schedule.queue = super::kit::queue("elsewhere");
    kit.define(schedule.clone(), None).await;
    let trigger = plain(&kit);
    let triggered = trigger_it(&kit, trigger.clone()).await;
    assert_eq!(triggered, Triggered::Enqueued(schedule.queue.clone()));
    assert_eq!(kit.worker_in(&schedule.queue).claim_one().await.spec.id, trigger.job);
}

fn plain(kit: &Kit) -> Trigger {
    Trigger::new(id("a"), kit.by_hand_id(), kit.units(600))
}

async fn trigger_it(kit: &Kit, trigger: Trigger) -> Triggered {
    kit.trigger(trigger).await.expect("the store triggers")
}

/// Claims the first job and completes it.
async fn complete_one(kit: &Kit) {
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Complete).await;
}
