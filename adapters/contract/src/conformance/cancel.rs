//! Cancelling jobs, in whatever state they are.

use std::time::Duration;

use super::{Kit, case_list};
use crate::{CancelJob, Claimed, ExchangeReply, JobId, JobState, Outcome};

case_list! {
    "cancel", __conformance_cancel:
    a_waiting_job_is_cancelled_at_once,
    a_delayed_job_is_cancelled_at_once,
    a_retried_job_is_cancelled_between_its_attempts,
    a_cancelled_job_is_never_claimed,
    cancelling_one_job_leaves_its_neighbours,
    an_active_job_is_asked_for_and_its_worker_told_until_it_is_settled,
    another_worker_is_not_told,
    a_worker_is_told_when_its_exchange_is_sent_again,
    a_job_asked_to_cancel_may_still_complete,
    a_job_asked_to_cancel_may_still_die,
    a_job_asked_to_cancel_that_is_cancelled_counts_the_attempt,
    a_retry_of_a_job_asked_to_cancel_cancels_it,
    a_release_of_a_job_asked_to_cancel_cancels_it,
    a_release_with_a_delay_of_a_job_asked_to_cancel_cancels_it,
    asking_twice_is_asking_once,
    a_finished_job_is_not_cancelled,
    a_job_that_is_not_there_is_not_found,
    where_cancelled_jobs_are_not_kept_they_go_at_once,
    a_cancelled_job_keeps_its_counts,
}

async fn a_waiting_job_is_cancelled_at_once(kit: Kit) {
    let job = kit.add(kit.new_job()).await;
    assert_eq!(cancel(&kit, job).await, CancelJob::Cancelled);
    let record = kit.record(job).await;
    assert_eq!((record.state, record.attempts), (JobState::Cancelled, 0));
    assert!(record.finished_at.is_some());
    let counts = kit.count().await;
    assert_eq!((counts.waiting, counts.cancelled), (0, 1));
}

async fn a_delayed_job_is_cancelled_at_once(kit: Kit) {
    let job = kit.add(kit.after(2)).await;
    assert_eq!(cancel(&kit, job).await, CancelJob::Cancelled);
    let counts = kit.count().await;
    assert_eq!((counts.delayed, counts.cancelled), (0, 1));
    let swept = kit.sweep_for(3).await;
    assert_eq!(swept.promoted, 0);
    kit.assert_state(job, JobState::Cancelled).await;
}

async fn a_retried_job_is_cancelled_between_its_attempts(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Retry(kit.units(2))).await;
    assert_eq!(cancel(&kit, claimed.spec.id).await, CancelJob::Cancelled);
    kit.sweep_for(3).await;
    let record = kit.record(claimed.spec.id).await;
    assert_eq!((record.state, record.attempts), (JobState::Cancelled, 1));
}

async fn a_cancelled_job_is_never_claimed(kit: Kit) {
    let jobs = kit.add_plain(4).await;
    cancel(&kit, jobs[0]).await;
    cancel(&kit, jobs[2]).await;
    let claimed = super::kit::ids(&kit.worker().claim(4).await);
    assert_eq!(claimed, [jobs[1], jobs[3]]);
}

async fn cancelling_one_job_leaves_its_neighbours(kit: Kit) {
    let jobs = kit.add_plain(3).await;
    let before = [kit.record(jobs[0]).await, kit.record(jobs[2]).await];
    cancel(&kit, jobs[1]).await;
    assert_eq!([kit.record(jobs[0]).await, kit.record(jobs[2]).await], before);
    assert_eq!(kit.worker().claim(3).await.len(), 2);
}

async fn an_active_job_is_asked_for_and_its_worker_told_until_it_is_settled(kit: Kit) {
    kit.add_plain(2).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(2).await;
    let job = claimed[0].spec.id;
    assert_eq!(cancel(&kit, job).await, CancelJob::Requested);
    let record = kit.record(job).await;
    assert_eq!(record.state, JobState::Active);
    assert!(record.cancel_requested);

    for _ in 0..3 {
        assert_eq!(worker.say_hello().await.cancelled, [job]);
    }
    assert_eq!(worker.settle(&claimed[1], Outcome::Complete).await.cancelled, [job]);
    assert!(worker.settle(&claimed[0], Outcome::Cancel).await.cancelled.is_empty());
    assert!(worker.say_hello().await.cancelled.is_empty());
}

async fn another_worker_is_not_told(kit: Kit) {
    let (_worker, claimed) = kit.claimed().await;
    let (mut other, _) = kit.claimed().await;
    cancel(&kit, claimed.spec.id).await;
    assert!(other.say_hello().await.cancelled.is_empty());
    assert!(other.stay_alive().await.is_empty());
}

