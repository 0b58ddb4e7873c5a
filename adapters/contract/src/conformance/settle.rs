//! How an attempt ends, and what is kept of it.

use std::sync::Arc;
use std::time::Duration;

use super::{Kit, case_list};
use crate::{
    AttemptReport, Claimed, Failure, FailureKind, Find, JobState, Outcome, Payload, Retention,
    Settlement, Timestamp,
};

case_list! {
    "settle", __conformance_settle:
    a_completed_job_counts_an_attempt_and_has_ended,
    a_dead_job_counts_an_attempt_and_has_ended,
    a_cancelled_attempt_counts_and_has_ended,
    a_retried_job_counts_an_attempt_and_is_due_again,
    a_released_job_counts_nothing,
    a_job_released_with_a_delay_counts_nothing,
    attempts_add_up_over_retries,
    a_finished_job_is_not_claimed_again,
    a_report_is_kept_word_for_word,
    where_there_is_no_report_an_earlier_one_stays,
    a_later_report_takes_the_place_of_an_earlier_one,
    many_attempts_are_settled_in_one_exchange,
    one_refused_settlement_does_not_touch_its_neighbours,
    where_completed_jobs_are_not_kept_they_go_at_once,
    where_completed_jobs_are_not_kept_cancelled_ones_go_too_and_dead_ones_stay,
    where_dead_letters_are_not_kept_they_go_at_once,
    a_result_is_kept_for_its_time_and_then_forgotten,
    a_result_of_a_dead_job_is_kept_for_its_time_too,
    a_short_result_time_does_not_shorten_the_retention,
    completed_jobs_are_kept_for_their_age_and_then_forgotten,
    dead_letters_are_kept_for_their_age_and_then_forgotten,
    of_too_many_completed_jobs_those_that_ended_first_go,
    of_too_many_dead_letters_those_that_ended_first_go,
    a_kept_result_is_not_subject_to_the_count,
}

async fn a_completed_job_counts_an_attempt_and_has_ended(kit: Kit) {
    assert_ends(&kit, Outcome::Complete, JobState::Completed).await;
    assert_eq!(kit.count().await.completed, 1);
}

async fn a_dead_job_counts_an_attempt_and_has_ended(kit: Kit) {
    assert_ends(&kit, Outcome::Dead, JobState::Dead).await;
    assert_eq!(kit.count().await.dead, 1);
}

async fn a_cancelled_attempt_counts_and_has_ended(kit: Kit) {
    assert_ends(&kit, Outcome::Cancel, JobState::Cancelled).await;
    assert_eq!(kit.count().await.cancelled, 1);
}

async fn assert_ends(kit: &Kit, outcome: Outcome, state: JobState) {
    let (mut worker, claimed) = kit.claimed().await;
    let before = kit.now().await;
    worker.settle(&claimed, outcome).await;
    let after = kit.now().await;

    let record = kit.record(claimed.spec.id).await;
    assert_eq!(record.state, state);
    assert_eq!((record.attempts, record.crashes), (1, 0));
    let finished = record.finished_at.expect("it has ended");
    assert!(before <= finished && finished <= after, "by the store's clock");
    assert_eq!(worker.held_by_the_store().await, (Vec::new(), false));
    assert_eq!(kit.count().await.total(), 1);
}

async fn a_retried_job_counts_an_attempt_and_is_due_again(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Retry(kit.units(2))).await;
    let record = kit.record(claimed.spec.id).await;
    assert_eq!(record.state, JobState::Delayed);
    assert_eq!((record.attempts, record.crashes, record.finished_at), (1, 0, None));
    assert_eq!(worker.held_by_the_store().await, (Vec::new(), false));

    kit.sweep_for(3).await;
    let again = worker.claim_one().await;
    assert_eq!((again.spec.id, again.attempts, again.crashes), (claimed.spec.id, 1, 0));
}

async fn a_released_job_counts_nothing(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Release(Duration::ZERO)).await;
    let record = kit.record(claimed.spec.id).await;
    assert_eq!(record.state, JobState::Waiting);
    assert_eq!((record.attempts, record.crashes, record.finished_at), (0, 0, None));
    let again = kit.worker().claim_one().await;
    assert_eq!((again.attempts, again.crashes), (0, 0));
}

async fn a_job_released_with_a_delay_counts_nothing(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Release(kit.units(2))).await;
    let record = kit.record(claimed.spec.id).await;
    assert_eq!(record.state, JobState::Delayed);
    assert_eq!((record.attempts, record.crashes), (0, 0));
    kit.sweep_for(3).await;
    assert_eq!(worker.claim_one().await.attempts, 0);
}

async fn attempts_add_up_over_retries(kit: Kit) {
    let (mut worker, mut claimed) = kit.claimed().await;
    for attempts in 1..=4 {
        worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
        kit.sweep_for(2).await;
        claimed = worker.claim_one().await;
        assert_eq!(claimed.attempts, attempts);
        worker.settle(&claimed, Outcome::Release(Duration::ZERO)).await;
        claimed = worker.claim_one().await;
        assert_eq!(claimed.attempts, attempts, "a release costs nothing");
    }
    worker.settle(&claimed, Outcome::Complete).await;
    assert_eq!(kit.record(claimed.spec.id).await.attempts, 5);
}

