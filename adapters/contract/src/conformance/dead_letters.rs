//! Dead letters are kept, and can be replayed or discarded.

use super::{Kit, case_list};
use crate::{JobState, Operated, Outcome};

case_list! {
    "dead_letters", __conformance_dead_letters:
    a_replayed_dead_letter_waits_with_nothing_counted,
    a_replayed_dead_letter_runs_like_any_job,
    a_replay_moves_the_generation_on,
    a_cancelled_job_can_be_replayed,
    a_replayed_job_is_not_asked_to_cancel_any_more,
    a_replayed_job_that_was_delayed_waits_at_once,
    what_is_not_dead_or_cancelled_is_not_replayed,
    what_is_not_there_is_not_replayed,
    a_replayed_job_is_not_forgotten_by_the_retention,
    a_discarded_dead_letter_is_forgotten,
    every_finished_job_can_be_discarded,
    what_has_not_finished_is_not_discarded,
    what_is_not_there_is_not_discarded,
    a_discarded_job_is_new_when_it_is_enqueued_again,
}

async fn a_replayed_dead_letter_waits_with_nothing_counted(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
    kit.sweep_for(2).await;
    kit.crash(claimed.spec.id, 1).await;
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Dead).await;
    let dead = kit.record(claimed.spec.id).await;
    assert_eq!((dead.state, dead.attempts, dead.crashes), (JobState::Dead, 2, 1));

    assert_eq!(replay(&kit, claimed.spec.id).await, Operated::Done);
    let record = kit.record(claimed.spec.id).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Waiting, 0, 0));
    assert_eq!(record.finished_at, None);
    assert_eq!(record.enqueued_at, dead.enqueued_at);
    let counts = kit.count().await;
    assert_eq!((counts.dead, counts.waiting), (0, 1));
}

async fn a_replayed_dead_letter_runs_like_any_job(kit: Kit) {
    let job = kit.settled(Outcome::Dead).await;
    replay(&kit, job).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    assert_eq!((claimed.spec.id, claimed.attempts, claimed.crashes), (job, 0, 0));
    worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
    kit.sweep_for(2).await;
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Complete).await;
    let record = kit.record(job).await;
    assert_eq!((record.state, record.attempts), (JobState::Completed, 2));
}

async fn a_replay_moves_the_generation_on(kit: Kit) {
    let job = kit.settled(Outcome::Dead).await;
    let dead = kit.record(job).await.generation;
    replay(&kit, job).await;
    assert!(kit.record(job).await.generation > dead);
}

async fn a_cancelled_job_can_be_replayed(kit: Kit) {
    let job = kit.add(kit.new_job()).await;
    kit.cancel_job(&kit.queue, job).await.expect("the store cancels");
    assert_eq!(replay(&kit, job).await, Operated::Done);
    assert_eq!(kit.worker().claim_one().await.spec.id, job);
}

async fn a_replayed_job_is_not_asked_to_cancel_any_more(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    kit.cancel_job(&kit.queue, claimed.spec.id).await.expect("the store cancels");
    worker.settle(&claimed, Outcome::Dead).await;
    replay(&kit, claimed.spec.id).await;
    assert!(!kit.record(claimed.spec.id).await.cancel_requested);
    let claimed = worker.claim_one().await;
    assert!(worker.say_hello().await.cancelled.is_empty());
    worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
    kit.assert_state(claimed.spec.id, JobState::Delayed).await;
}

async fn a_replayed_job_that_was_delayed_waits_at_once(kit: Kit) {
    let job = kit.add(kit.after(600)).await;
    kit.cancel_job(&kit.queue, job).await.expect("the store cancels");
    replay(&kit, job).await;
    kit.assert_state(job, JobState::Waiting).await;
    assert_eq!(kit.worker().claim_one().await.spec.id, job);
}

