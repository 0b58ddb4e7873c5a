//! Schedules are defined, listed, changed and removed.

use std::time::Duration;

use super::kit::{name, queue};
use super::{Kit, case_list};
use crate::{
    AppName, Defined, Fired, Firing, JobState, JobTemplate, Misfire, Origin, Outcome, Overlap,
    Payload, Priority, Schedule, ScheduleId, ScheduleRecord, Scope, Timestamp, Timing,
};

case_list! {
    "schedules", __conformance_schedules:
    a_new_schedule_is_created,
    a_schedule_is_listed_as_it_was_defined,
    defining_it_again_unchanged_keeps_its_place_and_revision,
    a_changed_schedule_takes_the_next_occurrence_given,
    every_change_of_a_definition_is_a_change,
    a_changed_schedule_keeps_its_counts_and_last_run,
    a_cancelled_schedule_is_gone,
    cancelling_what_is_not_there_does_nothing,
    a_cancelled_schedule_leaves_its_jobs,
    a_schedule_defined_again_after_it_was_cancelled_is_new,
    is_scheduled_tells_whether_there_is_one,
    a_disabled_schedule_is_there_and_keeps_its_place,
    a_schedule_without_a_next_occurrence_is_there,
    schedules_are_listed_in_the_order_of_their_ids,
    schedules_are_listed_with_the_state_of_their_last_run,
    how_a_last_run_ended_is_known_after_its_job_is_forgotten,
    a_last_run_that_was_replayed_is_told_as_it_is,
    one_schedule_is_told_as_in_the_list,
    a_paused_schedule_does_not_fire_and_keeps_its_place,
    a_resumed_schedule_goes_on_from_the_next_occurrence_given,
    pausing_and_resuming_tell_whether_anything_changed,
    a_change_of_definition_does_not_resume,
    where_the_limit_is_used_up_there_is_no_next_occurrence,
    a_store_without_schedules_lists_none,
    a_schedule_that_moves_to_another_queue_is_there_once,
    a_schedule_that_moves_fires_in_its_new_queue,
    a_schedule_that_moves_keeps_its_counts_and_its_pause,
    a_schedule_that_moved_is_stale_for_who_saw_it_before,
    many_schedules_in_many_queues_are_all_listed,
    another_process_sees_the_same_schedules,
}

async fn a_new_schedule_is_created(kit: Kit) {
    let next = kit.now().await + kit.units(60);
    assert_eq!(kit.define(kit.every_minute("a"), Some(next)).await, Defined::Created);
    let record = kit.only_schedule().await;
    assert_eq!((record.next, record.last), (Some(next), None));
    assert_eq!((record.fired, record.overlapped, record.missed), (0, 0, 0));
}

async fn a_schedule_is_listed_as_it_was_defined(kit: Kit) {
    let schedule = elaborate(&kit);
    let next = Timestamp::from_millis(4_000_000_000_123);
    kit.define(schedule.clone(), Some(next)).await;
    let before = kit.now().await;
    let listed = kit.scheduled_jobs().await.expect("the store lists schedules");
    assert!(listed.now >= before, "with the store's time");
    assert_eq!(listed.records.len(), 1);
    assert_eq!(*listed.records[0].schedule, schedule);
    assert_eq!(listed.records[0].next, Some(next));
}

async fn defining_it_again_unchanged_keeps_its_place_and_revision(kit: Kit) {
    let next = kit.now().await + kit.units(60);
    for schedule in [kit.every_minute("plain"), elaborate(&kit)] {
        kit.define(schedule.clone(), Some(next)).await;
        let before = kit.schedule_of(&schedule.id).await;
        let later = Some(next + kit.units(30));
        assert_eq!(kit.define(schedule.clone(), later).await, Defined::Unchanged);
        assert_eq!(kit.define(schedule.clone(), None).await, Defined::Unchanged);
        assert_eq!(kit.schedule_of(&schedule.id).await, before);
    }
}

