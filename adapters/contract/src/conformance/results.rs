//! Whoever waits for a job's end hears of it.

use std::sync::Arc;
use std::time::Duration;

use super::kit::begin;
use super::{Kit, case_list};
use crate::{AttemptReport, JobId, JobRecord, JobState, Outcome, Payload, Settlement};

case_list! {
    "results", __conformance_results:
    awaiting_a_job_that_has_ended_answers_at_once,
    awaiting_a_job_that_is_not_there_answers_at_once,
    awaiting_a_job_answers_when_it_completes,
    awaiting_a_job_answers_when_it_dies,
    awaiting_a_job_answers_when_it_is_cancelled_while_it_waits,
    awaiting_a_job_answers_when_it_is_cancelled_between_attempts,
    awaiting_a_job_answers_when_it_dies_of_a_crash,
    awaiting_a_job_goes_on_over_a_retry,
    awaiting_ends_in_time_with_the_job_as_it_is,
    awaiting_for_no_time_at_all_looks,
    the_result_comes_with_the_answer,
    a_job_that_is_not_kept_ends_the_waiting_too,
    many_may_await_one_job,
    each_awaits_its_own_job,
    another_process_may_await,
    awaiting_that_is_dropped_changes_nothing,
}

async fn awaiting_a_job_that_has_ended_answers_at_once(kit: Kit) {
    for (outcome, state) in [
        (Outcome::Complete, JobState::Completed),
        (Outcome::Dead, JobState::Dead),
        (Outcome::Cancel, JobState::Cancelled),
    ] {
        let job = kit.settled(outcome).await;
        assert_eq!(awaited(&kit, job).await.state, state);
    }
}

async fn awaiting_a_job_that_is_not_there_answers_at_once(kit: Kit) {
    let answer = kit.in_time(kit.await_finish(&kit.queue, kit.id(), kit.units(600))).await;
    assert_eq!(answer.expect("at once").expect("the store looks"), None);
}

async fn awaiting_a_job_answers_when_it_completes(kit: Kit) {
    assert_wakes(&kit, Outcome::Complete, JobState::Completed).await;
}

async fn awaiting_a_job_answers_when_it_dies(kit: Kit) {
    assert_wakes(&kit, Outcome::Dead, JobState::Dead).await;
}

async fn assert_wakes(kit: &Kit, outcome: Outcome, state: JobState) {
    let (mut worker, claimed) = kit.claimed().await;
    let mut awaiting = Box::pin(awaited(kit, claimed.spec.id));
    assert!(begin(&mut awaiting).await.is_none(), "it has not ended");
    worker.settle(&claimed, outcome).await;
    let record = awaiting.await;
    assert_eq!((record.state, record.attempts), (state, 1));
    assert_eq!(record, kit.record(claimed.spec.id).await);
}

async fn awaiting_a_job_answers_when_it_is_cancelled_while_it_waits(kit: Kit) {
    let job = kit.add(kit.new_job()).await;
    assert_wakes_on_cancel(&kit, job).await;
}

async fn awaiting_a_job_answers_when_it_is_cancelled_between_attempts(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Retry(kit.units(600))).await;
    assert_wakes_on_cancel(&kit, claimed.spec.id).await;
}

async fn assert_wakes_on_cancel(kit: &Kit, job: JobId) {
    let mut awaiting = Box::pin(awaited(kit, job));
    assert!(begin(&mut awaiting).await.is_none(), "it has not ended");
    kit.cancel_job(&kit.queue, job).await.expect("the store cancels");
    assert_eq!(awaiting.await.state, JobState::Cancelled);
}

async fn awaiting_a_job_answers_when_it_dies_of_a_crash(kit: Kit) {
    let suspect = kit.crashed(2).await;
    kit.worker().claim_solo(1).await;
    let mut awaiting = Box::pin(awaited(&kit, suspect));
    assert!(begin(&mut awaiting).await.is_none(), "it has not ended");
    kit.lapse().await;
    assert_eq!(awaiting.await.state, JobState::Dead);
}

async fn awaiting_a_job_goes_on_over_a_retry(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let mut awaiting = Box::pin(awaited(&kit, claimed.spec.id));
    assert!(begin(&mut awaiting).await.is_none(), "it has not ended");
    worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
    assert!(begin(&mut awaiting).await.is_none(), "a retry is no end");
    kit.sweep_for(2).await;
    let again = worker.claim_one().await;
    assert!(begin(&mut awaiting).await.is_none(), "a second attempt is no end");
    worker.settle(&again, Outcome::Complete).await;
    assert_eq!(awaiting.await.attempts, 2);
}

