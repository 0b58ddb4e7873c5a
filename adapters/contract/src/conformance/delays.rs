//! Jobs that are due later: not before, and then each exactly once.

use std::time::Duration;

use super::kit::{assert_distinct, ids};
use super::{Kit, case_list};
use crate::{Due, JobState, Outcome, Settlement, StoreSettings, Timestamp};

case_list! {
    "delays", __conformance_delays:
    a_job_due_after_a_delay_is_not_claimed_before,
    a_job_due_after_a_delay_waits_once_a_sweep_finds_it_due,
    a_job_due_at_an_instant_is_not_claimed_before,
    a_job_due_at_an_instant_that_has_passed_waits_at_once,
    a_delay_of_nothing_is_no_delay,
    a_delay_counts_from_when_the_store_accepted_the_job,
    a_job_is_due_at_the_very_millisecond,
    a_job_due_never_stays_delayed,
    a_sweep_says_when_the_next_job_is_due,
    a_sweep_with_nothing_to_come_needs_no_next,
    a_retry_is_not_claimed_before_it_is_due,
    a_release_with_a_delay_is_not_claimed_before_it_is_due,
    sweeping_early_lets_nothing_wait,
    a_hundred_thousand_jobs_due_at_once_are_each_claimed_exactly_once,
}

async fn a_job_due_after_a_delay_is_not_claimed_before(kit: Kit) {
    let job = kit.add(kit.after(3)).await;
    kit.sweep_for(1).await;
    kit.assert_state(job, JobState::Delayed).await;
    assert!(kit.worker().claim(1).await.is_empty());
    assert_eq!((kit.count().await.delayed, kit.count().await.waiting), (1, 0));
}

async fn a_job_due_after_a_delay_waits_once_a_sweep_finds_it_due(kit: Kit) {
    let job = kit.add(kit.after(2)).await;
    let swept = kit.sweep_for(3).await;
    assert_eq!(swept.promoted, 1);
    kit.assert_state(job, JobState::Waiting).await;
    let claimed = kit.worker().claim_one().await;
    assert_eq!(claimed.spec.id, job);
    assert_eq!(claimed.due_at, claimed.enqueued_at + kit.units(2));
}

async fn a_job_due_at_an_instant_is_not_claimed_before(kit: Kit) {
    let due = kit.now().await + kit.units(3);
    let mut spec = kit.new_job();
    spec.due = Due::At(due);
    let job = kit.add(spec).await;
    assert_eq!(kit.record(job).await.due_at, due);
    kit.sweep_for(1).await;
    assert!(kit.worker().claim(1).await.is_empty());
    kit.sweep_for(3).await;
    assert_eq!(ids(&kit.worker().claim(1).await), [job]);
}

async fn a_job_due_at_an_instant_that_has_passed_waits_at_once(kit: Kit) {
    let past = [kit.now().await - Duration::from_millis(1), Timestamp::EPOCH];
    for instant in past {
        let mut spec = kit.new_job();
        spec.due = Due::At(instant);
        let job = kit.add(spec).await;
        kit.assert_state(job, JobState::Waiting).await;
        assert_eq!(ids(&kit.worker().claim(1).await), [job]);
    }
}

async fn a_delay_of_nothing_is_no_delay(kit: Kit) {
    let job = kit.add(kit.after(0)).await;
    kit.assert_state(job, JobState::Waiting).await;
    assert_eq!(ids(&kit.worker().claim(1).await), [job]);
}

async fn a_delay_counts_from_when_the_store_accepted_the_job(kit: Kit) {
    let spec = kit.after(2);
    kit.pass(3).await;
    let job = kit.add(spec).await;
    kit.sweep_now().await;
    let record = kit.record(job).await;
    assert_eq!(record.state, JobState::Delayed);
    assert_eq!(record.due_at, record.enqueued_at + kit.units(2));
}

async fn a_job_is_due_at_the_very_millisecond(kit: Kit) {
    if !kit.is_exact() {
        return;
    }
    let mut spec = kit.new_job();
    spec.due = Due::After(Duration::from_millis(50));
    let job = kit.add(spec).await;
    tokio::time::sleep(Duration::from_millis(49)).await;
    kit.sweep_now().await;
    assert!(kit.worker().claim(1).await.is_empty(), "a millisecond too early");
    tokio::time::sleep(Duration::from_millis(1)).await;
    kit.sweep_now().await;
    assert_eq!(ids(&kit.worker().claim(1).await), [job]);
}

async fn a_job_due_never_stays_delayed(kit: Kit) {
    let mut spec = kit.new_job();
    spec.due = Due::After(Duration::MAX);
    let endless = kit.add(spec).await;
    let mut spec = kit.new_job();
    spec.due = Due::At(Timestamp::MAX);
    let never = kit.add(spec).await;
    kit.sweep_for(2).await;
    for job in [endless, never] {
        kit.assert_state(job, JobState::Delayed).await;
    }
    assert!(kit.worker().claim(2).await.is_empty());
}