async fn a_changed_schedule_takes_the_next_occurrence_given(kit: Kit) {
    let next = kit.now().await + kit.units(60);
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), Some(next)).await;
    let before = kit.only_schedule().await;
    schedule.timing = Timing::Every { period_ms: 1_000 };
    let sooner = next - kit.units(30);
    assert_eq!(kit.define(schedule.clone(), Some(sooner)).await, Defined::Replaced);
    let record = kit.only_schedule().await;
    assert_eq!((&*record.schedule, record.next), (&schedule, Some(sooner)));
    assert_ne!(record.revision, before.revision);
}

async fn every_change_of_a_definition_is_a_change(kit: Kit) {
    let next = kit.now().await + kit.units(60);
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), Some(next)).await;
    let changes: [fn(&mut Schedule); 20] = [
        |s| s.template.name = name("another_job"),
        |s| s.template.payload = Payload::from_json_bytes("[2]"),
        |s| s.template.priority = Priority::Bulk,
        |s| s.template.attempts = std::num::NonZeroU32::new(7),
        |s| s.template.timeout = Some(Duration::from_millis(1)),
        |s| s.template.keep_result = Some(Duration::from_secs(5)),
        |s| s.template.scope = Some(Scope::tenant("acme")),
        |s| s.overlap = Overlap::Allow,
        |s| s.misfire = Misfire::Skip,
        |s| s.misfire = Misfire::All,
        |s| s.enabled = false,
        |s| s.origin = Origin::Code { app: AppName::new("shop").expect("a valid name") },
        |s| s.timing = Timing::Cron { pattern: "1 2 * * *".into(), timezone: "UTC".into() },
        |s| s.timing = Timing::Once { at: Timestamp::from_millis(4_000_000_000_123) },
        |s| s.overlap = Overlap::Queue,
        |s| s.misfire_within = Some(Duration::from_secs(60)),
        |s| s.starts = Some(Timestamp::EPOCH),
        |s| s.ends = Some(Timestamp::from_millis(4_000_000_000_000)),
        |s| s.limit = std::num::NonZeroU64::new(3),
        |s| s.jitter = Some(Duration::from_secs(5)),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let before = kit.only_schedule().await;
        change(&mut schedule);
        let defined = kit.define(schedule.clone(), Some(next)).await;
        assert_eq!(defined, Defined::Replaced, "change {place}");
        let record = kit.only_schedule().await;
        assert_eq!(*record.schedule, schedule);
        assert!(record.revision > before.revision, "change {place}");
    }
}

async fn a_changed_schedule_keeps_its_counts_and_last_run(kit: Kit) {
    let due = kit.now().await;
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), Some(due)).await;
    kit.fire_due("a").await;
    kit.fire_due("a").await;
    let before = kit.only_schedule().await;
    assert_eq!((before.fired, before.overlapped), (1, 1));

    schedule.overlap = Overlap::Allow;
    kit.define(schedule, before.next).await;
    let after = kit.only_schedule().await;
    assert_eq!((after.fired, after.overlapped, after.missed), (1, 1, 0));
    assert_eq!(after.last, before.last);
}

async fn a_cancelled_schedule_is_gone(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    kit.define(kit.every_minute("b"), None).await;
    assert!(kit.cancel(&id("a")).await.expect("the store cancels"));
    assert_eq!(kit.only_schedule().await.schedule.id, id("b"));
    assert!(!kit.cancel(&id("a")).await.expect("the store cancels"), "there is none any more");
}

async fn cancelling_what_is_not_there_does_nothing(kit: Kit) {
    assert!(!kit.cancel(&id("nothing")).await.expect("the store cancels"));
}

async fn a_cancelled_schedule_leaves_its_jobs(kit: Kit) {
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    let Fired::Job(job) = kit.fire_due("a").await else { panic!("it is due") };
    kit.cancel(&id("a")).await.expect("the store cancels");
    kit.assert_state(job, JobState::Waiting).await;
    assert_eq!(kit.worker().claim_one().await.spec.id, job);
}

async fn a_schedule_defined_again_after_it_was_cancelled_is_new(kit: Kit) {
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    kit.fire_due("a").await;
    kit.cancel(&id("a")).await.expect("the store cancels");
    let next = kit.now().await + kit.units(60);
    assert_eq!(kit.define(kit.every_minute("a"), Some(next)).await, Defined::Created);
    let record = kit.only_schedule().await;
    assert_eq!((record.next, record.last, record.fired), (Some(next), None, 0));
}

