//! What is due is found among however many schedules, and who waits for it is woken.

use std::collections::BTreeSet;
use std::time::Duration;

use super::kit::queue;
use super::schedules::id;
use super::{Kit, case_list};
use crate::{
    Claimed, DueInQueue, Fired, Firing, Outcome, Overlap, QueueName, ScheduleRecord, Settlement,
    Timestamp, Timing, Trigger, TriggerOverlap,
};

case_list! {
    "due", __conformance_due:
    what_is_due_is_told_as_it_is_stored,
    what_is_not_due_yet_is_told_by_when_it_is,
    what_is_due_soon_is_told_ahead_of_its_time,
    very_many_are_told_in_one_answer,
    a_fired_occurrence_is_due_no_more,
    the_longest_due_comes_first_up_to_the_limit,
    a_disabled_or_paused_schedule_is_not_due,
    a_cancelled_schedule_is_not_due,
    a_changed_schedule_is_due_by_its_new_occurrence,
    a_schedule_that_moves_is_due_in_its_new_queue,
    a_queue_is_asked_by_itself,
    with_jitter_it_is_due_when_the_schedule_says,
    what_is_queued_is_due_once_the_run_before_is_settled,
    what_is_queued_is_due_however_the_run_before_ends,
    what_is_queued_is_due_once_the_last_of_several_runs_is_settled,
    what_is_queued_is_due_once_both_runs_are_settled,
    what_is_queued_is_not_due_while_its_schedule_is_paused,
    a_limit_that_is_used_up_leaves_nothing_due,
    a_store_without_schedules_has_nothing_due,
    another_process_is_told_the_same,
}

async fn due_in(kit: &Kit, asked: Option<&[QueueName]>) -> Vec<DueInQueue> {
    let due = kit.due(asked, Duration::ZERO, 1000).await.expect("the store looks");
    assert!(due.unread.is_empty(), "{:?}", due.unread);
    due.queues
}

/// What is due in the kit's queue, and when the next is.
pub(super) async fn due(kit: &Kit) -> (Vec<ScheduleRecord>, Option<Timestamp>) {
    let mut queues = due_in(kit, None).await;
    queues.retain(|due| due.queue == kit.queue);
    queues.pop().map_or((Vec::new(), None), |due| (due.records, due.next))
}

async fn due_ids(kit: &Kit) -> Vec<String> {
    due(kit).await.0.iter().map(|record| record.schedule.id.to_string()).collect()
}

async fn what_is_due_is_told_as_it_is_stored(kit: Kit) {
    let before = kit.now().await;
    kit.define(kit.every_minute("a"), Some(before)).await;
    let queues = due_in(&kit, None).await;
    let [here] = &queues[..] else { panic!("there is one queue: {queues:?}") };
    assert_eq!(here.queue, kit.queue);
    assert!(before <= here.now && here.now <= kit.now().await, "with the store's time");
    assert_eq!((&here.records[..], here.next), (&[kit.only_schedule().await][..], None));
}

async fn what_is_not_due_yet_is_told_by_when_it_is(kit: Kit) {
    let next = kit.now().await + kit.units(60);
    kit.define(kit.every_minute("later"), Some(next + kit.units(60))).await;
    kit.define(kit.every_minute("next"), Some(next)).await;
    kit.define(kit.every_minute("never"), None).await;
    assert_eq!(due(&kit).await, (Vec::new(), Some(next)));
    kit.define(kit.every_minute("now"), Some(kit.now().await)).await;
    let (records, following) = due(&kit).await;
    assert_eq!((records.len(), following), (1, Some(next)));
}

async fn what_is_due_soon_is_told_ahead_of_its_time(kit: Kit) {
    let now = kit.now().await;
    let [soon, later] = [now + kit.units(60), now + kit.units(600)];
    kit.define(kit.every_minute("later"), Some(later)).await;
    kit.define(kit.every_minute("soon"), Some(soon)).await;
    kit.define(kit.every_minute("now"), Some(now)).await;
    let mut due = kit.due(None, kit.units(300), 1000).await.expect("the store looks");
    let here = due.queues.pop().expect("there is a queue");
    let ids: Vec<_> = here.records.iter().map(|record| record.schedule.id.as_str()).collect();
    assert_eq!((&ids[..], here.next), (&["now", "soon"][..], Some(later)));
    assert_eq!(due_ids(&kit).await, ["now"], "and by that nothing is due earlier");
    let soon = &here.records[1];
    let early = Firing::new(soon, soon.next.expect("it has a next one"), None);
    assert_eq!(kit.fire_one(early).await, Fired::Early);
    let first = kit.due(None, kit.units(300), 1).await.expect("the store looks").queues;
    assert_eq!(first[0].records.len(), 1, "up to the limit");
    let all = kit.due(None, Duration::MAX, 1000).await.expect("the store looks").queues;
    assert_eq!((all[0].records.len(), all[0].next), (3, None));
}