async fn a_finished_job_is_not_claimed_again(kit: Kit) {
    for outcome in [Outcome::Complete, Outcome::Dead, Outcome::Cancel] {
        kit.settled(outcome).await;
    }
    kit.sweep_for(2).await;
    assert!(kit.worker().claim(3).await.is_empty());
    kit.lapse().await;
    assert!(kit.worker().claim(3).await.is_empty());
}

async fn a_report_is_kept_word_for_word(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let mut report = AttemptReport::new(Timestamp::from_millis(-7), Timestamp::from_millis(12));
    report.message = Some("sent 3 letters – übermorgen mehr".into());
    report.data = Some(Payload::json(&["ä", "\u{0}", "日本"]).expect("strings are JSON"));
    let chain = ["no connection".to_owned(), "timed out".to_owned()];
    report.failure = Some(Failure::new(FailureKind::Timeout, chain));
    let report = Arc::new(report);

    worker.settle_all([settlement(&claimed, Outcome::Dead).with_report(report.clone())]).await;
    assert_eq!(kit.record(claimed.spec.id).await.last_attempt, Some(report));
}

async fn where_there_is_no_report_an_earlier_one_stays(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let report = said("first");
    let retry = Outcome::Retry(kit.units(1));
    worker.settle_all([settlement(&claimed, retry).with_report(report.clone())]).await;
    assert_eq!(kit.record(claimed.spec.id).await.last_attempt, Some(report.clone()));

    kit.sweep_for(2).await;
    let again = worker.claim_one().await;
    worker.settle(&again, Outcome::Complete).await;
    assert_eq!(kit.record(claimed.spec.id).await.last_attempt, Some(report));
}

async fn a_later_report_takes_the_place_of_an_earlier_one(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let retry = Outcome::Retry(kit.units(1));
    worker.settle_all([settlement(&claimed, retry).with_report(said("first"))]).await;
    kit.sweep_for(2).await;
    let again = worker.claim_one().await;
    worker.settle_all([settlement(&again, Outcome::Complete).with_report(said("second"))]).await;
    assert_eq!(kit.record(claimed.spec.id).await.last_attempt, Some(said("second")));
}

async fn many_attempts_are_settled_in_one_exchange(kit: Kit) {
    kit.add_plain(1000).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(1000).await;
    let all = [
        Outcome::Complete,
        Outcome::Dead,
        Outcome::Cancel,
        Outcome::Retry(kit.units(60)),
        Outcome::Release(Duration::ZERO),
    ];
    let settlements =
        claimed.iter().enumerate().map(|(place, claimed)| settlement(claimed, all[place % 5]));
    worker.settle_all(settlements.collect::<Vec<_>>()).await;
    let counts = kit.count().await;
    assert_eq!(
        (counts.completed, counts.dead, counts.cancelled, counts.delayed, counts.waiting),
        (200, 200, 200, 200, 200)
    );
    assert_eq!(counts.active, 0);
}

async fn one_refused_settlement_does_not_touch_its_neighbours(kit: Kit) {
    kit.add_plain(3).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(3).await;
    let stranger = kit.id();
    let answer = worker
        .try_settle([
            settlement(&claimed[0], Outcome::Complete),
            Settlement::new(stranger, 1, Outcome::Complete),
            settlement(&claimed[1], Outcome::Dead),
        ])
        .await;
    assert_eq!(answer.refused, [stranger]);
    kit.assert_state(claimed[0].spec.id, JobState::Completed).await;
    kit.assert_state(claimed[1].spec.id, JobState::Dead).await;
    kit.assert_state(claimed[2].spec.id, JobState::Active).await;
    kit.assert_unknown(stranger).await;
}

async fn where_completed_jobs_are_not_kept_they_go_at_once(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    let job = kit.settled(Outcome::Complete).await;
    kit.assert_unknown(job).await;
    assert_eq!(kit.count().await.total(), 0);
    assert!(kit.find_all(Find::new()).await.is_empty());
}

async fn where_completed_jobs_are_not_kept_cancelled_ones_go_too_and_dead_ones_stay(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    let cancelled = kit.settled(Outcome::Cancel).await;
    let dead = kit.settled(Outcome::Dead).await;
    kit.sweep_for(2).await;
    kit.assert_unknown(cancelled).await;
    kit.assert_state(dead, JobState::Dead).await;
}

async fn where_dead_letters_are_not_kept_they_go_at_once(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_dead.age = Duration::ZERO).await;
    let dead = kit.settled(Outcome::Dead).await;
    kit.assert_unknown(dead).await;
    assert_eq!(kit.count().await.total(), 0);
}

