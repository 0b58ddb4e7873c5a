//! Which of the waiting jobs goes first.

use std::time::Duration;

use super::kit::ids;
use super::{Kit, case_list};
use crate::{JobId, Outcome, Priority};

case_list! {
    "order", __conformance_order:
    jobs_of_one_priority_are_claimed_in_the_order_of_their_enqueueing,
    the_order_of_a_batch_is_kept,
    a_higher_priority_goes_ahead_of_all_lower_ones,
    a_job_of_high_priority_that_comes_later_goes_first,
    within_each_priority_the_first_enqueued_goes_first,
    jobs_that_become_due_go_behind_what_was_waiting_then,
    jobs_that_become_due_go_ahead_of_what_is_enqueued_afterwards,
    jobs_that_become_due_are_claimed_in_the_order_of_their_due_times,
    a_delayed_job_keeps_its_priority,
    a_retried_job_goes_behind_what_was_waiting_when_it_became_due,
    a_job_released_without_delay_goes_ahead_of_what_waits,
    a_job_released_with_a_delay_goes_behind_what_was_waiting_when_it_became_due,
    a_released_job_does_not_go_ahead_of_a_higher_priority,
    a_recovered_job_goes_ahead_of_what_waits,
    a_replayed_job_goes_behind_what_waits,
}

async fn jobs_of_one_priority_are_claimed_in_the_order_of_their_enqueueing(kit: Kit) {
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(kit.add(kit.new_job()).await);
    }
    assert_eq!(all_claimed(&kit).await, jobs);
}

async fn the_order_of_a_batch_is_kept(kit: Kit) {
    let jobs = kit.add_plain(300).await;
    assert_eq!(all_claimed(&kit).await, jobs);
}

async fn a_higher_priority_goes_ahead_of_all_lower_ones(kit: Kit) {
    let mut jobs = Vec::new();
    for priority in Priority::ALL.into_iter().rev() {
        jobs.insert(0, add_with(&kit, priority).await);
    }
    assert_eq!(all_claimed(&kit).await, jobs);
}

async fn a_job_of_high_priority_that_comes_later_goes_first(kit: Kit) {
    let normal = kit.add_plain(3).await;
    let mut worker = kit.worker();
    assert_eq!(worker.claim_one().await.spec.id, normal[0]);
    let critical = add_with(&kit, Priority::Critical).await;
    assert_eq!(ids(&worker.claim(3).await), [critical, normal[1], normal[2]]);
}

async fn within_each_priority_the_first_enqueued_goes_first(kit: Kit) {
    let mut lanes = vec![Vec::new(); Priority::ALL.len()];
    for round in 0..25 {
        let place = round * 7 % Priority::ALL.len();
        lanes[place].push(add_with(&kit, Priority::ALL[place]).await);
    }
    assert_eq!(all_claimed(&kit).await, lanes.concat());
}

async fn jobs_that_become_due_go_behind_what_was_waiting_then(kit: Kit) {
    let delayed = kit.add(kit.after(2)).await;
    let early = kit.add(kit.new_job()).await;
    kit.sweep_for(3).await;
    assert_eq!(all_claimed(&kit).await, [early, delayed]);
}

async fn jobs_that_become_due_go_ahead_of_what_is_enqueued_afterwards(kit: Kit) {
    let delayed = kit.add(kit.after(2)).await;
    kit.sweep_for(3).await;
    let late = kit.add(kit.new_job()).await;
    assert_eq!(all_claimed(&kit).await, [delayed, late]);
}

async fn jobs_that_become_due_are_claimed_in_the_order_of_their_due_times(kit: Kit) {
    let third = kit.add(kit.after(5)).await;
    let first = kit.add(kit.after(1)).await;
    let second = kit.add(kit.after(3)).await;
    // Nobody sweeps meanwhile: one sweep finds all of them due.
    kit.pass(6).await;
    kit.sweep_now().await;
    assert_eq!(all_claimed(&kit).await, [first, second, third]);
}

async fn a_delayed_job_keeps_its_priority(kit: Kit) {
    let mut spec = kit.after(2);
    spec.priority = Priority::High;
    let delayed = kit.add(spec).await;
    let waiting = kit.add(kit.new_job()).await;
    kit.sweep_for(3).await;
    assert_eq!(all_claimed(&kit).await, [delayed, waiting]);
}

async fn a_retried_job_goes_behind_what_was_waiting_when_it_became_due(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let waiting = kit.add(kit.new_job()).await;
    worker.settle(&claimed, Outcome::Retry(kit.units(2))).await;
    let later = kit.add(kit.new_job()).await;
    kit.sweep_for(3).await;
    assert_eq!(all_claimed(&kit).await, [waiting, later, claimed.spec.id]);
}

async fn a_job_released_without_delay_goes_ahead_of_what_waits(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let waiting = kit.add_plain(2).await;
    worker.settle(&claimed, Outcome::Release(Duration::ZERO)).await;
    assert_eq!(all_claimed(&kit).await, [claimed.spec.id, waiting[0], waiting[1]]);
}

async fn a_job_released_with_a_delay_goes_behind_what_was_waiting_when_it_became_due(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Release(kit.units(2))).await;
    let waiting = kit.add(kit.new_job()).await;
    kit.sweep_for(3).await;
    let late = kit.add(kit.new_job()).await;
    assert_eq!(all_claimed(&kit).await, [waiting, claimed.spec.id, late]);
}

async fn a_released_job_does_not_go_ahead_of_a_higher_priority(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let high = add_with(&kit, Priority::High).await;
    worker.settle(&claimed, Outcome::Release(Duration::ZERO)).await;
    assert_eq!(all_claimed(&kit).await, [high, claimed.spec.id]);
}

async fn a_recovered_job_goes_ahead_of_what_waits(kit: Kit) {
    let (_vanished, claimed) = kit.claimed().await;
    let waiting = kit.add(kit.new_job()).await;
    let high = add_with(&kit, Priority::High).await;
    kit.lapse().await;
    assert_eq!(all_claimed(&kit).await, [high, claimed.spec.id, waiting]);
}

async fn a_replayed_job_goes_behind_what_waits(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Dead).await;
    let waiting = kit.add(kit.new_job()).await;
    kit.replay(&kit.queue, claimed.spec.id).await.expect("the store replays");
    assert_eq!(all_claimed(&kit).await, [waiting, claimed.spec.id]);
}

async fn add_with(kit: &Kit, priority: Priority) -> JobId {
    let mut spec = kit.new_job();
    spec.priority = priority;
    kit.add(spec).await
}

/// All that waits, in the order in which a worker claims it.
async fn all_claimed(kit: &Kit) -> Vec<JobId> {
    ids(&kit.worker().claim(1000).await)
}