async fn very_many_are_told_in_one_answer(kit: Kit) {
    let at = kit.now().await;
    for n in 0..2300 {
        kit.define(kit.every_minute(&format!("n{n}")), Some(at)).await;
    }
    for (limit, told) in [(1000, 1000), (2100, 2100), (10_000, 2300)] {
        let due = kit.due(None, Duration::ZERO, limit).await.expect("the store looks");
        let ids: BTreeSet<_> =
            due.queues[0].records.iter().map(|record| &record.schedule.id).collect();
        assert_eq!((ids.len(), due.queues[0].records.len()), (told, told));
    }
    // Half of them fire, and are due soon; the others are found behind them.
    let soon = at + kit.units(6000);
    let due = kit.due(None, Duration::ZERO, 1300).await.expect("the store looks").queues;
    let next = |record| Firing::new(record, at, Some(soon));
    let firings: Vec<_> = due[0].records.iter().map(next).collect();
    kit.fire(&firings).await.expect("the store fires");
    let fired: BTreeSet<_> = firings.into_iter().map(|firing| firing.schedule).collect();
    for limit in [1, 10_000] {
        let here = kit.due(None, Duration::ZERO, limit).await.expect("the store looks").queues;
        assert_eq!(here[0].records.len(), 1000.min(limit));
        assert!(here[0].records.iter().all(|record| !fired.contains(&record.schedule.id)));
        assert!(limit == 1 || here[0].next == Some(soon));
    }
}

async fn a_fired_occurrence_is_due_no_more(kit: Kit) {
    let now = kit.now().await;
    kit.define(kit.every_minute("a"), Some(now)).await;
    let record = kit.only_schedule().await;
    let next = now + kit.units(60);
    kit.fire_one(Firing::new(&record, now, Some(next))).await;
    assert_eq!(due(&kit).await, (Vec::new(), Some(next)));
}

async fn the_longest_due_comes_first_up_to_the_limit(kit: Kit) {
    let now = kit.now().await;
    for n in 0..30_u64 {
        // Neither in the order of definition nor of ids.
        let at = now - Duration::from_millis((n * 7) % 30);
        kit.define(kit.every_minute(&format!("n{:02}", (n * 11) % 30)), Some(at)).await;
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 30 {
        let due = kit.due(None, Duration::ZERO, 8).await.expect("the store looks");
        let [here] = &due.queues[..] else { panic!("there is one queue: {due:?}") };
        assert_eq!(here.records.len(), 8.min(30 - seen.len()));
        let times: Vec<_> = here.records.iter().filter_map(|record| record.next).collect();
        assert!(times.is_sorted(), "{times:?}");
        let latest = kit.schedules().await.into_iter().filter(|other| {
            other.next.is_some()
                && other.next.is_some()
                && other.next < times.last().copied()
                && !here.records.contains(other)
        });
        assert_eq!(latest.count(), 0, "none that is left out is due longer");
        let firings = here.records.iter().filter_map(|r| Some(Firing::new(r, r.next?, None)));
        kit.fire(&firings.collect::<Vec<_>>()).await.expect("the store fires");
        seen.extend(here.records.iter().map(|record| record.schedule.id.clone()));
    }
    assert_eq!(due(&kit).await, (Vec::new(), None));
}

async fn a_disabled_or_paused_schedule_is_not_due(kit: Kit) {
    let now = kit.now().await;
    for name in ["off", "paused"] {
        kit.define(kit.every_minute(name), Some(now)).await;
    }
    let mut off = kit.every_minute("off");
    off.enabled = false;
    kit.define(off, Some(now)).await;
    kit.pause_schedule(&id("paused")).await.expect("the store pauses");
    assert_eq!(due(&kit).await, (Vec::new(), None));
    kit.define(kit.every_minute("off"), Some(now)).await;
    kit.resume_schedule(&id("paused"), Some(now)).await.expect("the store resumes");
    assert_eq!(due_ids(&kit).await.len(), 2);
}

async fn a_cancelled_schedule_is_not_due(kit: Kit) {
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    kit.cancel(&id("a")).await.expect("the store cancels");
    assert_eq!(due(&kit).await, (Vec::new(), None));
}

async fn a_changed_schedule_is_due_by_its_new_occurrence(kit: Kit) {
    let (now, later) = (kit.now().await, kit.now().await + kit.units(60));
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), Some(now)).await;
    schedule.timing = Timing::Every { period_ms: 1000 };
    kit.define(schedule.clone(), Some(later)).await;
    assert_eq!(due(&kit).await, (Vec::new(), Some(later)));
    schedule.timing = Timing::Every { period_ms: 2000 };
    kit.define(schedule.clone(), Some(now)).await;
    assert_eq!(due_ids(&kit).await, ["a"]);
    schedule.timing = Timing::Every { period_ms: 3000 };
    kit.define(schedule, None).await;
    assert_eq!(due(&kit).await, (Vec::new(), None));
}

