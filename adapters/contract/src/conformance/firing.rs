//! Each occurrence of a schedule makes at most one job, whoever fires it and however often.

use std::num::NonZeroU64;
use std::time::Duration;

use super::kit::ids;
use super::schedules::id;
use super::{Kit, case_list};
use crate::{
    Defined, Fired, Firing, JobAdapter, JobId, JobState, LastRun, Outcome, Overlap, Priority,
    Schedule, ScheduleRecord, ScheduledBy, Scope, Timestamp, Timing, Trigger,
};

case_list! {
    "firing", __conformance_firing:
    a_due_occurrence_makes_a_job_and_moves_on,
    the_job_is_made_as_the_template_says,
    the_job_says_which_occurrence_it_is_for,
    the_job_is_known_by_schedule_and_occurrence,
    what_is_not_due_by_the_stores_clock_is_early,
    an_occurrence_is_due_at_the_very_millisecond,
    a_last_occurrence_leaves_none,
    two_processes_make_one_job_of_an_occurrence,
    a_firing_sent_again_answers_the_same_job,
    a_firing_sent_again_after_its_job_has_ended_answers_the_same_job,
    a_firing_of_an_occurrence_long_past_makes_nothing,
    a_firing_with_another_revision_is_stale,
    a_firing_with_another_next_occurrence_is_stale,
    a_firing_that_comes_too_late_is_stale,
    what_an_earlier_definition_has_made_is_not_made_again_after_others,
    what_was_made_before_a_schedule_went_back_is_not_made_again,
    a_firing_of_a_cancelled_schedule_is_stale,
    a_firing_of_a_disabled_schedule_is_stale,
    a_firing_of_a_changed_schedule_is_stale_and_the_change_holds,
    an_occurrence_is_not_doubled_by_defining_the_schedule_anew,
    while_the_last_run_waits_an_occurrence_is_skipped,
    while_the_last_run_is_active_or_retried_an_occurrence_is_skipped,
    once_the_last_run_has_ended_an_occurrence_makes_a_job,
    a_last_run_that_is_forgotten_has_ended,
    where_overlap_is_allowed_runs_stand_beside_each_other,
    a_run_by_hand_is_a_run_too,
    where_one_is_queued_it_makes_its_job_once_the_run_before_is_settled,
    while_one_is_queued_others_are_skipped,
    one_is_queued_behind_a_run_by_hand_too,
    what_is_queued_is_fired_once,
    what_is_queued_waits_for_retries_too,
    a_queued_occurrence_of_a_paused_schedule_waits,
    a_change_of_definition_keeps_what_is_queued,
    a_limit_of_runs_is_kept_in_the_step_that_reaches_it,
    skipped_and_missed_occurrences_use_up_no_limit,
    with_jitter_an_occurrence_is_due_when_the_schedule_says,
    what_is_due_once_is_gone_with_its_job,
    what_is_due_once_is_gone_also_where_it_was_missed,
    what_was_due_once_can_be_defined_again,
    a_run_that_crashed_is_still_running,
    missed_occurrences_are_counted_and_the_latest_makes_the_job,
    a_run_for_a_later_occurrence_sent_again_answers_the_same_job,
    occurrences_that_were_all_missed_make_no_job,
    a_batch_is_answered_in_the_order_given,
    firings_of_one_schedule_follow_each_other_in_a_batch,
    firings_that_follow_each_other_sent_again_make_no_other_job,
    in_a_batch_a_firing_overlaps_the_one_before_it,
    firings_after_one_that_is_early_change_nothing,
    one_stale_firing_does_not_touch_its_neighbours,
    in_a_batch_each_is_fired_by_what_has_become_of_its_schedule,
    two_schedules_due_at_once_make_two_jobs,
    an_empty_batch_does_nothing,
}

async fn a_due_occurrence_makes_a_job_and_moves_on(kit: Kit) {
    let (due, firing) = due_now(&kit, kit.every_minute("a")).await;
    let Fired::Job(job) = kit.fire_one(firing.clone()).await else { panic!("it is due") };
    kit.assert_state(job, JobState::Waiting).await;
    let record = kit.only_schedule().await;
    assert_eq!(record.next, firing.next);
    assert_eq!((record.fired, record.overlapped, record.missed), (1, 0, 0));
    assert_eq!(
        record.last,
        Some(LastRun { state: Some(JobState::Waiting), ..LastRun::new(due, job) })
    );
    assert_eq!(record.revision, firing.revision, "firing is no change of the definition");
    assert_eq!(ids(&kit.worker().claim(2).await), [job]);
}

async fn the_job_is_made_as_the_template_says(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.template.payload = crate::Payload::from_json_bytes("{\"a\":\"ä\"}");
    schedule.template.priority = Priority::High;
    schedule.template.attempts = std::num::NonZeroU32::new(3);
    schedule.template.timeout = Some(Duration::from_secs(7));
    schedule.template.keep_result = Some(kit.units(600));
    schedule.template.scope = Some(Scope::new("acme", "shop"));
    let template = schedule.template.clone();
    let (_, firing) = due_now(&kit, schedule).await;
    kit.fire_one(firing).await;

    let claimed = kit.worker().claim_one().await;
    let spec = &claimed.spec;
    assert_eq!((&spec.name, &spec.payload), (&template.name, &template.payload));
    assert_eq!(spec.priority, template.priority);
    assert_eq!((spec.attempts, spec.timeout), (template.attempts, template.timeout));
    assert_eq!(spec.keep_result, template.keep_result);
    let provenance = spec.provenance.as_ref().expect("it says where it comes from");
    assert_eq!(provenance.scope, template.scope);
}