async fn awaiting_ends_in_time_with_the_job_as_it_is(kit: Kit) {
    let job = kit.add(kit.new_job()).await;
    let before = kit.now().await;
    let answer = kit.in_time(kit.await_finish(&kit.queue, job, kit.units(2))).await;
    let record = answer.expect("it ends in time").expect("the store looks");
    assert_eq!(record.expect("the job is known").state, JobState::Waiting);
    assert!(kit.now().await.since(before) >= kit.units(2), "and not before");
}

async fn awaiting_for_no_time_at_all_looks(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let look = async || {
        let answer = kit.await_finish(&kit.queue, claimed.spec.id, Duration::ZERO);
        let record = kit.in_time(answer).await.expect("at once").expect("the store looks");
        record.expect("the job is known").state
    };
    assert_eq!(look().await, JobState::Active);
    worker.settle(&claimed, Outcome::Complete).await;
    assert_eq!(look().await, JobState::Completed);
}

async fn the_result_comes_with_the_answer(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    let mut spec = kit.new_job();
    spec.keep_result = Some(kit.units(600));
    let (mut worker, claimed) = kit.claimed_of(spec).await;
    let mut awaiting = Box::pin(awaited(&kit, claimed.spec.id));
    assert!(begin(&mut awaiting).await.is_none(), "it has not ended");

    let data = Payload::json(&[1, 2, 3]).expect("numbers are JSON");
    let report = Arc::new(AttemptReport { data: Some(data), ..AttemptReport::default() });
    let settlement = Settlement::new(claimed.spec.id, claimed.generation, Outcome::Complete);
    worker.settle_all([settlement.with_report(report.clone())]).await;

    assert_eq!(awaiting.await.last_attempt, Some(report.clone()));
    assert_eq!(awaited(&kit, claimed.spec.id).await.last_attempt, Some(report), "and later");
}

async fn a_job_that_is_not_kept_ends_the_waiting_too(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    let (mut worker, claimed) = kit.claimed().await;
    let waiting = kit.await_finish(&kit.queue, claimed.spec.id, kit.units(5));
    let mut waiting = Box::pin(kit.in_time(waiting));
    assert!(begin(&mut waiting).await.is_none(), "it has not ended");
    worker.settle(&claimed, Outcome::Complete).await;
    let record = waiting.await.expect("it ends").expect("the store looks");
    assert!(record.is_none_or(|record| record.state == JobState::Completed), "no stale state");
}

async fn many_may_await_one_job(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let mut all: Vec<_> = (0..20).map(|_| Box::pin(awaited(&kit, claimed.spec.id))).collect();
    for awaiting in &mut all {
        assert!(begin(awaiting).await.is_none(), "it has not ended");
    }
    worker.settle(&claimed, Outcome::Complete).await;
    for awaiting in all {
        assert_eq!(awaiting.await.state, JobState::Completed);
    }
}

async fn each_awaits_its_own_job(kit: Kit) {
    kit.add_plain(2).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(2).await;
    let mut first = Box::pin(awaited(&kit, claimed[0].spec.id));
    let mut second = Box::pin(awaited(&kit, claimed[1].spec.id));
    assert!(begin(&mut first).await.is_none());
    assert!(begin(&mut second).await.is_none());
    worker.settle(&claimed[1], Outcome::Complete).await;
    assert_eq!(second.await.spec.id, claimed[1].spec.id);
    assert!(begin(&mut first).await.is_none(), "the other has not ended");
    worker.settle(&claimed[0], Outcome::Dead).await;
    assert_eq!(first.await.state, JobState::Dead);
}

async fn another_process_may_await(kit: Kit) {
    let another = kit.another().await;
    let (mut worker, claimed) = kit.claimed().await;
    let waiting = another.await_finish(&kit.queue, claimed.spec.id, kit.units(5));
    let mut waiting = Box::pin(kit.in_time(waiting));
    assert!(begin(&mut waiting).await.is_none(), "it has not ended");
    worker.settle(&claimed, Outcome::Complete).await;
    let record = waiting.await.expect("it ends").expect("the store looks");
    assert_eq!(record.expect("the job is kept").state, JobState::Completed);
}

async fn awaiting_that_is_dropped_changes_nothing(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let before = kit.snapshot().await;
    for _ in 0..3 {
        let mut awaiting = Box::pin(awaited(&kit, claimed.spec.id));
        assert!(begin(&mut awaiting).await.is_none(), "it has not ended");
    }
    assert_eq!(kit.snapshot().await, before);
    worker.settle(&claimed, Outcome::Complete).await;
    assert_eq!(awaited(&kit, claimed.spec.id).await.state, JobState::Completed);
}

/// The job once it has ended, which it does well within the time.
async fn awaited(kit: &Kit, job: JobId) -> JobRecord {
    let within = kit.units(600);
    let answer = kit.in_time(kit.await_finish(&kit.queue, job, within)).await;
    let record = answer.expect("the wait ends with the job").expect("the store looks");
    record.expect("the job is known")
}
