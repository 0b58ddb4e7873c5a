//! A worker keeps what it holds for as long as it gives signs of life, and not much longer.

use super::kit::queue;
use super::{Kit, Worker, case_list};
use crate::{Beat, BeatReply, ExchangeReply, JobState, Outcome};

case_list! {
    "leases", __conformance_leases:
    heartbeats_keep_the_jobs,
    exchanges_keep_the_jobs,
    a_worker_without_a_sign_of_life_loses_its_jobs,
    within_its_lease_a_worker_loses_nothing,
    a_lapsed_lease_is_first_suspected,
    a_heartbeat_during_the_grace_saves_the_jobs,
    an_exchange_during_the_grace_saves_the_jobs,
    who_was_saved_is_given_a_whole_grace_the_next_time,
    a_sweep_says_when_a_lease_ends,
    a_worker_that_holds_nothing_needs_no_lease,
    a_worker_that_settled_all_it_held_needs_no_lease,
    a_heartbeat_names_the_jobs_to_cancel,
    a_heartbeat_of_a_lapsed_incarnation_is_expired,
    a_heartbeat_of_an_incarnation_that_never_spoke_is_expired,
    a_heartbeat_with_an_outdated_count_keeps_the_jobs,
    beats_are_answered_in_the_order_given,
    one_lapsed_worker_takes_no_other_with_it,
    leases_of_two_queues_are_apart,
}