async fn the_job_says_which_occurrence_it_is_for(kit: Kit) {
    let (due, firing) = due_now(&kit, kit.every_minute("a")).await;
    kit.fire_one(firing).await;
    let claimed = kit.worker().claim_one().await;
    let provenance = claimed.spec.provenance.as_ref().expect("it says where it comes from");
    let by = ScheduledBy { schedule: id("a"), occurrence: due };
    assert_eq!(provenance.schedule, Some(by));
    assert_eq!(provenance.actor.as_deref(), Some("system"));
    assert_eq!(provenance.correlation_id, Some(claimed.spec.id.to_string()));
    assert_eq!((&provenance.traceparent, &provenance.scope), (&None, &None));
}

async fn the_job_is_known_by_schedule_and_occurrence(kit: Kit) {
    let (due, firing) = due_now(&kit, kit.every_minute("a")).await;
    let fired = kit.fire_one(firing).await;
    assert_eq!(fired, Fired::Job(JobId::of_occurrence(&id("a"), due)));
}

async fn what_is_not_due_by_the_stores_clock_is_early(kit: Kit) {
    let due = kit.now().await + kit.units(3);
    kit.define(kit.every_minute("a"), Some(due)).await;
    let record = kit.only_schedule().await;
    let firing = Firing::new(&record, due, Some(due + kit.units(60)));
    assert_eq!(kit.fire_one(firing.clone()).await, Fired::Early);
    assert_eq!(kit.only_schedule().await, record, "nothing changed");
    assert_eq!(kit.count().await.total(), 0);

    kit.pass(4).await;
    assert!(matches!(kit.fire_one(firing).await, Fired::Job(_)), "now it is due");
}

async fn an_occurrence_is_due_at_the_very_millisecond(kit: Kit) {
    if !kit.is_exact() {
        return;
    }
    let due = kit.now().await + Duration::from_millis(50);
    kit.define(kit.every_minute("a"), Some(due)).await;
    let firing = Firing::new(&kit.only_schedule().await, due, None);
    tokio::time::sleep(Duration::from_millis(49)).await;
    assert_eq!(kit.fire_one(firing.clone()).await, Fired::Early);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(matches!(kit.fire_one(firing).await, Fired::Job(_)));
}

async fn a_last_occurrence_leaves_none(kit: Kit) {
    let (_, mut firing) = due_now(&kit, kit.every_minute("a")).await;
    firing.next = None;
    let fired = kit.fire_one(firing.clone()).await;
    assert!(matches!(fired, Fired::Job(_)));
    assert_eq!(kit.only_schedule().await.next, None);
    assert_eq!(kit.fire_one(firing).await, fired, "a resend");
    assert_eq!(kit.count().await.total(), 1);
}

async fn two_processes_make_one_job_of_an_occurrence(kit: Kit) {
    let another = kit.another().await;
    let (_, firing) = due_now(&kit, kit.every_minute("a")).await;
    let firings = [firing];
    let (here, there) = tokio::join!(kit.fire(&firings), another.fire(&firings));
    let jobs: Vec<_> = [here, there]
        .into_iter()
        .flat_map(|fired| fired.expect("the store fires"))
        .filter_map(|fired| if let Fired::Job(job) = fired { Some(job) } else { None })
        .collect();
    assert!(!jobs.is_empty());
    assert!(jobs.iter().all(|&job| job == jobs[0]), "one and the same job: {jobs:?}");
    assert_eq!(kit.count().await.total(), 1);
    assert_eq!(kit.only_schedule().await.fired, 1);
}

async fn a_firing_sent_again_answers_the_same_job(kit: Kit) {
    let (_, firing) = due_now(&kit, kit.every_minute("a")).await;
    let first = kit.fire_one(firing.clone()).await;
    let before = kit.snapshot().await;
    for _ in 0..3 {
        assert_eq!(kit.fire_one(firing.clone()).await, first);
        assert_eq!(kit.snapshot().await, before);
    }
}

async fn a_firing_sent_again_after_its_job_has_ended_answers_the_same_job(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    let (_, firing) = due_now(&kit, kit.every_minute("a")).await;
    let first = kit.fire_one(firing.clone()).await;
    complete_one(&kit).await;
    assert_eq!(kit.fire_one(firing).await, first);
    assert_eq!(kit.count().await.total(), 0, "and makes no other");
}

async fn a_firing_of_an_occurrence_long_past_makes_nothing(kit: Kit) {
    let (_, old) = due_now(&kit, kit.every_minute("a")).await;
    kit.fire_one(old.clone()).await;
    complete_one(&kit).await;
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    complete_one(&kit).await;
    let before = kit.snapshot().await;
    assert_eq!(kit.fire_one(old).await, Fired::Stale);
    assert_eq!(kit.snapshot().await, before);
}

