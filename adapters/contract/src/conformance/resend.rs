//! Every call may be sent again, unchanged, after its answer was lost: the effect is that of one.

use super::schedules::id;
use super::{Kit, case_list};
use crate::{
    CancelJob, Defined, Enqueued, Fired, Firing, Operated, Outcome, Settlement, Trigger, Triggered,
};

case_list! {
    "resend", __conformance_resend:
    enqueue_sent_again_changes_nothing_more,
    exchange_sent_again_changes_nothing_more,
    a_beat_sent_again_changes_nothing_more,
    sweep_sent_again_changes_nothing_more,
    cancel_job_sent_again_changes_nothing_more,
    pause_sent_again_changes_nothing_more,
    resume_sent_again_changes_nothing_more,
    replay_sent_again_changes_nothing_more,
    discard_sent_again_changes_nothing_more,
    schedule_sent_again_changes_nothing_more,
    cancel_sent_again_changes_nothing_more,
    trigger_sent_again_changes_nothing_more,
    fire_sent_again_changes_nothing_more,
    a_call_dropped_before_it_answers_may_be_sent_again,
}

async fn enqueue_sent_again_changes_nothing_more(kit: Kit) {
    let batch = vec![kit.new_job(), kit.after(60), kit.new_job()];
    let (first, again) = twice(&kit, async || kit.enqueue(&kit.queue, batch.clone()).await).await;
    assert_eq!(first, [Enqueued::New; 3]);
    assert_eq!(again, [Enqueued::Existing; 3]);
}

async fn exchange_sent_again_changes_nothing_more(kit: Kit) {
    kit.add_plain(10).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(6).await;
    let outcomes = [
        Outcome::Complete,
        Outcome::Retry(kit.units(60)),
        Outcome::Dead,
        Outcome::Cancel,
        Outcome::Release(std::time::Duration::ZERO),
    ];
    let settlements = claimed
        .iter()
        .zip(outcomes)
        .map(|(job, outcome)| Settlement::new(job.spec.id, job.generation, outcome));
    let mut turn = worker.turn_with(settlements.collect::<Vec<_>>());
    turn.claim = 2;
    let (first, again) = twice(&kit, async || kit.exchange(&turn).await).await;
    let (first, again) = match (first, again) {
        (crate::ExchangeReply::Answered(first), crate::ExchangeReply::Answered(again)) => {
            (first, again)
        }
        other => panic!("not answered: {other:?}"),
    };
    assert_eq!(first.claimed, again.claimed);
    assert_eq!(first.refused, again.refused);
}

async fn a_beat_sent_again_changes_nothing_more(kit: Kit) {
    let (worker, _claimed) = kit.claimed().await;
    let (first, again) = twice(&kit, async || Ok(worker.beat().await)).await;
    assert_eq!(first, again);
}

async fn sweep_sent_again_changes_nothing_more(kit: Kit) {
    kit.add(kit.after(1)).await;
    kit.claimed().await;
    kit.pass(5).await;
    kit.sweep_now().await;
    kit.pass(2).await;
    kit.sweep_now().await;
    let (first, again) = twice(&kit, async || kit.sweep(&kit.queue).await).await;
    assert_eq!((first.promoted, again.promoted), (0, 0));
    assert!(again.recovered.is_empty(), "a crash is counted once");
}

async fn cancel_job_sent_again_changes_nothing_more(kit: Kit) {
    let (_worker, claimed) = kit.claimed().await;
    let job = claimed.spec.id;
    let (first, again) = twice(&kit, async || kit.cancel_job(&kit.queue, job).await).await;
    assert_eq!((first, again), (CancelJob::Requested, CancelJob::Requested));
    let job = kit.add(kit.new_job()).await;
    let (first, _) = twice(&kit, async || kit.cancel_job(&kit.queue, job).await).await;
    assert_eq!(first, CancelJob::Cancelled);
}

async fn pause_sent_again_changes_nothing_more(kit: Kit) {
    kit.add_plain(1).await;
    let (first, again) = twice(&kit, async || kit.pause(&kit.queue).await).await;
    assert!(first && !again);
}

async fn resume_sent_again_changes_nothing_more(kit: Kit) {
    kit.add_plain(1).await;
    kit.pause(&kit.queue).await.expect("the store pauses");
    let (first, again) = twice(&kit, async || kit.resume(&kit.queue).await).await;
    assert!(first && !again);
}