async fn a_result_is_kept_for_its_time_and_then_forgotten(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    for (outcome, state) in
        [(Outcome::Complete, JobState::Completed), (Outcome::Cancel, JobState::Cancelled)]
    {
        assert_kept_for_a_time(&kit, outcome, state).await;
    }
}

async fn a_result_of_a_dead_job_is_kept_for_its_time_too(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_dead.age = Duration::ZERO).await;
    assert_kept_for_a_time(&kit, Outcome::Dead, JobState::Dead).await;
}

/// A job settled so, whose result is kept for 4 units, is there for those and then gone.
async fn assert_kept_for_a_time(kit: &Kit, outcome: Outcome, state: JobState) {
    let mut spec = kit.new_job();
    spec.keep_result = Some(kit.units(4));
    let (mut worker, claimed) = kit.claimed_of(spec).await;
    worker.settle_all([settlement(&claimed, outcome).with_report(said("the result"))]).await;
    kit.sweep_for(2).await;
    let record = kit.record(claimed.spec.id).await;
    assert_eq!((record.state, record.last_attempt), (state, Some(said("the result"))));

    kit.sweep_for(4).await;
    kit.assert_unknown(claimed.spec.id).await;
    assert_eq!(kit.count().await.total(), 0);
}

async fn a_short_result_time_does_not_shorten_the_retention(kit: Kit) {
    let mut spec = kit.new_job();
    spec.keep_result = Some(kit.units(1));
    let (mut worker, claimed) = kit.claimed_of(spec).await;
    worker.settle(&claimed, Outcome::Complete).await;
    kit.sweep_for(4).await;
    kit.assert_state(claimed.spec.id, JobState::Completed).await;
}

async fn completed_jobs_are_kept_for_their_age_and_then_forgotten(kit: Kit) {
    let age = kit.units(4);
    let kit = kit.with(|settings| settings.keep_completed.age = age).await;
    let completed = kit.settled(Outcome::Complete).await;
    let cancelled = kit.settled(Outcome::Cancel).await;
    kit.sweep_for(2).await;
    kit.assert_state(completed, JobState::Completed).await;
    kit.assert_state(cancelled, JobState::Cancelled).await;
    kit.sweep_for(4).await;
    kit.assert_unknown(completed).await;
    kit.assert_unknown(cancelled).await;
}

async fn dead_letters_are_kept_for_their_age_and_then_forgotten(kit: Kit) {
    let age = kit.units(4);
    let kit = kit.with(|settings| settings.keep_dead.age = age).await;
    let dead = kit.settled(Outcome::Dead).await;
    let completed = kit.settled(Outcome::Complete).await;
    kit.sweep_for(2).await;
    kit.assert_state(dead, JobState::Dead).await;
    kit.sweep_for(4).await;
    kit.assert_unknown(dead).await;
    kit.assert_state(completed, JobState::Completed).await;
}

async fn of_too_many_completed_jobs_those_that_ended_first_go(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed = two(settings.keep_completed)).await;
    assert_two_last_are_kept(&kit, Outcome::Complete).await;
}

async fn of_too_many_dead_letters_those_that_ended_first_go(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_dead = two(settings.keep_dead)).await;
    assert_two_last_are_kept(&kit, Outcome::Dead).await;
}

fn two(retention: Retention) -> Retention {
    Retention { count: 2, ..retention }
}

async fn assert_two_last_are_kept(kit: &Kit, outcome: Outcome) {
    kit.add_plain(5).await;
    let mut worker = kit.worker();
    let mut claimed = worker.claim(5).await;
    // Not in the order in which they were enqueued.
    claimed.swap(0, 4);
    for claimed in &claimed {
        worker.settle(claimed, outcome).await;
        kit.pass(1).await;
    }
    kit.sweep_now().await;
    for claimed in &claimed[..3] {
        kit.assert_unknown(claimed.spec.id).await;
    }
    for claimed in &claimed[3..] {
        assert!(kit.record(claimed.spec.id).await.state.is_finished());
    }
    assert_eq!(kit.count().await.total(), 2);
}

async fn a_kept_result_is_not_subject_to_the_count(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed = two(settings.keep_completed)).await;
    let mut spec = kit.new_job();
    spec.keep_result = Some(kit.units(600));
    let (mut worker, claimed) = kit.claimed_of(spec).await;
    worker.settle(&claimed, Outcome::Complete).await;
    for _ in 0..4 {
        kit.settled(Outcome::Complete).await;
    }
    kit.sweep_for(1).await;
    kit.assert_state(claimed.spec.id, JobState::Completed).await;
    assert_eq!(kit.count().await.completed, 3);
}

fn settlement(claimed: &Claimed, outcome: Outcome) -> Settlement {
    Settlement::new(claimed.spec.id, claimed.generation, outcome)
}

fn said(message: &str) -> Arc<AttemptReport> {
    let mut report = AttemptReport::new(Timestamp::from_millis(1), Timestamp::from_millis(2));
    report.message = Some(message.into());
    Arc::new(report)
}