async fn a_firing_with_another_revision_is_stale(kit: Kit) {
    let (_, mut firing) = due_now(&kit, kit.every_minute("a")).await;
    let before = kit.snapshot().await;
    for revision in [firing.revision + 1, firing.revision.wrapping_sub(1)] {
        firing.revision = revision;
        assert_eq!(kit.fire_one(firing.clone()).await, Fired::Stale);
        assert_eq!(kit.snapshot().await, before);
    }
}

async fn what_an_earlier_definition_has_made_is_not_made_again_after_others(kit: Kit) {
    let second = kit.now().await;
    let first = second - Duration::from_millis(1000);
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Allow;
    // By a clock that was ahead, say.
    kit.define(schedule.clone(), Some(second)).await;
    let made = kit.fire_one(Firing::new(&kit.only_schedule().await, second, None)).await;
    kit.cancel(&id("a")).await.expect("the store cancels");
    kit.define(schedule, Some(first)).await;
    kit.fire_one(Firing::new(&kit.only_schedule().await, first, Some(second))).await;
    let later = second + kit.units(6000);
    let again = Firing::new(&kit.only_schedule().await, second, Some(later));
    assert_eq!(kit.fire_one(again).await, made);
    assert_eq!(kit.count().await.waiting, 2, "one for each occurrence");
    assert_eq!(kit.worker().claim(5).await.len(), 2);
}

async fn what_was_made_before_a_schedule_went_back_is_not_made_again(kit: Kit) {
    let third = kit.now().await;
    let at = |number: u64| third - Duration::from_millis(1000 * (3 - number));
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Allow;
    kit.define(schedule.clone(), Some(third)).await;
    let later = third + kit.units(6000);
    let made = kit.fire_one(Firing::new(&kit.only_schedule().await, third, Some(later))).await;
    // By a clock that was set back, say.
    schedule.limit = NonZeroU64::new(100);
    kit.define(schedule, Some(at(1))).await;
    for number in [1, 2] {
        let firing = Firing::new(&kit.only_schedule().await, at(number), Some(at(number + 1)));
        assert!(matches!(kit.fire_one(firing).await, Fired::Job(_)));
    }
    let again = Firing::new(&kit.only_schedule().await, third, Some(later));
    assert_eq!(kit.fire_one(again).await, made);
    assert_eq!(kit.count().await.waiting, 3, "one for each occurrence");
    assert_eq!(kit.worker().claim(5).await.len(), 3);
}

async fn a_firing_that_comes_too_late_is_stale(kit: Kit) {
    let now = kit.now().await;
    kit.define(kit.every_minute("a"), Some(now)).await;
    let mut firing = Firing::new(&kit.only_schedule().await, now, None);
    kit.pass(2).await;
    firing.until = Some(now);
    assert_eq!(kit.fire_one(firing.clone()).await, Fired::Stale);
    assert_eq!(kit.only_schedule().await.fired, 0);
    let until = kit.now().await + kit.units(100);
    firing.until = Some(until);
    let fired = kit.fire_one(firing.clone()).await;
    assert!(matches!(fired, Fired::Job(_)), "{fired:?}");
    while kit.now().await <= until {
        kit.pass(10).await;
    }
    assert_eq!(kit.fire_one(firing).await, fired, "a resend is answered, however late it comes");
}

async fn a_firing_with_another_next_occurrence_is_stale(kit: Kit) {
    let (due, _) = due_now(&kit, kit.every_minute("a")).await;
    let record = kit.only_schedule().await;
    let firing = Firing::new(&record, due - Duration::from_millis(1), Some(due));
    assert_eq!(kit.fire_one(firing).await, Fired::Stale);
    assert_eq!(kit.only_schedule().await, record);
    assert_eq!(kit.count().await.total(), 0);
}

async fn a_firing_of_a_cancelled_schedule_is_stale(kit: Kit) {
    let (_, firing) = due_now(&kit, kit.every_minute("a")).await;
    kit.cancel(&id("a")).await.expect("the store cancels");
    assert_eq!(kit.fire_one(firing).await, Fired::Stale);
    assert_eq!(kit.count().await.total(), 0);
    assert!(kit.schedules().await.is_empty(), "nor is it back");
}

async fn a_firing_of_a_disabled_schedule_is_stale(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.enabled = false;
    let (_, firing) = due_now(&kit, schedule).await;
    let before = kit.snapshot().await;
    assert_eq!(kit.fire_one(firing).await, Fired::Stale);
    assert_eq!(kit.snapshot().await, before, "it keeps its place");
}

async fn a_firing_of_a_changed_schedule_is_stale_and_the_change_holds(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    let (due, old) = due_now(&kit, schedule.clone()).await;
    schedule.template.payload = crate::Payload::from_json_bytes("\"new\"");
    kit.define(schedule.clone(), Some(due)).await;
    assert_eq!(kit.fire_one(old).await, Fired::Stale);
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    let claimed = kit.worker().claim_one().await;
    assert_eq!(claimed.spec.payload, schedule.template.payload);
}