async fn is_scheduled_tells_whether_there_is_one(kit: Kit) {
    let is_scheduled = async |name| kit.is_scheduled(&id(name)).await.expect("the store looks");
    assert!(!is_scheduled("a").await);
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), None).await;
    assert!(is_scheduled("a").await);
    assert!(!is_scheduled("b").await);
    schedule.enabled = false;
    kit.define(schedule, None).await;
    assert!(is_scheduled("a").await, "enabled or not");
    kit.cancel(&id("a")).await.expect("the store cancels");
    assert!(!is_scheduled("a").await);
}

async fn a_disabled_schedule_is_there_and_keeps_its_place(kit: Kit) {
    let next = kit.now().await + kit.units(60);
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), Some(next)).await;
    schedule.enabled = false;
    kit.define(schedule.clone(), Some(next)).await;
    let record = kit.only_schedule().await;
    assert_eq!((record.schedule.enabled, record.next), (false, Some(next)));
    schedule.enabled = true;
    assert_eq!(kit.define(schedule, Some(next)).await, Defined::Replaced);
    assert_eq!(kit.only_schedule().await.next, Some(next));
}

async fn a_schedule_without_a_next_occurrence_is_there(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    assert_eq!(kit.only_schedule().await.next, None);
    let record = kit.only_schedule().await;
    let firing = Firing::new(&record, kit.now().await, None);
    assert_eq!(kit.fire_one(firing).await, Fired::Stale);
}

async fn schedules_are_listed_in_the_order_of_their_ids(kit: Kit) {
    for (place, name) in ["m", "B", "a-2", "a-10", "z", "a"].into_iter().enumerate() {
        let mut schedule = kit.every_minute(name);
        schedule.queue = queue(&format!("queue-{}", place % 3));
        kit.define(schedule, None).await;
    }
    let ids: Vec<_> =
        kit.schedules().await.into_iter().map(|record| record.schedule.id.clone()).collect();
    assert_eq!(ids, ["B", "a", "a-10", "a-2", "m", "z"]);
}

async fn schedules_are_listed_with_the_state_of_their_last_run(kit: Kit) {
    let due = kit.now().await;
    kit.define(kit.every_minute("a"), Some(due)).await;
    let Fired::Job(job) = kit.fire_due("a").await else { panic!("it is due") };
    let last = kit.only_schedule().await.last.expect("it has run");
    assert_eq!((last.occurrence, last.job), (due, job));
    assert_eq!(last.state, Some(JobState::Waiting));

    let state = async || kit.only_schedule().await.last.expect("it has run").state;
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    assert_eq!(state().await, Some(JobState::Active));
    worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
    assert_eq!(state().await, Some(JobState::Delayed));
    kit.sweep_for(2).await;
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Dead).await;
    assert_eq!(state().await, Some(JobState::Dead));
}

async fn how_a_last_run_ended_is_known_after_its_job_is_forgotten(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    for outcome in [Outcome::Complete, Outcome::Cancel, Outcome::Complete] {
        let Fired::Job(job) = kit.fire_due("a").await else { panic!("it is due") };
        let last = kit.only_schedule().await.last.expect("it has run");
        assert_eq!((last.job, last.state), (job, Some(JobState::Waiting)));
        assert_eq!(last.finished_at, None);
        let mut worker = kit.worker();
        let claimed = worker.claim_one().await;
        let before = kit.now().await;
        worker.settle(&claimed, outcome).await;
        kit.assert_unknown(job).await;
        let last = kit.only_schedule().await.last.expect("it has run");
        let state =
            if outcome == Outcome::Complete { JobState::Completed } else { JobState::Cancelled };
        assert_eq!((last.job, last.state), (job, Some(state)));
        let at = last.finished_at.expect("it has ended");
        assert!(before <= at && at <= kit.now().await, "{at}");
    }
}