async fn a_worker_is_told_when_its_exchange_is_sent_again(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    cancel(&kit, claimed.spec.id).await;
    let first = worker.say_hello().await.cancelled;
    let ExchangeReply::Answered(again) = worker.resend().await else {
        panic!("the last number is answered again");
    };
    assert_eq!(first, [claimed.spec.id]);
    assert_eq!(again.cancelled, first, "it is named in every answer");
}

async fn a_job_asked_to_cancel_may_still_complete(kit: Kit) {
    assert_settled_so(&kit, Outcome::Complete, JobState::Completed, 1).await;
}

async fn a_job_asked_to_cancel_may_still_die(kit: Kit) {
    assert_settled_so(&kit, Outcome::Dead, JobState::Dead, 1).await;
}

async fn a_job_asked_to_cancel_that_is_cancelled_counts_the_attempt(kit: Kit) {
    assert_settled_so(&kit, Outcome::Cancel, JobState::Cancelled, 1).await;
}

async fn a_retry_of_a_job_asked_to_cancel_cancels_it(kit: Kit) {
    assert_settled_so(&kit, Outcome::Retry(kit.units(1)), JobState::Cancelled, 1).await;
}

async fn a_release_of_a_job_asked_to_cancel_cancels_it(kit: Kit) {
    assert_settled_so(&kit, Outcome::Release(Duration::ZERO), JobState::Cancelled, 0).await;
}

async fn a_release_with_a_delay_of_a_job_asked_to_cancel_cancels_it(kit: Kit) {
    assert_settled_so(&kit, Outcome::Release(kit.units(1)), JobState::Cancelled, 0).await;
}

/// An active job that somebody asked to cancel, settled by `outcome`, ends in `state`.
async fn assert_settled_so(kit: &Kit, outcome: Outcome, state: JobState, attempts: u32) {
    let (mut worker, claimed) = asked_to_cancel(kit).await;
    worker.settle(&claimed, outcome).await;
    kit.sweep_for(2).await;
    let record = kit.record(claimed.spec.id).await;
    assert_eq!((record.state, record.attempts), (state, attempts));
    assert!(record.finished_at.is_some());
    assert!(worker.claim(1).await.is_empty());
    assert_eq!(kit.count().await.total(), 1);
}

async fn asking_twice_is_asking_once(kit: Kit) {
    let (mut worker, claimed) = asked_to_cancel(&kit).await;
    let before = kit.snapshot().await;
    assert_eq!(cancel(&kit, claimed.spec.id).await, CancelJob::Requested);
    assert_eq!(kit.snapshot().await, before);
    assert_eq!(worker.say_hello().await.cancelled, [claimed.spec.id]);

    let waiting = kit.add(kit.new_job()).await;
    assert_eq!(cancel(&kit, waiting).await, CancelJob::Cancelled);
    let again = cancel(&kit, waiting).await;
    assert_eq!(again, CancelJob::Finished(JobState::Cancelled));
}

async fn a_finished_job_is_not_cancelled(kit: Kit) {
    for (outcome, state) in [
        (Outcome::Complete, JobState::Completed),
        (Outcome::Dead, JobState::Dead),
        (Outcome::Cancel, JobState::Cancelled),
    ] {
        let job = kit.settled(outcome).await;
        let before = kit.record(job).await;
        assert_eq!(cancel(&kit, job).await, CancelJob::Finished(state));
        assert_eq!(kit.record(job).await, before);
    }
}

async fn a_job_that_is_not_there_is_not_found(kit: Kit) {
    assert_eq!(cancel(&kit, kit.id()).await, CancelJob::NotFound);
    let job = kit.add(kit.new_job()).await;
    let elsewhere = kit.cancel_job(&super::kit::queue("elsewhere"), job).await;
    assert_eq!(elsewhere.expect("the store cancels"), CancelJob::NotFound);
    kit.assert_state(job, JobState::Waiting).await;
}

async fn where_cancelled_jobs_are_not_kept_they_go_at_once(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    let job = kit.add(kit.new_job()).await;
    assert_eq!(cancel(&kit, job).await, CancelJob::Cancelled);
    kit.assert_unknown(job).await;
    assert_eq!(cancel(&kit, job).await, CancelJob::NotFound);
    assert_eq!(kit.count().await.total(), 0);
    assert!(kit.worker().claim(1).await.is_empty());
}

async fn a_cancelled_job_keeps_its_counts(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
    kit.sweep_for(2).await;
    kit.crash(claimed.spec.id, 1).await;
    cancel(&kit, claimed.spec.id).await;
    let record = kit.record(claimed.spec.id).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Cancelled, 1, 1));
}

async fn asked_to_cancel(kit: &Kit) -> (super::Worker, Claimed) {
    let (worker, claimed) = kit.claimed().await;
    assert_eq!(cancel(kit, claimed.spec.id).await, CancelJob::Requested);
    (worker, claimed)
}

async fn cancel(kit: &Kit, job: JobId) -> CancelJob {
    kit.cancel_job(&kit.queue, job).await.expect("the store cancels")
}