async fn a_schedule_that_moves_is_due_in_its_new_queue(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), Some(kit.now().await)).await;
    schedule.queue = queue("elsewhere");
    kit.define(schedule, Some(kit.now().await)).await;
    let queues = due_in(&kit, None).await;
    let due: Vec<_> =
        queues.iter().filter(|due| !due.records.is_empty()).map(|due| &due.queue).collect();
    assert_eq!(due, [&queue("elsewhere")]);
}

async fn a_queue_is_asked_by_itself(kit: Kit) {
    for name in ["a", "b", "c"] {
        let mut schedule = kit.every_minute(name);
        schedule.queue = queue(name);
        kit.define(schedule, Some(kit.now().await)).await;
    }
    let asked = due_in(&kit, Some(&[queue("c"), queue("a")])).await;
    let mut ids: Vec<_> = asked
        .iter()
        .flat_map(|due| &due.records)
        .map(|record| record.schedule.id.clone())
        .collect();
    ids.sort();
    assert_eq!(ids, [id("a"), id("c")]);
    let nothing = due_in(&kit, Some(&[queue("nothing")])).await;
    assert!(nothing.iter().all(|due| due.records.is_empty() && due.next.is_none()));
}

async fn with_jitter_it_is_due_when_the_schedule_says(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.jitter = Some(kit.units(6000));
    // One that is due in a while, though its time has come.
    let mut occurrence = kit.now().await;
    while schedule.due(occurrence) < occurrence + kit.units(60) {
        occurrence = occurrence - Duration::from_millis(1);
    }
    let at = schedule.due(occurrence);
    kit.define(schedule, Some(occurrence)).await;
    assert_eq!(due(&kit).await, (Vec::new(), Some(at)));
    assert_eq!(
        kit.fire_one(Firing::new(&kit.only_schedule().await, occurrence, None)).await,
        Fired::Early
    );
}

async fn what_is_queued_is_due_once_the_run_before_is_settled(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Queue;
    kit.define(schedule, Some(kit.now().await)).await;
    kit.fire_due("a").await;
    let later = queue_one(&kit, "once").await;
    assert_eq!(due(&kit).await, (Vec::new(), Some(later)));
    end(&kit, Outcome::Complete).await;
    let (records, next) = due(&kit).await;
    assert_eq!((records.len(), next.unwrap_or(later)), (1, later));
    let queued = records[0].queued.expect("one is queued");
    assert!(matches!(kit.fire_one(Firing::of_queued(&records[0], queued)).await, Fired::Job(_)));
    assert_eq!(due(&kit).await, (Vec::new(), Some(later)));
}

async fn what_is_queued_is_due_however_the_run_before_ends(kit: Kit) {
    // So each job must run alone, and its first crash is its last.
    let kit = kit.with(|settings| settings.max_crashes = 1).await;
    for how in ["complete", "dead", "cancel", "cancelled by hand", "crash", "run by hand"] {
        let mut schedule = kit.every_minute("a");
        schedule.overlap = Overlap::Queue;
        kit.define(schedule, Some(kit.now().await)).await;
        let job = match how {
            "run by hand" => {
                let trigger = Trigger::new(id("a"), kit.by_hand_id(), kit.units(60));
                kit.trigger(trigger.clone()).await.expect("the store triggers");
                trigger.job
            }
            _ => match kit.fire_due("a").await {
                Fired::Job(job) => job,
                other => panic!("{how}: {other:?}"),
            },
        };
        queue_one(&kit, how).await;
        assert!(due_ids(&kit).await.is_empty(), "{how}");
        match how {
            "dead" => end(&kit, Outcome::Dead).await,
            "cancel" => end(&kit, Outcome::Cancel).await,
            "cancelled by hand" => {
                kit.cancel_job(&kit.queue, job).await.expect("the store cancels");
            }
            "crash" => {
                assert_eq!(kit.worker().claim_solo(1).await.claimed.len(), 1);
                kit.lapse().await;
            }
            _ => end(&kit, Outcome::Complete).await,
        }
        assert_eq!(due_ids(&kit).await, ["a"], "{how}");
        let record = kit.only_schedule().await;
        let firing = Firing::of_queued(&record, record.queued.expect("one is queued"));
        assert!(matches!(kit.fire_one(firing).await, Fired::Job(_)), "{how}");
        end(&kit, Outcome::Complete).await;
        kit.cancel(&id("a")).await.expect("the store cancels");
    }
}