async fn a_last_run_that_was_replayed_is_told_as_it_is(kit: Kit) {
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    let Fired::Job(job) = kit.fire_due("a").await else { panic!("it is due") };
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Dead).await;
    let last = async || kit.only_schedule().await.last.expect("it has run");
    assert_eq!(last().await.state, Some(JobState::Dead));
    let died = last().await.finished_at.expect("it has ended");

    kit.replay(&kit.queue, job).await.expect("the store replays");
    assert_eq!((last().await.state, last().await.finished_at), (Some(JobState::Waiting), None));
    kit.pass(1).await;
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Complete).await;
    assert_eq!(last().await.state, Some(JobState::Completed));
    assert!(last().await.finished_at.is_some_and(|at| at > died));
}

async fn one_schedule_is_told_as_in_the_list(kit: Kit) {
    let told = async |name| kit.scheduled_job(&id(name)).await.expect("the store looks");
    assert_eq!(told("a").await, None);
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    kit.define(elaborate(&kit), None).await;
    kit.fire_due("a").await;
    for name in ["a", "elaborate"] {
        assert_eq!(told(name).await, Some(kit.schedule_of(&id(name)).await));
    }
}

async fn a_paused_schedule_does_not_fire_and_keeps_its_place(kit: Kit) {
    let due = kit.now().await;
    kit.define(kit.every_minute("a"), Some(due)).await;
    assert!(kit.pause_schedule(&id("a")).await.expect("the store pauses"));
    let before = kit.only_schedule().await;
    assert!(before.paused);
    assert_eq!(before.next, Some(due));
    assert_eq!(kit.fire_due("a").await, Fired::Stale);
    assert_eq!(kit.only_schedule().await, before);
    assert_eq!(kit.count().await.total(), 0);
}

async fn a_resumed_schedule_goes_on_from_the_next_occurrence_given(kit: Kit) {
    let due = kit.now().await;
    kit.define(kit.every_minute("a"), Some(due)).await;
    let firing = Firing::new(&kit.only_schedule().await, due, Some(due + kit.units(60)));
    kit.pause_schedule(&id("a")).await.expect("the store pauses");
    let next = kit.now().await + Duration::from_millis(1);
    assert!(kit.resume_schedule(&id("a"), Some(next)).await.expect("the store resumes"));
    let record = kit.only_schedule().await;
    assert_eq!((record.paused, record.next), (false, Some(next)));
    assert_eq!(kit.fire_one(firing).await, Fired::Stale, "what came meanwhile is past");
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
}

async fn pausing_and_resuming_tell_whether_anything_changed(kit: Kit) {
    let pause = async || kit.pause_schedule(&id("a")).await.expect("the store pauses");
    let next = kit.now().await + kit.units(60);
    let resume = async |next| kit.resume_schedule(&id("a"), next).await.expect("it resumes");
    assert!(!pause().await && !resume(Some(next)).await, "there is none");
    kit.define(kit.every_minute("a"), Some(next)).await;
    assert!(!resume(None).await);
    assert_eq!(kit.only_schedule().await.next, Some(next), "nothing changed");
    assert!(pause().await && !pause().await);
    assert!(resume(Some(next)).await && !resume(None).await);
    assert_eq!(kit.only_schedule().await.next, Some(next));
}

async fn a_change_of_definition_does_not_resume(kit: Kit) {
    let next = kit.now().await + kit.units(60);
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), Some(next)).await;
    kit.pause_schedule(&id("a")).await.expect("the store pauses");
    schedule.misfire = Misfire::Skip;
    kit.define(schedule, Some(next)).await;
    assert!(kit.only_schedule().await.paused);
    kit.cancel(&id("a")).await.expect("the store cancels");
    kit.define(kit.every_minute("a"), Some(next)).await;
    assert!(!kit.only_schedule().await.paused, "it is another");
}