async fn replay_sent_again_changes_nothing_more(kit: Kit) {
    let job = kit.settled(Outcome::Dead).await;
    let (first, _) = twice(&kit, async || kit.replay(&kit.queue, job).await).await;
    assert_eq!(first, Operated::Done);
    assert_eq!(kit.worker().claim(2).await.len(), 1);
}

async fn discard_sent_again_changes_nothing_more(kit: Kit) {
    let job = kit.settled(Outcome::Dead).await;
    let (first, again) = twice(&kit, async || kit.discard(&kit.queue, job).await).await;
    assert_eq!((first, again), (Operated::Done, Operated::NotFound));
}

async fn schedule_sent_again_changes_nothing_more(kit: Kit) {
    let next = Some(kit.now().await + kit.units(60));
    let mut schedule = kit.every_minute("a");
    let (first, again) = twice(&kit, async || kit.schedule(schedule.clone(), next).await).await;
    assert_eq!((first, again), (Defined::Created, Defined::Unchanged));
    schedule.queue = super::kit::queue("elsewhere");
    let (first, again) = twice(&kit, async || kit.schedule(schedule.clone(), next).await).await;
    assert_eq!((first, again), (Defined::Replaced, Defined::Unchanged));
}

async fn cancel_sent_again_changes_nothing_more(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    let (first, again) = twice(&kit, async || kit.cancel(&id("a")).await).await;
    assert!(first && !again);
}

async fn trigger_sent_again_changes_nothing_more(kit: Kit) {
    kit.define(kit.every_minute("a"), None).await;
    let trigger = Trigger::new(id("a"), kit.id(), kit.units(60));
    let (first, again) = twice(&kit, async || kit.trigger(trigger.clone()).await).await;
    assert_eq!(first, Triggered::Enqueued(kit.queue.clone()));
    assert_eq!(again, first);
}

async fn fire_sent_again_changes_nothing_more(kit: Kit) {
    let due = kit.now().await;
    for name in ["runs", "overlaps", "misses"] {
        kit.define(kit.every_minute(name), Some(due)).await;
    }
    kit.fire_due("overlaps").await;
    // The occurrence after has to be due by the store's clock, too.
    kit.pass(1).await;
    let mut batch = Vec::new();
    for name in ["runs", "overlaps", "misses"] {
        let record = kit.schedule_of(&id(name)).await;
        let occurrence = record.next.expect("there is a next occurrence");
        let mut firing = Firing::new(&record, occurrence, Some(occurrence + kit.units(60)));
        if name == "misses" {
            (firing.run, firing.missed) = (None, 2);
        }
        batch.push(firing);
    }
    let (first, again) = twice(&kit, async || kit.fire(&batch).await).await;
    assert!(matches!(first[0], Fired::Job(_)));
    assert_eq!(first[1..], [Fired::Overlapped, Fired::Missed]);
    assert_eq!(again[0], first[0]);
}

async fn a_call_dropped_before_it_answers_may_be_sent_again(kit: Kit) {
    let batch = vec![kit.new_job(), kit.new_job()];
    for _ in 0..3 {
        // Whether it has had its effect is not known.
        let mut call = Box::pin(kit.enqueue(&kit.queue, batch.clone()));
        super::kit::begin(&mut call).await;
    }
    kit.enqueue(&kit.queue, batch.clone()).await.expect("the store enqueues");
    assert_eq!(kit.count().await.total(), 2);

    let mut worker = kit.worker();
    let mut turn = worker.turn();
    turn.claim = 1;
    for _ in 0..3 {
        let mut call = Box::pin(kit.exchange(&turn));
        super::kit::begin(&mut call).await;
    }
    let answer = worker.answer(turn).await;
    assert_eq!(answer.claimed.len(), 1);
    assert_eq!(kit.count().await.active, 1);
    assert_eq!(worker.held_by_the_store().await, (worker.holds(), false));
}

/// Calls twice; the second time nothing is different after it. Answers both answers.
async fn twice<T>(kit: &Kit, call: impl AsyncFn() -> crate::Result<T>) -> (T, T) {
    let first = call().await.expect("the store answers");
    let after_the_first = kit.snapshot().await;
    let again = call().await.expect("the store answers a resend");
    assert_eq!(kit.snapshot().await, after_the_first, "a resend changes nothing more");
    (first, again)
}