async fn an_occurrence_is_not_doubled_by_defining_the_schedule_anew(kit: Kit) {
    let (due, firing) = due_now(&kit, kit.every_minute("a")).await;
    let fired = kit.fire_one(firing).await;
    kit.cancel(&id("a")).await.expect("the store cancels");
    kit.define(kit.every_minute("a"), Some(due)).await;
    let again = kit.fire_due("a").await;
    assert!(matches!(again, Fired::Overlapped) || again == fired, "{again:?}");
    assert_eq!(kit.count().await.total(), 1, "the occurrence has its job");
}

async fn while_the_last_run_waits_an_occurrence_is_skipped(kit: Kit) {
    let (due, firing) = due_now(&kit, kit.every_minute("a")).await;
    kit.fire_one(firing).await;
    assert_eq!(kit.fire_due("a").await, Fired::Overlapped);
    let record = kit.only_schedule().await;
    assert_eq!((record.fired, record.overlapped, record.missed), (1, 1, 0));
    assert_eq!(record.next, Some(due + Duration::from_millis(2)), "it has moved on");
    assert_eq!(record.last.map(|last| last.occurrence), Some(due));
    assert_eq!(kit.count().await.total(), 1);
}

async fn while_the_last_run_is_active_or_retried_an_occurrence_is_skipped(kit: Kit) {
    let (_, firing) = due_now(&kit, kit.every_minute("a")).await;
    kit.fire_one(firing).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    assert_eq!(kit.fire_due("a").await, Fired::Overlapped, "active");
    worker.settle(&claimed, Outcome::Retry(kit.units(2))).await;
    assert_eq!(kit.fire_due("a").await, Fired::Overlapped, "between two attempts");
    kit.sweep_for(3).await;
    assert_eq!(kit.fire_due("a").await, Fired::Overlapped, "waiting for its next attempt");
    let claimed = worker.claim_one().await;
    assert_eq!(kit.fire_due("a").await, Fired::Overlapped, "active again");
    worker.settle(&claimed, Outcome::Complete).await;
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    assert_eq!(kit.only_schedule().await.overlapped, 4);
}

async fn once_the_last_run_has_ended_an_occurrence_makes_a_job(kit: Kit) {
    let (_, firing) = due_now(&kit, kit.every_minute("a")).await;
    kit.fire_one(firing).await;
    for outcome in [Outcome::Complete, Outcome::Dead, Outcome::Cancel] {
        let mut worker = kit.worker();
        let claimed = worker.claim_one().await;
        worker.settle(&claimed, outcome).await;
        assert!(matches!(kit.fire_due("a").await, Fired::Job(_)), "after {outcome:?}");
    }
    let record = kit.only_schedule().await;
    assert_eq!((record.fired, record.overlapped), (4, 0));
}

async fn a_last_run_that_is_forgotten_has_ended(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    let (_, firing) = due_now(&kit, kit.every_minute("a")).await;
    kit.fire_one(firing).await;
    complete_one(&kit).await;
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    assert_eq!(kit.count().await.waiting, 1);
}

async fn where_overlap_is_allowed_runs_stand_beside_each_other(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Allow;
    let (_, firing) = due_now(&kit, schedule).await;
    kit.fire_one(firing).await;
    for _ in 0..2 {
        assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    }
    assert_eq!(kit.count().await.waiting, 3);
    let record = kit.only_schedule().await;
    assert_eq!((record.fired, record.overlapped), (3, 0));
}

async fn a_run_by_hand_is_a_run_too(kit: Kit) {
    let (_, firing) = due_now(&kit, kit.every_minute("a")).await;
    let by_hand = Trigger::new(id("a"), kit.by_hand_id(), kit.units(60));
    kit.trigger(by_hand).await.expect("the store triggers");
    assert_eq!(kit.fire_one(firing).await, Fired::Overlapped);
    complete_one(&kit).await;
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    assert_eq!(kit.only_schedule().await.overlapped, 1);
}

/// A schedule that queues one, of which a run waits to be claimed.
async fn queueing(kit: &Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Queue;
    let (_, firing) = due_now(kit, schedule).await;
    assert!(matches!(kit.fire_one(firing).await, Fired::Job(_)));
}

/// A firing of what is queued.
async fn queued(kit: &Kit) -> Firing {
    let record = kit.only_schedule().await;
    Firing::of_queued(&record, record.queued.expect("one is queued"))
}

async fn where_one_is_queued_it_makes_its_job_once_the_run_before_is_settled(kit: Kit) {
    queueing(&kit).await;
    let occurrence = kit.only_schedule().await.next;
    assert_eq!(kit.fire_due("a").await, Fired::Queued);
    let record = kit.only_schedule().await;
    assert_eq!((record.queued, record.fired, record.overlapped), (occurrence, 1, 0));
    assert!(record.next > occurrence, "it has moved on");
    let firing = queued(&kit).await;
    assert_eq!(kit.fire_one(firing.clone()).await, Fired::Early);
    assert_eq!(kit.only_schedule().await, record, "nothing changed");

    complete_one(&kit).await;
    let Fired::Job(job) = kit.fire_one(firing).await else { panic!("its turn has come") };
    let after = kit.only_schedule().await;
    assert_eq!(job, JobId::of_occurrence(&id("a"), occurrence.expect("there was one")));
    assert_eq!((after.queued, after.fired, after.next), (None, 2, record.next));
    assert_eq!(after.last.map(|last| (Some(last.occurrence), last.job)), Some((occurrence, job)));
    assert_eq!(ids(&kit.worker().claim(2).await), [job]);
}