async fn where_the_limit_is_used_up_there_is_no_next_occurrence(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.limit = std::num::NonZeroU64::new(2);
    schedule.overlap = Overlap::Allow;
    kit.define(schedule.clone(), Some(kit.now().await)).await;
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    assert!(kit.only_schedule().await.next.is_some());
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    assert_eq!(kit.only_schedule().await.next, None);

    // Nor does another definition, or a pause, bring it back; a higher limit does.
    let next = Some(kit.now().await + kit.units(60));
    schedule.misfire = Misfire::Skip;
    kit.define(schedule.clone(), next).await;
    assert_eq!(kit.only_schedule().await.next, None);
    kit.pause_schedule(&id("a")).await.expect("the store pauses");
    kit.resume_schedule(&id("a"), next).await.expect("the store resumes");
    assert_eq!(kit.only_schedule().await.next, None);
    schedule.limit = std::num::NonZeroU64::new(3);
    kit.define(schedule, next).await;
    assert_eq!(kit.only_schedule().await.next, next);
}

async fn a_store_without_schedules_lists_none(kit: Kit) {
    assert!(kit.schedules().await.is_empty());
}

async fn a_schedule_that_moves_to_another_queue_is_there_once(kit: Kit) {
    let next = kit.now().await + kit.units(60);
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), Some(next)).await;
    schedule.queue = queue("elsewhere");
    assert_eq!(kit.define(schedule.clone(), Some(next)).await, Defined::Replaced);
    let record = kit.only_schedule().await;
    assert_eq!((&*record.schedule, record.next), (&schedule, Some(next)));
    assert_eq!(kit.define(schedule, None).await, Defined::Unchanged);
    assert!(kit.is_scheduled(&id("a")).await.expect("the store looks"));
    assert!(kit.cancel(&id("a")).await.expect("the store cancels"));
    assert!(kit.schedules().await.is_empty());
}

async fn a_schedule_that_moves_fires_in_its_new_queue(kit: Kit) {
    let due = kit.now().await;
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), Some(due)).await;
    schedule.queue = queue("elsewhere");
    kit.define(schedule, Some(due)).await;
    let Fired::Job(job) = kit.fire_due("a").await else { panic!("it is due") };
    kit.assert_unknown(job).await;
    let claimed = kit.worker_in(&queue("elsewhere")).claim_one().await;
    assert_eq!(claimed.spec.id, job);
}

async fn a_schedule_that_moves_keeps_its_counts_and_its_pause(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Queue;
    kit.define(schedule.clone(), Some(kit.now().await)).await;
    let fired = [kit.fire_due("a").await, kit.fire_due("a").await, kit.fire_due("a").await];
    assert!(matches!(fired, [Fired::Job(_), Fired::Queued, Fired::Overlapped]), "{fired:?}");
    kit.pause_schedule(&id("a")).await.expect("the store pauses");
    schedule.queue = queue("elsewhere");
    kit.define(schedule, None).await;
    let record = kit.only_schedule().await;
    assert_eq!((record.fired, record.paused), (1, true));
    // What was queued stays behind.
    assert_eq!((record.overlapped, record.queued, record.last), (2, None, None));
}

async fn a_schedule_that_moved_is_stale_for_who_saw_it_before(kit: Kit) {
    let due = kit.now().await;
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), Some(due)).await;
    let seen = kit.only_schedule().await;
    schedule.queue = queue("elsewhere");
    kit.define(schedule, Some(due)).await;
    let firing = Firing::new(&seen, due, Some(due + kit.units(60)));
    assert_eq!(kit.fire_one(firing).await, Fired::Stale);
    let fired = kit.fire_due("a").await;
    assert!(matches!(fired, Fired::Job(_)), "it is neither lost");
    let late = kit.fire_one(Firing::new(&seen, due, None)).await;
    assert!(late == Fired::Stale || late == fired, "{late:?}");
    assert_eq!(kit.count().await.total(), 0);
    let counts = kit.counts(&queue("elsewhere")).await.expect("the store counts");
    assert_eq!(counts.total(), 1, "nor doubled");
}

async fn many_schedules_in_many_queues_are_all_listed(kit: Kit) {
    for n in 0..300 {
        let mut schedule = kit.every_minute(&format!("schedule-{n:03}"));
        schedule.queue = queue(&format!("queue-{}", n % 7));
        kit.define(schedule, None).await;
    }
    let listed = kit.schedules().await;
    assert_eq!(listed.len(), 300);
    for (n, record) in listed.iter().enumerate() {
        assert_eq!(record.schedule.id, id(&format!("schedule-{n:03}")));
        assert_eq!(record.schedule.queue, queue(&format!("queue-{}", n % 7)));
    }
}