async fn what_is_not_dead_or_cancelled_is_not_replayed(kit: Kit) {
    let completed = kit.settled(Outcome::Complete).await;
    let (_worker, active) = kit.claimed().await;
    let waiting = kit.add(kit.new_job()).await;
    let delayed = kit.add(kit.after(600)).await;
    let before = kit.snapshot().await;
    for (job, state) in [
        (completed, JobState::Completed),
        (active.spec.id, JobState::Active),
        (waiting, JobState::Waiting),
        (delayed, JobState::Delayed),
    ] {
        assert_eq!(replay(&kit, job).await, Operated::Refused(state));
    }
    assert_eq!(kit.snapshot().await, before);
}

async fn what_is_not_there_is_not_replayed(kit: Kit) {
    assert_eq!(replay(&kit, kit.id()).await, Operated::NotFound);
    let job = kit.settled(Outcome::Dead).await;
    discard(&kit, job).await;
    assert_eq!(replay(&kit, job).await, Operated::NotFound);
}

async fn a_replayed_job_is_not_forgotten_by_the_retention(kit: Kit) {
    let age = kit.units(3);
    let kit = kit.with(|settings| settings.keep_dead.age = age).await;
    let job = kit.settled(Outcome::Dead).await;
    replay(&kit, job).await;
    kit.sweep_for(5).await;
    kit.assert_state(job, JobState::Waiting).await;

    // It dies again, and is kept from then on for as long as any.
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Dead).await;
    kit.sweep_for(1).await;
    kit.assert_state(job, JobState::Dead).await;
    kit.sweep_for(4).await;
    kit.assert_unknown(job).await;
}

async fn a_discarded_dead_letter_is_forgotten(kit: Kit) {
    let job = kit.settled(Outcome::Dead).await;
    assert_eq!(discard(&kit, job).await, Operated::Done);
    kit.assert_unknown(job).await;
    assert_eq!(kit.count().await.total(), 0);
    assert_eq!(discard(&kit, job).await, Operated::NotFound);
}

async fn every_finished_job_can_be_discarded(kit: Kit) {
    for outcome in [Outcome::Complete, Outcome::Dead, Outcome::Cancel] {
        let job = kit.settled(outcome).await;
        assert_eq!(discard(&kit, job).await, Operated::Done, "after {outcome:?}");
        kit.assert_unknown(job).await;
    }
    let mut spec = kit.new_job();
    spec.keep_result = Some(kit.units(600));
    let (mut worker, claimed) = kit.claimed_of(spec).await;
    worker.settle(&claimed, Outcome::Complete).await;
    assert_eq!(discard(&kit, claimed.spec.id).await, Operated::Done, "a kept result too");
    assert_eq!(kit.count().await.total(), 0);
}

async fn what_has_not_finished_is_not_discarded(kit: Kit) {
    let (_worker, active) = kit.claimed().await;
    let waiting = kit.add(kit.new_job()).await;
    let delayed = kit.add(kit.after(600)).await;
    let before = kit.snapshot().await;
    for (job, state) in [
        (active.spec.id, JobState::Active),
        (waiting, JobState::Waiting),
        (delayed, JobState::Delayed),
    ] {
        assert_eq!(discard(&kit, job).await, Operated::Refused(state));
    }
    assert_eq!(kit.snapshot().await, before);
}

async fn what_is_not_there_is_not_discarded(kit: Kit) {
    assert_eq!(discard(&kit, kit.id()).await, Operated::NotFound);
}

async fn a_discarded_job_is_new_when_it_is_enqueued_again(kit: Kit) {
    let spec = kit.new_job();
    let (mut worker, claimed) = kit.claimed_of(spec.clone()).await;
    worker.settle(&claimed, Outcome::Dead).await;
    discard(&kit, spec.id).await;
    kit.add(spec.clone()).await;
    let again = worker.claim_one().await;
    assert_eq!((again.spec.id, again.attempts), (spec.id, 0));
}

async fn replay(kit: &Kit, job: crate::JobId) -> Operated {
    kit.replay(&kit.queue, job).await.expect("the store replays")
}

async fn discard(kit: &Kit, job: crate::JobId) -> Operated {
    kit.discard(&kit.queue, job).await.expect("the store discards")
}