async fn what_is_queued_is_due_once_the_last_of_several_runs_is_settled(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Queue;
    kit.define(schedule, Some(kit.now().await)).await;
    let by_hand = || Trigger::new(id("a"), kit.by_hand_id(), kit.units(60));
    kit.trigger(by_hand()).await.expect("the store triggers");
    queue_one(&kit, "behind a run by hand").await;
    let mut forced = by_hand();
    forced.overlap = TriggerOverlap::Allow;
    kit.trigger(forced.clone()).await.expect("the store triggers");
    let mut worker = kit.worker();
    let claimed = worker.claim(2).await;
    assert_eq!(claimed[1].spec.id, forced.job);
    worker.settle(&claimed[0], Outcome::Complete).await;
    worker.settle(&claimed[1], Outcome::Complete).await;
    assert_eq!(due_ids(&kit).await, ["a"]);
}

async fn what_is_queued_is_due_once_both_runs_are_settled(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    for together in [false, true] {
        let mut schedule = kit.every_minute("a");
        schedule.overlap = Overlap::Queue;
        kit.define(schedule, Some(kit.now().await)).await;
        kit.fire_due("a").await;
        // Kept no longer than the other.
        let mut by_hand = Trigger::new(id("a"), kit.by_hand_id(), Duration::ZERO);
        by_hand.overlap = TriggerOverlap::Allow;
        kit.trigger(by_hand).await.expect("the store triggers");
        queue_one(&kit, "behind two").await;
        let mut worker = kit.worker();
        let claimed = worker.claim(2).await;
        if together {
            let complete =
                |job: &Claimed| Settlement::new(job.spec.id, job.generation, Outcome::Complete);
            worker.settle_all(claimed.iter().map(complete)).await;
        } else {
            worker.settle(&claimed[0], Outcome::Complete).await;
            assert!(due_ids(&kit).await.is_empty(), "the other goes on");
            worker.settle(&claimed[1], Outcome::Complete).await;
        }
        assert_eq!(due_ids(&kit).await, ["a"]);
        kit.cancel(&id("a")).await.expect("the store cancels");
    }
}

async fn what_is_queued_is_not_due_while_its_schedule_is_paused(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Queue;
    kit.define(schedule, Some(kit.now().await)).await;
    kit.fire_due("a").await;
    let later = queue_one(&kit, "before it is paused").await;
    kit.pause_schedule(&id("a")).await.expect("the store pauses");
    end(&kit, Outcome::Complete).await;
    assert_eq!(due(&kit).await, (Vec::new(), None));
    kit.resume_schedule(&id("a"), Some(later)).await.expect("the store resumes");
    assert_eq!(due_ids(&kit).await, ["a"]);
}

/// Fires the next occurrence of `a`, of which a run is not settled; answers the one after, which
/// is a long way off.
async fn queue_one(kit: &Kit, how: &str) -> Timestamp {
    let record = kit.only_schedule().await;
    let occurrence = record.next.expect("there is a next one");
    while kit.now().await < occurrence {
        kit.pass(1).await;
    }
    let later = kit.now().await + kit.units(600);
    let firing = Firing::new(&record, occurrence, Some(later));
    assert_eq!(kit.fire_one(firing).await, Fired::Queued, "{how}");
    later
}

async fn a_limit_that_is_used_up_leaves_nothing_due(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.limit = std::num::NonZeroU64::new(1);
    kit.define(schedule, Some(kit.now().await)).await;
    assert!(matches!(kit.fire_due("a").await, Fired::Job(_)));
    assert_eq!(due(&kit).await, (Vec::new(), None));
}

async fn a_store_without_schedules_has_nothing_due(kit: Kit) {
    assert_eq!(due(&kit).await, (Vec::new(), None));
}

async fn another_process_is_told_the_same(kit: Kit) {
    let another = kit.another().await;
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    let there = another.due(None, Duration::ZERO, 10).await.expect("the store looks");
    assert_eq!(there.queues.len(), 1);
    assert_eq!(there.queues[0].records, due(&kit).await.0);
}

/// Claims the first job and ends it.
async fn end(kit: &Kit, outcome: Outcome) {
    let mut worker = kit.worker();
    let claimed = worker.claim_solo(1).await.claimed.pop().expect("a job waits");
    worker.settle(&claimed, outcome).await;
}