async fn while_one_is_queued_others_are_skipped(kit: Kit) {
    queueing(&kit).await;
    assert_eq!(kit.fire_due("a").await, Fired::Queued);
    let first = kit.only_schedule().await.queued;
    assert_eq!(kit.fire_due("a").await, Fired::Overlapped);
    complete_one(&kit).await;
    // The one that is queued goes first, though nothing runs.
    assert_eq!(kit.fire_due("a").await, Fired::Overlapped);
    let record = kit.only_schedule().await;
    assert_eq!((record.queued, record.overlapped), (first, 2));
    assert!(matches!(kit.fire_one(queued(&kit).await).await, Fired::Job(_)));
    assert_eq!(kit.fire_due("a").await, Fired::Queued, "behind the one that was queued");
}

async fn one_is_queued_behind_a_run_by_hand_too(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Queue;
    let (_, firing) = due_now(&kit, schedule).await;
    let by_hand = Trigger::new(id("a"), kit.by_hand_id(), kit.units(60));
    kit.trigger(by_hand).await.expect("the store triggers");
    assert_eq!(kit.fire_one(firing).await, Fired::Queued);
    assert_eq!(kit.fire_one(queued(&kit).await).await, Fired::Early);
    complete_one(&kit).await;
    assert!(matches!(kit.fire_one(queued(&kit).await).await, Fired::Job(_)));
}

async fn what_is_queued_is_fired_once(kit: Kit) {
    let another = kit.another().await;
    queueing(&kit).await;
    kit.fire_due("a").await;
    complete_one(&kit).await;
    let firing = queued(&kit).await;
    let firings = [firing];
    let (here, there) = tokio::join!(kit.fire(&firings), another.fire(&firings));
    let (here, there) = (here.expect("the store fires"), there.expect("the store fires"));
    let is_job = |fired: &Fired| matches!(fired, Fired::Job(_));
    assert!(here.iter().chain(&there).any(is_job), "{here:?}, {there:?}");
    assert!(here == there || !is_job(&here[0]) || !is_job(&there[0]), "{here:?}, {there:?}");
    assert_eq!((kit.count().await.waiting, kit.only_schedule().await.fired), (1, 2));
}

async fn what_is_queued_waits_for_retries_too(kit: Kit) {
    queueing(&kit).await;
    kit.fire_due("a").await;
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Retry(kit.units(2))).await;
    assert_eq!(kit.fire_one(queued(&kit).await).await, Fired::Early);
    kit.sweep_for(3).await;
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Dead).await;
    assert!(matches!(kit.fire_one(queued(&kit).await).await, Fired::Job(_)));
}

async fn a_queued_occurrence_of_a_paused_schedule_waits(kit: Kit) {
    queueing(&kit).await;
    kit.fire_due("a").await;
    complete_one(&kit).await;
    kit.pause_schedule(&id("a")).await.expect("the store pauses");
    assert_eq!(kit.fire_one(queued(&kit).await).await, Fired::Stale);
    kit.resume_schedule(&id("a"), None).await.expect("the store resumes");
    assert!(matches!(kit.fire_one(queued(&kit).await).await, Fired::Job(_)));
}

async fn a_change_of_definition_keeps_what_is_queued(kit: Kit) {
    queueing(&kit).await;
    kit.fire_due("a").await;
    let before = kit.only_schedule().await;
    let mut schedule = (*before.schedule).clone();
    schedule.template.payload = crate::Payload::from_json_bytes("\"new\"");
    kit.define(schedule.clone(), None).await;
    assert_eq!(kit.only_schedule().await.queued, before.queued);
    complete_one(&kit).await;
    assert!(matches!(kit.fire_one(queued(&kit).await).await, Fired::Job(_)));
    assert_eq!(kit.worker().claim_one().await.spec.payload, schedule.template.payload);
}

async fn a_limit_of_runs_is_kept_in_the_step_that_reaches_it(kit: Kit) {
    let mut batch = chain(&kit, Overlap::Allow).await;
    let mut schedule = (*kit.only_schedule().await.schedule).clone();
    schedule.limit = std::num::NonZeroU64::new(3);
    kit.define(schedule, Some(batch[0].occurrence)).await;
    let revision = kit.only_schedule().await.revision;
    batch.iter_mut().for_each(|firing| firing.revision = revision);
    let fired = kit.fire(&batch).await.expect("the store fires");
    assert!(fired[..3].iter().all(|fired| matches!(fired, Fired::Job(_))), "{fired:?}");
    assert_eq!(fired[3..], [Fired::Stale; 2]);
    let record = kit.only_schedule().await;
    assert_eq!((record.fired, record.next), (3, None));
    assert_eq!(kit.fire_one(batch[2].clone()).await, fired[2], "a resend");
    assert_eq!(kit.count().await.total(), 3);
}

