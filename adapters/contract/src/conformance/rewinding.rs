//! What was passed over while the clock was ahead is gone back to when it is set back, and nothing
//! else.

use std::time::Duration;

use super::due::due as due_now;
use super::schedules::id;
use super::{Kit, case_list};
use crate::{Defined, Fired, Firing, Overlap, Passed, Rewind, ScheduleRecord, Timestamp};

case_list! {
    "rewinding", __conformance_rewinding:
    occurrences_that_were_noticed_too_late_are_passed_over,
    where_all_were_missed_they_are_passed_over_up_to_the_next,
    the_last_that_were_passed_over_are_kept,
    a_schedule_goes_back_to_an_occurrence_that_was_passed_over,
    it_goes_back_to_none_other,
    it_goes_back_once_however_often_that_is_sent,
    it_goes_back_once_until_it_is_where_it_was,
    what_it_has_gone_back_to_is_fired,
    a_paused_schedule_goes_back_too,
    a_change_of_definition_forgets_what_was_passed_over,
    a_schedule_that_is_gone_does_not_go_back,
}

/// A schedule that is at its next occurrence, and what it is to pass over first.
async fn at_hand(kit: &Kit) -> (ScheduleRecord, Timestamp) {
    let due = kit.now().await;
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Allow;
    kit.define(schedule, Some(due)).await;
    (kit.only_schedule().await, due)
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A schedule that has passed over what was due in ten milliseconds, and has one the next day.
async fn ahead(kit: &Kit) -> (ScheduleRecord, Timestamp) {
    let (record, due) = at_hand(kit).await;
    let mut firing = Firing::new(&record, due, Some(due + Duration::from_hours(24)));
    (firing.run, firing.missed) = (Some(due + ms(10)), 10);
    assert!(matches!(kit.fire_one(firing).await, Fired::Job(_)));
    (kit.only_schedule().await, due)
}

fn back(record: &ScheduleRecord, earlier: Timestamp) -> Rewind {
    Rewind::new(record, earlier).expect("it has a next occurrence")
}

async fn rewind(kit: &Kit, rewind: Rewind) -> bool {
    kit.rewind(rewind).await.expect("the store answers")
}

async fn occurrences_that_were_noticed_too_late_are_passed_over(kit: Kit) {
    let (record, due) = at_hand(&kit).await;
    assert_eq!(record.passed, None);
    kit.fire_one(Firing::new(&record, due, Some(due + ms(1)))).await;
    assert_eq!(kit.only_schedule().await.passed, None, "it was in time");
    kit.pass(1).await;
    let mut late = Firing::new(&record, due + ms(1), Some(due + Duration::from_hours(1)));
    (late.run, late.missed) = (Some(due + ms(5)), 4);
    kit.fire_one(late).await;
    assert_eq!(kit.only_schedule().await.passed, Some(Passed::new(due + ms(1), due + ms(5))));
}

async fn where_all_were_missed_they_are_passed_over_up_to_the_next(kit: Kit) {
    let (record, due) = at_hand(&kit).await;
    let next = due + Duration::from_hours(1);
    let mut missed = Firing::new(&record, due, Some(next));
    (missed.run, missed.missed) = (None, 7);
    assert_eq!(kit.fire_one(missed).await, Fired::Missed);
    assert_eq!(kit.only_schedule().await.passed, Some(Passed::new(due, next)));
}

async fn the_last_that_were_passed_over_are_kept(kit: Kit) {
    let (record, due) = at_hand(&kit).await;
    kit.pass(1).await;
    let late = |from: u64, missed| {
        let mut late = Firing::new(&record, due + ms(from), Some(due + ms(from + 3)));
        (late.run, late.missed) = (Some(due + ms(from + 2)), missed);
        late
    };
    // One that passes over nothing changes nothing of it.
    kit.fire_one(late(0, 2)).await;
    kit.fire_one(late(3, 0)).await;
    assert_eq!(kit.only_schedule().await.passed, Some(Passed::new(due, due + ms(2))));
    kit.fire_one(late(6, 2)).await;
    assert_eq!(kit.only_schedule().await.passed, Some(Passed::new(due + ms(6), due + ms(8))));
}

async fn a_schedule_goes_back_to_an_occurrence_that_was_passed_over(kit: Kit) {
    let (record, due) = ahead(&kit).await;
    assert!(rewind(&kit, back(&record, due + ms(4))).await);
    let mut expected = ScheduleRecord { next: Some(due + ms(4)), ..record.clone() };
    expected.passed = Some(Passed::new(due, due + ms(10)).resumed(record.next));
    assert_eq!(kit.only_schedule().await, expected, "and nothing else changes");
}

async fn it_goes_back_to_none_other(kit: Kit) {
    let (record, due) = ahead(&kit).await;
    let good = back(&record, due + ms(4));
    let refused = [
        ("another revision", Rewind { revision: record.revision + 1, ..good.clone() }),
        ("another next occurrence", Rewind { next: good.next + ms(1), ..good.clone() }),
        ("before what was passed over", Rewind { earlier: due - ms(1), ..good.clone() }),
        ("the one that had a job", Rewind { earlier: due + ms(10), ..good.clone() }),
        ("later", Rewind { earlier: good.next + ms(1), ..good.clone() }),
    ];
    for (what, refused) in refused {
        assert!(!rewind(&kit, refused).await, "{what}");
        assert_eq!(kit.only_schedule().await, record, "{what}");
    }
    assert!(rewind(&kit, good).await, "all else was right");

    // Where nothing was passed over, there is nothing to go back to.
    let mut other = kit.every_minute("b");
    other.overlap = Overlap::Allow;
    kit.define(other, Some(due + Duration::from_hours(1))).await;
    let record = kit.schedule_of(&id("b")).await;
    assert!(!rewind(&kit, back(&record, due)).await);
    assert_eq!(kit.schedule_of(&id("b")).await, record);
}

async fn it_goes_back_once_however_often_that_is_sent(kit: Kit) {
    let (record, due) = ahead(&kit).await;
    let good = back(&record, due + ms(4));
    assert!(rewind(&kit, good.clone()).await);
    let before = kit.snapshot().await;
    assert!(rewind(&kit, good.clone()).await, "it has gone back so");
    assert_eq!(kit.snapshot().await, before);
    let further = Rewind { earlier: due + ms(2), ..good };
    assert!(!rewind(&kit, further).await);
    assert_eq!(kit.snapshot().await, before);
}

async fn it_goes_back_once_until_it_is_where_it_was(kit: Kit) {
    let (record, due) = ahead(&kit).await;
    let resume = record.next.expect("there is a next one");
    assert!(rewind(&kit, back(&record, due + ms(4))).await);
    kit.pass(1).await;
    let record = kit.only_schedule().await;
    // One of those that it went back to; those that are missed now are not passed over again.
    let mut first = Firing::new(&record, due + ms(4), Some(due + ms(7)));
    (first.run, first.missed) = (Some(due + ms(6)), 2);
    kit.fire_one(first).await;
    let passed = Some(Passed::new(due, due + ms(10)).resumed(Some(resume)));
    let record = kit.only_schedule().await;
    assert_eq!((record.passed, record.missed), (passed, 12));
    assert!(!rewind(&kit, back(&record, due + ms(5))).await);
    kit.fire_one(Firing::new(&record, due + ms(7), Some(resume))).await;
    let record = kit.only_schedule().await;
    assert_eq!((record.passed, record.next), (None, Some(resume)), "it is where it was");
}

async fn what_it_has_gone_back_to_is_fired(kit: Kit) {
    let (record, due) = ahead(&kit).await;
    kit.pass(1).await;
    assert!(due_now(&kit).await.0.is_empty(), "its next is tomorrow");
    assert!(rewind(&kit, back(&record, due + ms(4))).await);
    let (records, _) = due_now(&kit).await;
    assert_eq!(records.len(), 1);
    let fired = kit.fire_one(Firing::new(&records[0], due + ms(4), record.next)).await;
    assert!(matches!(fired, Fired::Job(_)), "{fired:?}");
    assert!(due_now(&kit).await.0.is_empty());
    assert_eq!(kit.count().await.waiting, 2);
}

async fn a_paused_schedule_goes_back_too(kit: Kit) {
    let (record, due) = ahead(&kit).await;
    kit.pause_schedule(&id("a")).await.expect("the store pauses");
    assert!(rewind(&kit, back(&record, due + ms(4))).await);
    kit.pass(1).await;
    assert!(due_now(&kit).await.0.is_empty(), "it is paused");
    kit.resume_schedule(&id("a"), Some(due + ms(4))).await.expect("the store resumes");
    let record = kit.only_schedule().await;
    assert!(record.passed.is_some_and(|passed| passed.resume.is_some()));
    assert_eq!(due_now(&kit).await.0.len(), 1);
}

async fn a_change_of_definition_forgets_what_was_passed_over(kit: Kit) {
    let (record, due) = ahead(&kit).await;
    let mut schedule = (*record.schedule).clone();
    schedule.misfire = crate::Misfire::Skip;
    assert_eq!(kit.define(schedule, record.next).await, Defined::Replaced);
    let record = kit.only_schedule().await;
    assert_eq!((record.passed, record.missed), (None, 10));
    assert!(!rewind(&kit, back(&record, due + ms(4))).await);
}

async fn a_schedule_that_is_gone_does_not_go_back(kit: Kit) {
    let (record, due) = ahead(&kit).await;
    kit.cancel(&id("a")).await.expect("the store cancels");
    assert!(!rewind(&kit, back(&record, due + ms(4))).await);
    assert_eq!(kit.schedules().await, []);
}