async fn a_sweep_says_when_the_next_job_is_due(kit: Kit) {
    kit.add(kit.after(5)).await;
    kit.add(kit.after(3)).await;
    let next = kit.sweep(&kit.queue).await.expect("the store sweeps").next;
    let next = next.expect("a sweep is needed when the job is due");
    assert!(next <= kit.units(3), "{next:?} is later than the first is due");
    assert!(!next.is_zero(), "there is nothing to do yet");
}

async fn a_sweep_with_nothing_to_come_needs_no_next(kit: Kit) {
    let answer = kit.sweep(&kit.queue).await.expect("the store sweeps");
    assert_eq!((answer.promoted, answer.recovered.len(), answer.trimmed), (0, 0, 0));
    assert_eq!(answer.next, None, "an empty queue has nothing to wait for");
    kit.add(kit.new_job()).await;
    let answer = kit.sweep(&kit.queue).await.expect("the store sweeps");
    assert_eq!(answer.next, None, "a waiting job needs no sweep");
}

async fn a_retry_is_not_claimed_before_it_is_due(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let before = kit.now().await;
    worker.settle(&claimed, Outcome::Retry(kit.units(3))).await;
    assert_not_before(&kit, &claimed.spec.id, before).await;
}

async fn a_release_with_a_delay_is_not_claimed_before_it_is_due(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let before = kit.now().await;
    worker.settle(&claimed, Outcome::Release(kit.units(3))).await;
    assert_not_before(&kit, &claimed.spec.id, before).await;
}

/// A job handed back at about `before`, due 3 units later, is delayed now and waits later.
async fn assert_not_before(kit: &Kit, job: &crate::JobId, before: Timestamp) {
    let record = kit.record(*job).await;
    assert_eq!(record.state, JobState::Delayed);
    assert!(record.due_at >= before + kit.units(3), "due at {}", record.due_at);
    kit.sweep_for(1).await;
    assert!(kit.worker().claim(1).await.is_empty());
    kit.sweep_for(3).await;
    let again = kit.worker().claim_one().await;
    assert_eq!((again.spec.id, again.due_at), (*job, record.due_at));
}

async fn sweeping_early_lets_nothing_wait(kit: Kit) {
    let job = kit.add(kit.after(5)).await;
    for _ in 0..5 {
        let answer = kit.sweep(&kit.queue).await.expect("the store sweeps");
        assert_eq!(answer.promoted, 0);
        assert!(!answer.claimable);
    }
    kit.assert_state(job, JobState::Delayed).await;
}

async fn a_hundred_thousand_jobs_due_at_once_are_each_claimed_exactly_once(kit: Kit) {
    const JOBS: usize = 100_000;
    let unit = kit.units(1);
    let settings = move |settings: &mut StoreSettings| {
        settings.keep_completed.age = Duration::ZERO;
        // Nobody beats here. Where time is real, a busy machine must not let a lease lapse between
        // two turns: then jobs would be claimed twice, and rightly.
        settings.lease = unit * 1000;
    };
    let kit = kit.with(settings).await;
    let due = kit.now().await + kit.units(5);
    let mut jobs = Vec::with_capacity(JOBS);
    for _ in 0..10 {
        let batch = (0..JOBS / 10).map(|_| {
            let mut spec = kit.new_job();
            spec.due = Due::At(due);
            spec
        });
        jobs.extend(kit.add_all(batch.collect()).await);
    }
    kit.sweep_for(6).await;

    let mut workers = [kit.worker(), kit.worker()];
    let mut claimed = Vec::with_capacity(JOBS);
    let mut idle = 0;
    for turn in 0.. {
        kit.sweep_now().await;
        let worker = &mut workers[turn % 2];
        let settled: Vec<_> = worker
            .held
            .values()
            .map(|job| Settlement::new(job.spec.id, job.generation, Outcome::Complete))
            .collect();
        let mut exchange = worker.turn_with(settled);
        exchange.claim = 1000;
        let answer = worker.answer(exchange).await;
        assert!(answer.refused.is_empty());
        idle = if answer.claimed.is_empty() { idle + 1 } else { 0 };
        claimed.extend(ids(&answer.claimed));
        if idle == 2 {
            break;
        }
    }

    assert_eq!(claimed.len(), JOBS);
    assert_distinct(&claimed);
    assert_eq!(super::kit::sorted(claimed), super::kit::sorted(jobs));
    assert_eq!(kit.count().await.total(), 0, "all of them are completed");
}