async fn skipped_and_missed_occurrences_use_up_no_limit(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.limit = std::num::NonZeroU64::new(2);
    let (_, mut missed) = due_now(&kit, schedule).await;
    (missed.run, missed.missed) = (None, 1);
    assert_eq!(kit.fire_one(missed).await, Fired::Missed);
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    assert_eq!(kit.fire_due("a").await, Fired::Overlapped);
    let by_hand = Trigger::new(id("a"), kit.by_hand_id(), kit.units(60));
    complete_one(&kit).await;
    kit.trigger(by_hand).await.expect("the store triggers");
    complete_one(&kit).await;
    assert!(kit.only_schedule().await.next.is_some());
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    assert_eq!(kit.only_schedule().await.next, None);
}

async fn with_jitter_an_occurrence_is_due_when_the_schedule_says(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.jitter = Some(kit.units(20));
    let occurrence = kit.now().await;
    let due = schedule.due(occurrence);
    kit.define(schedule, Some(occurrence)).await;
    let record = kit.only_schedule().await;
    assert_eq!((record.next, record.due()), (Some(occurrence), Some(due)));
    let firing = Firing::new(&record, occurrence, None);
    loop {
        let before = kit.now().await;
        let fired = kit.fire_one(firing.clone()).await;
        if fired != Fired::Early {
            assert_eq!(fired, Fired::Job(JobId::of_occurrence(&id("a"), occurrence)));
            assert!(kit.now().await >= due);
            break;
        }
        assert!(before < due, "it was due at {due}, and it is {before}");
        kit.pass(1).await;
    }
    let claimed = kit.worker().claim_one().await;
    let provenance = claimed.spec.provenance.as_ref().expect("it says where it comes from");
    assert_eq!(provenance.schedule.as_ref().map(|by| by.occurrence), Some(occurrence));
}

/// A schedule that is due once, now.
async fn once(kit: &Kit) -> (Schedule, Firing) {
    let at = kit.now().await;
    let mut schedule = kit.every_minute("a");
    schedule.timing = Timing::Once { at };
    kit.define(schedule.clone(), Some(at)).await;
    let firing = Firing::new(&kit.only_schedule().await, at, None);
    (schedule, firing)
}

async fn what_is_due_once_is_gone_with_its_job(kit: Kit) {
    let (_, firing) = once(&kit).await;
    kit.define(kit.every_minute("b"), None).await;
    let Fired::Job(job) = kit.fire_one(firing.clone()).await else { panic!("it is due") };
    assert_eq!(kit.only_schedule().await.schedule.id, id("b"));
    assert!(!kit.is_scheduled(&id("a")).await.expect("the store looks"));
    assert_eq!(kit.scheduled_job(&id("a")).await.expect("the store looks"), None);
    assert!(!kit.cancel(&id("a")).await.expect("the store cancels"));
    let again = kit.fire_one(firing).await;
    assert!(again == Fired::Stale || again == Fired::Job(job), "{again:?}");
    assert_eq!(ids(&kit.worker().claim(2).await), [job]);
}

async fn what_is_due_once_is_gone_also_where_it_was_missed(kit: Kit) {
    let (_, mut firing) = once(&kit).await;
    (firing.run, firing.missed) = (None, 1);
    assert_eq!(kit.fire_one(firing).await, Fired::Missed);
    assert!(kit.schedules().await.is_empty());
    assert_eq!(kit.count().await.total(), 0);
}

async fn what_was_due_once_can_be_defined_again(kit: Kit) {
    let (mut schedule, firing) = once(&kit).await;
    kit.fire_one(firing.clone()).await;
    let at = kit.now().await + Duration::from_millis(1);
    schedule.timing = Timing::Once { at };
    assert_eq!(kit.define(schedule, Some(at)).await, Defined::Created);
    let record = kit.only_schedule().await;
    assert!(record.revision > firing.revision);
    assert_eq!((record.next, record.last, record.fired), (Some(at), None, 0));
    let late = kit.fire_one(firing).await;
    assert_eq!(late, Fired::Stale);
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    assert!(kit.schedules().await.len() <= 1);
}

async fn a_run_that_crashed_is_still_running(kit: Kit) {
    let (_, firing) = due_now(&kit, kit.every_minute("a")).await;
    let Fired::Job(job) = kit.fire_one(firing).await else { panic!("it is due") };
    kit.crash(job, 1).await;
    assert_eq!(kit.fire_due("a").await, Fired::Overlapped);
    complete_one(&kit).await;
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
}

async fn missed_occurrences_are_counted_and_the_latest_makes_the_job(kit: Kit) {
    let (due, mut firing) = due_now(&kit, kit.every_minute("a")).await;
    kit.pass(1).await;
    let latest = due + Duration::from_millis(30);
    firing.run = Some(latest);
    firing.missed = 3;
    let fired = kit.fire_one(firing.clone()).await;
    assert_eq!(fired, Fired::Job(JobId::of_occurrence(&id("a"), latest)));
    let record = kit.only_schedule().await;
    assert_eq!((record.fired, record.overlapped, record.missed), (1, 0, 3));
    assert_eq!(record.next, firing.next);
    assert_eq!(record.last.map(|last| last.occurrence), Some(latest));
    let claimed = kit.worker().claim_one().await;
    let provenance = claimed.spec.provenance.as_ref().expect("it says where it comes from");
    assert_eq!(provenance.schedule.as_ref().map(|by| by.occurrence), Some(latest));
}