async fn heartbeats_keep_the_jobs(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    for _ in 0..6 {
        assert!(kit.sweep_for(2).await.recovered.is_empty());
        assert!(worker.stay_alive().await.is_empty());
    }
    kit.assert_state(claimed.spec.id, JobState::Active).await;
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn exchanges_keep_the_jobs(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    for _ in 0..6 {
        assert!(kit.sweep_for(2).await.recovered.is_empty());
        worker.say_hello().await;
    }
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn a_worker_without_a_sign_of_life_loses_its_jobs(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let swept = kit.lapse().await;
    assert_eq!(swept.recovered.len(), 1);
    kit.assert_state(claimed.spec.id, JobState::Waiting).await;
    assert!(matches!(worker.resend().await, ExchangeReply::Expired));
}

async fn within_its_lease_a_worker_loses_nothing(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    assert!(kit.sweep_for(3).await.recovered.is_empty());
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn a_lapsed_lease_is_first_suspected(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    // Nobody swept for so long: the store, too, may have been away.
    kit.pass(20).await;
    let first = kit.sweep(&kit.queue).await.expect("the store sweeps");
    assert!(first.recovered.is_empty(), "a lapse that is noticed only now is suspected only now");
    let next = first.next.expect("a sweep is needed at the end of the grace");
    assert!(next <= kit.settings.grace, "{next:?}");
    kit.assert_state(claimed.spec.id, JobState::Active).await;
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn a_heartbeat_during_the_grace_saves_the_jobs(kit: Kit) {
    let (mut worker, claimed) = suspected(&kit).await;
    worker.stay_alive().await;
    assert!(kit.sweep_for(2).await.recovered.is_empty());
    kit.assert_state(claimed.spec.id, JobState::Active).await;
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn an_exchange_during_the_grace_saves_the_jobs(kit: Kit) {
    let (mut worker, claimed) = suspected(&kit).await;
    worker.say_hello().await;
    assert!(kit.sweep_for(2).await.recovered.is_empty());
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn who_was_saved_is_given_a_whole_grace_the_next_time(kit: Kit) {
    let (mut worker, claimed) = suspected(&kit).await;
    worker.stay_alive().await;
    kit.pass(20).await;
    let again = kit.sweep(&kit.queue).await.expect("the store sweeps");
    assert!(again.recovered.is_empty(), "the old suspicion is forgotten");
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn a_sweep_says_when_a_lease_ends(kit: Kit) {
    let (_worker, _claimed) = kit.claimed().await;
    let next = kit.sweep(&kit.queue).await.expect("the store sweeps").next;
    let next = next.expect("a sweep is needed when the lease ends");
    assert!(next <= kit.settings.lease && !next.is_zero(), "{next:?}");
}

async fn a_worker_that_holds_nothing_needs_no_lease(kit: Kit) {
    let mut worker = kit.worker();
    worker.say_hello().await;
    kit.lapse().await;
    kit.sweep_for(20).await;
    worker.say_hello().await;
    assert!(matches!(worker.beat().await, BeatReply::Renewed { .. }));
}

async fn a_worker_that_settled_all_it_held_needs_no_lease(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Complete).await;
    assert!(kit.lapse().await.recovered.is_empty());
    kit.sweep_for(20).await;
    let job = kit.add(kit.new_job()).await;
    assert_eq!(worker.claim_one().await.spec.id, job);
}

async fn a_heartbeat_names_the_jobs_to_cancel(kit: Kit) {
    kit.add_plain(3).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(3).await;
    assert!(worker.stay_alive().await.is_empty());
    kit.cancel_job(&kit.queue, claimed[1].spec.id).await.expect("the store cancels");
    for _ in 0..3 {
        assert_eq!(worker.stay_alive().await, [claimed[1].spec.id]);
    }
    worker.settle(&claimed[1], Outcome::Cancel).await;
    assert!(worker.stay_alive().await.is_empty());
}

async fn a_heartbeat_of_a_lapsed_incarnation_is_expired(kit: Kit) {
    let (worker, claimed) = kit.claimed().await;
    kit.lapse().await;
    assert_eq!(worker.beat().await, BeatReply::Expired);
    kit.assert_state(claimed.spec.id, JobState::Waiting).await;
    assert_eq!(worker.beat().await, BeatReply::Expired, "and stays so");
}

async fn a_heartbeat_of_an_incarnation_that_never_spoke_is_expired(kit: Kit) {
    let mut worker = kit.worker();
    assert_eq!(worker.beat().await, BeatReply::Expired);
    // It has not lapsed by that: it may begin.
    worker.say_hello().await;
}

async fn a_heartbeat_with_an_outdated_count_keeps_the_jobs(kit: Kit) {
    kit.add_plain(2).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(2).await;
    let mut heart = kit.heart().await.expect("the store gives a heart");
    for held in [0, 1, 7] {
        kit.sweep_for(2).await;
        let beat = Beat::new(kit.queue.clone(), worker.incarnation, held);
        let replies = heart.beat(&[beat]).await.expect("the heart beats");
        assert_eq!(replies, [BeatReply::Renewed { cancelled: Vec::new() }]);
    }
    worker.settle(&claimed[0], Outcome::Complete).await;
    worker.settle(&claimed[1], Outcome::Complete).await;
}

async fn beats_are_answered_in_the_order_given(kit: Kit) {
    let (living, _claimed) = kit.claimed().await;
    let stranger = kit.worker();
    let there = queue("there");
    kit.enqueue(&there, vec![kit.new_job()]).await.expect("the store enqueues");
    let mut other = kit.worker_in(&there);
    let cancelled = other.claim_one().await.spec.id;
    kit.cancel_job(&there, cancelled).await.expect("the store cancels");

    let beat = |worker: &Worker| Beat::new(worker.queue.clone(), worker.incarnation, 1);
    let mut heart = kit.heart().await.expect("the store gives a heart");
    let beats = [beat(&stranger), beat(&other), beat(&living)];
    let replies = heart.beat(&beats).await.expect("the heart beats");
    assert_eq!(
        replies,
        [
            BeatReply::Expired,
            BeatReply::Renewed { cancelled: vec![cancelled] },
            BeatReply::Renewed { cancelled: Vec::new() },
        ]
    );
    assert!(heart.beat(&[]).await.expect("the heart beats").is_empty());
}

async fn one_lapsed_worker_takes_no_other_with_it(kit: Kit) {
    let (_vanished, lost) = kit.claimed().await;
    let (mut living, kept) = kit.claimed().await;
    let mut recovered = Vec::new();
    for _ in 0..5 {
        recovered.extend(kit.sweep_for(2).await.recovered);
        living.stay_alive().await;
    }
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].spec.id, lost.spec.id);
    living.settle(&kept, Outcome::Complete).await;
}

async fn leases_of_two_queues_are_apart(kit: Kit) {
    let (here, claimed) = kit.claimed().await;
    let there = queue("there");
    kit.enqueue(&there, vec![kit.new_job()]).await.expect("the store enqueues");
    let mut other = Worker::new(kit.adapter.clone(), there, here.incarnation);
    let kept = other.claim_one().await;
    for _ in 0..5 {
        kit.sweep_for(2).await;
        other.stay_alive().await;
    }
    kit.assert_state(claimed.spec.id, JobState::Waiting).await;
    other.settle(&kept, Outcome::Complete).await;
}

/// A worker whose lapsed lease was just noticed.
async fn suspected(kit: &Kit) -> (Worker, crate::Claimed) {
    let held = kit.claimed().await;
    kit.pass(5).await;
    let swept = kit.sweep(&kit.queue).await.expect("the store sweeps");
    assert!(swept.recovered.is_empty());
    held
}