async fn another_process_sees_the_same_schedules(kit: Kit) {
    let another = kit.another().await;
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    let there = another.scheduled_jobs().await.expect("the store lists schedules").records;
    assert_eq!(there, kit.schedules().await);
    assert!(another.cancel(&id("a")).await.expect("the store cancels"));
    assert!(kit.schedules().await.is_empty());
}

/// A schedule with everything stated.
fn elaborate(kit: &Kit) -> Schedule {
    let mut template = JobTemplate::new(name("report"), Payload::from_json_bytes("{\"a\":\"ä\"}"));
    template.priority = Priority::High;
    template.attempts = std::num::NonZeroU32::new(3);
    template.timeout = Some(Duration::from_millis(12_345));
    template.keep_result = Some(Duration::from_secs(60));
    template.scope = Some(Scope::new("acme", "shop – 1"));
    let timing = Timing::Cron { pattern: "0 3 * * *".into(), timezone: "Europe/Berlin".into() };
    let mut schedule = Schedule::new(id("elaborate"), kit.queue.clone(), timing, template);
    schedule.overlap = Overlap::Allow;
    schedule.misfire = Misfire::Skip;
    schedule.misfire_within = Some(Duration::from_millis(3_600_123));
    schedule.starts = Some(Timestamp::from_millis(1_764_201_600_001));
    schedule.ends = Some(Timestamp::from_millis(4_764_201_600_001));
    schedule.limit = std::num::NonZeroU64::new(1 << 40);
    schedule.jitter = Some(Duration::from_millis(1_500));
    schedule.enabled = false;
    schedule.origin = Origin::Code { app: AppName::new("shop").expect("a valid name") };
    schedule
}

pub(super) fn id(id: &str) -> ScheduleId {
    ScheduleId::new(id).expect("a test's schedule id is valid")
}

/// What cases about schedules use.
impl Kit {
    /// A schedule of the default policies in the kit's queue. The store does not interpret when
    /// it is due: a case says so.
    pub(super) fn every_minute(&self, name: &str) -> Schedule {
        let timing = Timing::Every { period_ms: 60_000 };
        let template = JobTemplate::new(super::kit::name("scheduled_job"), Payload::none());
        Schedule::new(id(name), self.queue.clone(), timing, template)
    }

    pub(super) async fn define(&self, schedule: Schedule, next: Option<Timestamp>) -> Defined {
        self.schedule(schedule, next).await.expect("the store takes a schedule")
    }

    pub(super) async fn schedules(&self) -> Vec<ScheduleRecord> {
        self.scheduled_jobs().await.expect("the store lists schedules").records
    }

    /// The one schedule there is.
    pub(super) async fn only_schedule(&self) -> ScheduleRecord {
        let mut records = self.schedules().await;
        assert_eq!(records.len(), 1, "there is one schedule: {records:?}");
        records.remove(0)
    }

    pub(super) async fn schedule_of(&self, id: &ScheduleId) -> ScheduleRecord {
        let records = self.schedules().await;
        let found = records.into_iter().find(|record| record.schedule.id == *id);
        found.unwrap_or_else(|| panic!("there is no schedule {id}"))
    }

    pub(super) async fn fire_one(&self, firing: Firing) -> Fired {
        let fired = self.fire(&[firing]).await.expect("the store fires");
        assert_eq!(fired.len(), 1, "one firing has one answer: {fired:?}");
        fired[0]
    }

    /// Fires a schedule as it is now; the occurrence after is one millisecond later.
    pub(super) async fn fire_due(&self, schedule: &str) -> Fired {
        let record = self.schedule_of(&id(schedule)).await;
        let occurrence = record.next.expect("there is a next occurrence");
        // Real stores have a clock that may still show the very millisecond.
        while self.now().await < occurrence {
            self.pass(1).await;
        }
        let next = occurrence + Duration::from_millis(1);
        self.fire_one(Firing::new(&record, occurrence, Some(next))).await
    }
}