async fn a_run_for_a_later_occurrence_sent_again_answers_the_same_job(kit: Kit) {
    let (due, mut firing) = due_now(&kit, kit.every_minute("a")).await;
    kit.pass(1).await;
    firing.run = Some(due + Duration::from_millis(30));
    firing.missed = 3;
    let fired = kit.fire_one(firing.clone()).await;
    let before = kit.snapshot().await;
    assert_eq!(kit.fire_one(firing).await, fired);
    assert_eq!(kit.snapshot().await, before, "the missed are counted once");
}

async fn occurrences_that_were_all_missed_make_no_job(kit: Kit) {
    let (_, mut firing) = due_now(&kit, kit.every_minute("a")).await;
    firing.run = None;
    firing.missed = 5;
    assert_eq!(kit.fire_one(firing.clone()).await, Fired::Missed);
    let record = kit.only_schedule().await;
    assert_eq!((record.fired, record.overlapped, record.missed), (0, 0, 5));
    assert_eq!((record.next, record.last), (firing.next, None));
    assert_eq!(kit.count().await.total(), 0);

    let before = kit.snapshot().await;
    kit.fire_one(firing).await;
    assert_eq!(kit.snapshot().await, before, "a resend counts nothing");
}

async fn a_batch_is_answered_in_the_order_given(kit: Kit) {
    let now = kit.now().await;
    for (name, due) in [("due", now), ("early", now + kit.units(60)), ("skipped", now)] {
        kit.define(kit.every_minute(name), Some(due)).await;
    }
    let of = async |name: &str| {
        let record = kit.schedule_of(&id(name)).await;
        let next = record.next.expect("there is a next occurrence");
        Firing::new(&record, next, Some(next + kit.units(600)))
    };
    let mut skipped = of("skipped").await;
    skipped.run = None;
    skipped.missed = 1;
    let mut gone = of("due").await;
    gone.schedule = id("gone");
    let batch = vec![gone, of("early").await, of("due").await, skipped];
    let fired = kit.fire(&batch).await.expect("the store fires");
    let job = JobId::of_occurrence(&id("due"), now);
    assert_eq!(fired, [Fired::Stale, Fired::Early, Fired::Job(job), Fired::Missed]);
}

async fn firings_of_one_schedule_follow_each_other_in_a_batch(kit: Kit) {
    let batch = chain(&kit, Overlap::Allow).await;
    let fired = kit.fire(&batch).await.expect("the store fires");
    let jobs: Vec<_> =
        batch.iter().map(|f| JobId::of_occurrence(&f.schedule, f.occurrence)).collect();
    assert_eq!(fired, jobs.iter().map(|&job| Fired::Job(job)).collect::<Vec<_>>());
    let record = kit.only_schedule().await;
    assert_eq!((record.fired, record.overlapped, record.missed), (5, 0, 0));
    assert_eq!(record.next, batch[4].next);
    assert_eq!(record.last.map(|last| last.job), Some(jobs[4]));
    assert_eq!(ids(&kit.worker().claim(10).await), jobs, "in the order of the occurrences");
}

async fn firings_that_follow_each_other_sent_again_make_no_other_job(kit: Kit) {
    let batch = chain(&kit, Overlap::Allow).await;
    let fired = kit.fire(&batch).await.expect("the store fires");
    let before = kit.snapshot().await;
    let again = kit.fire(&batch).await.expect("the store fires");
    assert_eq!(again[4], fired[4], "the last run's job is known");
    for (again, fired) in again.iter().zip(fired) {
        assert!(*again == fired || *again == Fired::Stale, "{again:?} instead of {fired:?}");
    }
    assert_eq!(kit.snapshot().await, before);
}

async fn in_a_batch_a_firing_overlaps_the_one_before_it(kit: Kit) {
    let batch = chain(&kit, Overlap::Skip).await;
    let job = JobId::of_occurrence(&id("a"), batch[0].occurrence);
    let next = batch[4].next;
    let fired = kit.fire(&batch).await.expect("the store fires");
    assert_eq!(fired[0], Fired::Job(job));
    assert_eq!(fired[1..], [Fired::Overlapped; 4]);
    let record = kit.only_schedule().await;
    assert_eq!((record.fired, record.overlapped, record.next), (1, 4, next));
    assert_eq!(kit.count().await.total(), 1);
}

async fn firings_after_one_that_is_early_change_nothing(kit: Kit) {
    let mut batch = chain(&kit, Overlap::Allow).await;
    let later = kit.now().await + kit.units(600);
    batch[1].next = Some(later);
    batch[2].occurrence = later;
    let fired = kit.fire(&batch).await.expect("the store fires");
    assert!(matches!(fired[..2], [Fired::Job(_), Fired::Job(_)]), "{fired:?}");
    assert_eq!(fired[2..], [Fired::Early, Fired::Stale, Fired::Stale]);
    let record = kit.only_schedule().await;
    assert_eq!((record.fired, record.next), (2, Some(later)));
}

/// A schedule, and firings of five occurrences of it that are all due, each but for the first
/// following the one before it.
async fn chain(kit: &Kit, overlap: Overlap) -> Vec<Firing> {
    let first = kit.now().await;
    let mut schedule = kit.every_minute("a");
    schedule.overlap = overlap;
    kit.define(schedule, Some(first)).await;
    kit.pass(1).await;
    let record = kit.only_schedule().await;
    let at = |n: u64| first + Duration::from_millis(n);
    (0..5).map(|n| Firing::new(&record, at(n), Some(at(n + 1)))).collect()
}

async fn one_stale_firing_does_not_touch_its_neighbours(kit: Kit) {
    let (_, good) = due_now(&kit, kit.every_minute("good")).await;
    let (_, mut stale) = due_now(&kit, kit.every_minute("stale")).await;
    stale.revision += 1;
    let fired = kit.fire(&[stale, good]).await.expect("the store fires");
    assert_eq!(fired[0], Fired::Stale);
    assert!(matches!(fired[1], Fired::Job(_)));
}

async fn in_a_batch_each_is_fired_by_what_has_become_of_its_schedule(kit: Kit) {
    let start = kit.now().await;
    let at = |number: u64| start + Duration::from_millis(number);
    let fire = async |process: &dyn JobAdapter, name: &str, number: u64| {
        let record = kit.schedule_of(&id(name)).await;
        let firing = Firing::new(&record, at(number), Some(at(number + 1)));
        process.fire(&[firing]).await.expect("the store fires")[0]
    };
    let define = async |name: &str, overlap: Overlap, next: u64| {
        let mut schedule = kit.every_minute(name);
        schedule.overlap = overlap;
        if name == "urgent" {
            schedule.template.priority = Priority::Critical;
        }
        kit.define(schedule, Some(at(next))).await;
    };
    let before = ["beside", "over", "running"];
    for (name, overlap) in before.iter().zip([Overlap::Allow, Overlap::Skip, Overlap::Skip]) {
        define(name, overlap, 0).await;
        assert!(matches!(fire(&*kit.adapter, name, 0).await, Fired::Job(_)));
    }
    let mut worker = kit.worker();
    let claimed = worker.claim(3).await;
    worker.settle(&claimed[1], Outcome::Complete).await;
    kit.pass(1).await;
    define("again", Overlap::Allow, 1).await;
    fire(&*kit.adapter, "again", 1).await;
    kit.cancel(&id("again")).await.expect("the store cancels");
    for name in ["first", "urgent", "again", "changed", "fired"] {
        define(name, Overlap::Allow, 1).await;
    }

    let all = ["first", "beside", "over", "running", "urgent", "again", "changed", "fired"];
    let mut batch = Vec::new();
    for name in all {
        let record = kit.schedule_of(&id(name)).await;
        batch.push(Firing::new(&record, at(1), Some(at(2))));
    }
    kit.pause_schedule(&id("changed")).await.expect("the store pauses");
    fire(&*kit.another().await, "fired", 1).await;
    let job = |name: &str| JobId::of_occurrence(&id(name), at(1));
    let expected = all.map(|name| match name {
        "running" => Fired::Overlapped,
        "changed" => Fired::Stale,
        name => Fired::Job(job(name)),
    });
    assert_eq!(kit.fire(&batch).await.expect("the store fires"), expected);
    for name in all {
        let record = kit.schedule_of(&id(name)).await;
        let last = record.last.map(|last| last.occurrence);
        let (next, ran) = match name {
            "changed" => (at(1), None),
            "running" => (at(2), Some(at(0))),
            _ => (at(2), Some(at(1))),
        };
        assert_eq!((record.next, last), (Some(next), ran), "{name}");
    }
    let counts = kit.count().await;
    assert_eq!((counts.waiting, counts.active), (6, 2));
    let waited = ids(&kit.worker().claim(10).await);
    assert_eq!(waited, ["urgent", "again", "fired", "first", "beside", "over"].map(job));
}

async fn two_schedules_due_at_once_make_two_jobs(kit: Kit) {
    let due = kit.now().await;
    let mut batch = Vec::new();
    for name in ["a", "b"] {
        let mut schedule = kit.every_minute(name);
        schedule.queue = super::kit::queue(name);
        kit.define(schedule, Some(due)).await;
        batch.push(Firing::new(&kit.schedule_of(&id(name)).await, due, None));
    }
    let fired = kit.fire(&batch).await.expect("the store fires");
    let jobs = ["a", "b"].map(|name| Fired::Job(JobId::of_occurrence(&id(name), due)));
    assert_eq!(fired, jobs);
    for name in ["a", "b"] {
        let claimed = kit.worker_in(&super::kit::queue(name)).claim(2).await;
        assert_eq!(ids(&claimed), [JobId::of_occurrence(&id(name), due)]);
    }
}

async fn an_empty_batch_does_nothing(kit: Kit) {
    assert!(kit.fire(&[]).await.expect("the store fires").is_empty());
}

/// Defines `schedule`, due now, and answers the occurrence and a firing of it. The occurrence
/// after is a millisecond later.
async fn due_now(kit: &Kit, schedule: Schedule) -> (Timestamp, Firing) {
    let due = kit.now().await;
    let id = schedule.id.clone();
    kit.define(schedule, Some(due)).await;
    let record: ScheduleRecord = kit.schedule_of(&id).await;
    (due, Firing::new(&record, due, Some(due + Duration::from_millis(1))))
}

/// Claims the first job and completes it.
async fn complete_one(kit: &Kit) {
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Complete).await;
}
