//! Only who holds a job may settle it, and an exchange that comes twice or late does no harm.

use std::time::Duration;

use super::kit::{ids, sorted};
use super::{Kit, Worker, case_list};
use crate::{Claimed, ExchangeReply, JobState, Outcome, Settlement};

case_list! {
    "fencing", __conformance_fencing:
    settling_with_an_old_generation_is_refused,
    settling_with_a_generation_of_the_future_is_refused,
    settling_what_another_incarnation_holds_is_refused,
    settling_what_nobody_holds_is_refused,
    settling_what_was_recovered_is_refused,
    settling_what_was_recovered_and_claimed_by_another_is_refused,
    settling_what_the_same_worker_released_and_claimed_again_needs_the_new_generation,
    settling_twice_in_two_exchanges_is_refused_the_second_time,
    settling_twice_in_one_exchange_counts_once,
    settling_a_replayed_job_with_the_generation_it_died_under_is_refused,
    settling_in_another_queue_is_refused,
    a_generation_rises_with_every_transition,
    an_exchange_sent_again_is_answered_the_same_and_changes_nothing,
    a_claim_sent_again_gives_the_same_jobs,
    a_claim_that_gave_nothing_sent_again_gives_nothing_new,
    refusals_are_told_again_when_the_exchange_is_sent_again,
    an_exchange_sent_again_by_another_process_is_known,
    a_lower_number_is_refused_and_changes_nothing,
    a_number_too_high_is_applied_and_asks_to_reconcile,
    after_a_gap_the_numbers_go_on_from_there,
    an_unknown_incarnation_that_does_not_begin_with_one_is_expired,
    a_lapsed_incarnation_is_expired_whatever_it_says,
    a_lapsed_incarnation_that_sends_its_last_exchange_again_is_expired,
    who_went_on_as_a_new_incarnation_is_served,
    numbers_of_two_incarnations_are_apart,
    numbers_of_two_queues_are_apart,
    a_worker_that_holds_less_than_the_store_thinks_is_asked_to_reconcile,
    a_worker_that_holds_more_than_the_store_thinks_is_asked_to_reconcile,
    a_reconciled_worker_is_not_asked_again,
}

async fn settling_with_an_old_generation_is_refused(kit: Kit) {
    let (mut worker, old) = kit.claimed().await;
    worker.settle(&old, Outcome::Retry(kit.units(1))).await;
    kit.sweep_for(2).await;
    let new = worker.claim_one().await;
    assert!(new.generation > old.generation, "{} after {}", new.generation, old.generation);
    for outcome in all_outcomes(&kit) {
        assert_refused(&kit, &mut worker, settlement(&old, outcome)).await;
    }
    worker.settle(&new, Outcome::Complete).await;
}

async fn settling_with_a_generation_of_the_future_is_refused(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    for ahead in [1, 1000] {
        let generation = claimed.generation + ahead;
        let guess = Settlement::new(claimed.spec.id, generation, Outcome::Complete);
        assert_refused(&kit, &mut worker, guess).await;
    }
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn settling_what_another_incarnation_holds_is_refused(kit: Kit) {
    let (mut holder, claimed) = kit.claimed().await;
    let mut other = kit.worker();
    for outcome in all_outcomes(&kit) {
        assert_refused(&kit, &mut other, settlement(&claimed, outcome)).await;
    }
    assert_eq!(holder.held_by_the_store().await, (holder.holds(), false));
    holder.settle(&claimed, Outcome::Complete).await;
}

async fn settling_what_nobody_holds_is_refused(kit: Kit) {
    let waiting = kit.add(kit.new_job()).await;
    let delayed = kit.add(kit.after(60)).await;
    let mut worker = kit.worker();
    for job in [waiting, delayed] {
        let generation = kit.record(job).await.generation;
        for outcome in all_outcomes(&kit) {
            assert_refused(&kit, &mut worker, Settlement::new(job, generation, outcome)).await;
        }
    }
}

async fn settling_what_was_recovered_is_refused(kit: Kit) {
    let (_vanished, claimed) = kit.claimed().await;
    kit.lapse().await;
    let mut heir = kit.worker();
    assert_refused(&kit, &mut heir, settlement(&claimed, Outcome::Complete)).await;
}

async fn settling_what_was_recovered_and_claimed_by_another_is_refused(kit: Kit) {
    let (mut vanished, old) = kit.claimed().await;
    kit.lapse().await;
    let mut heir = kit.worker();
    let new = heir.claim_one().await;
    assert_ne!(new.generation, old.generation);

    let late = vanished.turn_with([settlement(&old, Outcome::Complete)]);
    assert!(matches!(vanished.send(late).await, ExchangeReply::Expired));
    let mut risen = kit.worker();
    assert_refused(&kit, &mut risen, settlement(&old, Outcome::Complete)).await;
    assert_refused(&kit, &mut heir, settlement(&old, Outcome::Complete)).await;
    heir.settle(&new, Outcome::Complete).await;
}

async fn settling_what_the_same_worker_released_and_claimed_again_needs_the_new_generation(
    kit: Kit,
) {
    let (mut worker, old) = kit.claimed().await;
    worker.settle(&old, Outcome::Release(Duration::ZERO)).await;
    let new = worker.claim_one().await;
    assert_ne!(new.generation, old.generation);
    assert_refused(&kit, &mut worker, settlement(&old, Outcome::Complete)).await;
    worker.settle(&new, Outcome::Complete).await;
}

async fn settling_twice_in_two_exchanges_is_refused_the_second_time(kit: Kit) {
    for first in all_outcomes(&kit) {
        let (mut worker, claimed) = kit.claimed().await;
        worker.settle(&claimed, first).await;
        assert_refused(&kit, &mut worker, settlement(&claimed, Outcome::Complete)).await;
        // Out of the way of the next round.
        kit.cancel_job(&kit.queue, claimed.spec.id).await.expect("the store cancels");
    }
}

async fn settling_twice_in_one_exchange_counts_once(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    let twice = [
        settlement(&claimed, Outcome::Complete),
        settlement(&claimed, Outcome::Retry(Duration::ZERO)),
    ];
    let answer = worker.try_settle(twice).await;
    assert_eq!(answer.refused, [claimed.spec.id], "the second of the two");
    let record = kit.record(claimed.spec.id).await;
    assert_eq!((record.state, record.attempts), (JobState::Completed, 1));
    assert_eq!(kit.count().await.total(), 1);
}

async fn settling_a_replayed_job_with_the_generation_it_died_under_is_refused(kit: Kit) {
    let (mut worker, old) = kit.claimed().await;
    worker.settle(&old, Outcome::Dead).await;
    kit.replay(&kit.queue, old.spec.id).await.expect("the store replays");
    let new = worker.claim_one().await;
    assert!(new.generation > old.generation);
    assert_refused(&kit, &mut worker, settlement(&old, Outcome::Dead)).await;
    worker.settle(&new, Outcome::Complete).await;
}

async fn settling_in_another_queue_is_refused(kit: Kit) {
    let (holder, claimed) = kit.claimed().await;
    let mut elsewhere =
        Worker::new(kit.adapter.clone(), super::kit::queue("elsewhere"), holder.incarnation);
    let answer = elsewhere.try_settle([settlement(&claimed, Outcome::Complete)]).await;
    assert_eq!(answer.refused, [claimed.spec.id]);
    kit.assert_state(claimed.spec.id, JobState::Active).await;
}

async fn a_generation_rises_with_every_transition(kit: Kit) {
    let (mut worker, mut claimed) = kit.claimed().await;
    for outcome in [Outcome::Release(Duration::ZERO), Outcome::Release(Duration::ZERO)] {
        worker.settle(&claimed, outcome).await;
        let again = worker.claim_one().await;
        assert!(again.generation > claimed.generation);
        claimed = again;
    }
    worker.settle(&claimed, Outcome::Dead).await;
    let dead = kit.record(claimed.spec.id).await.generation;
    assert!(dead > claimed.generation);
    kit.replay(&kit.queue, claimed.spec.id).await.expect("the store replays");
    let replayed = kit.record(claimed.spec.id).await.generation;
    assert!(replayed > dead);
    kit.cancel_job(&kit.queue, claimed.spec.id).await.expect("the store cancels");
    assert!(kit.record(claimed.spec.id).await.generation > replayed);
}

async fn an_exchange_sent_again_is_answered_the_same_and_changes_nothing(kit: Kit) {
    kit.add_plain(6).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(4).await;
    let outcomes =
        [Outcome::Complete, Outcome::Retry(kit.units(60)), Outcome::Release(Duration::ZERO)];
    let settlements =
        claimed.iter().zip(outcomes).map(|(claimed, outcome)| settlement(claimed, outcome));
    let mut turn = worker.turn_with(settlements.collect::<Vec<_>>());
    turn.claim = 1;
    let first = worker.answer(turn).await;
    let before = kit.snapshot().await;

    for _ in 0..3 {
        let ExchangeReply::Answered(again) = worker.resend().await else {
            panic!("the last number is answered again");
        };
        assert_eq!(again.claimed, first.claimed);
        assert_eq!(again.refused, first.refused);
        assert!(!again.reconcile);
        assert_eq!(kit.snapshot().await, before);
    }
    assert_eq!(worker.held_by_the_store().await, (worker.holds(), false));
    assert!(!worker.say_hello().await.reconcile);
}

async fn a_claim_sent_again_gives_the_same_jobs(kit: Kit) {
    kit.add_plain(5).await;
    let mut worker = kit.worker();
    let first = worker.claim_one().await;
    // Others claim in between; time passes.
    let theirs = kit.worker().claim(2).await;
    kit.pass(1).await;
    let ExchangeReply::Answered(again) = worker.resend().await else {
        panic!("the last number is answered again");
    };
    assert_eq!(again.claimed, std::slice::from_ref(&first));
    assert!(!ids(&theirs).contains(&first.spec.id));
    assert_eq!(kit.count().await.active, 3);
}

async fn a_claim_that_gave_nothing_sent_again_gives_nothing_new(kit: Kit) {
    let mut worker = kit.worker();
    assert!(worker.claim(1).await.is_empty());
    let job = kit.add(kit.new_job()).await;
    let ExchangeReply::Answered(again) = worker.resend().await else {
        panic!("the last number is answered again");
    };
    assert!(again.claimed.is_empty(), "it changes nothing");
    kit.assert_state(job, JobState::Waiting).await;
    assert_eq!(ids(&worker.claim(1).await), [job]);
}

async fn refusals_are_told_again_when_the_exchange_is_sent_again(kit: Kit) {
    kit.add_plain(2).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(2).await;
    let stranger = kit.id();
    let settlements =
        [settlement(&claimed[0], Outcome::Complete), Settlement::new(stranger, 1, Outcome::Dead)];
    assert_eq!(worker.try_settle(settlements).await.refused, [stranger]);
    let ExchangeReply::Answered(again) = worker.resend().await else {
        panic!("the last number is answered again");
    };
    assert_eq!(again.refused, [stranger]);
}

async fn an_exchange_sent_again_by_another_process_is_known(kit: Kit) {
    kit.add_plain(3).await;
    let mut worker = kit.worker();
    let first = worker.claim(2).await;
    // The connection was lost, and the answer with it.
    worker.adapter = kit.another().await;
    let ExchangeReply::Answered(again) = worker.resend().await else {
        panic!("the last number is answered again");
    };
    assert!(first.ends_with(&again.claimed) && !again.claimed.is_empty());
    assert_eq!(kit.count().await.active, 2);
}

async fn a_lower_number_is_refused_and_changes_nothing(kit: Kit) {
    kit.add_plain(4).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    let mut late = worker.turn();
    late.number = 1;
    worker.say_hello().await;
    worker.say_hello().await;
    let before = kit.snapshot().await;

    late.claim = 2;
    late.settlements = vec![settlement(&claimed, Outcome::Complete)];
    for number in [1, 2] {
        late.number = number;
        assert!(matches!(worker.send(late.clone()).await, ExchangeReply::Refused));
        assert_eq!(kit.snapshot().await, before);
    }
    assert_eq!(worker.held_by_the_store().await, (worker.holds(), false));
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn a_number_too_high_is_applied_and_asks_to_reconcile(kit: Kit) {
    kit.add_plain(2).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    let mut turn = worker.turn_with([settlement(&claimed, Outcome::Complete)]);
    turn.number += 1;
    turn.claim = 1;
    let answer = worker.answer(turn).await;
    assert!(answer.reconcile);
    assert!(answer.refused.is_empty());
    assert_eq!(answer.claimed.len(), 1);
    kit.assert_state(claimed.spec.id, JobState::Completed).await;
}

async fn after_a_gap_the_numbers_go_on_from_there(kit: Kit) {
    let (mut worker, _claimed) = kit.claimed().await;
    let before = worker.turn();
    let mut turn = worker.turn();
    turn.number += 10;
    assert!(worker.answer(turn).await.reconcile);
    assert!(matches!(worker.resend().await, ExchangeReply::Answered(_)));
    assert!(!worker.say_hello().await.reconcile, "the next one is the next");
    assert!(matches!(worker.send(before).await, ExchangeReply::Refused));
}

async fn an_unknown_incarnation_that_does_not_begin_with_one_is_expired(kit: Kit) {
    kit.add_plain(1).await;
    for number in [2, 3, 1000] {
        let mut worker = kit.worker();
        let mut turn = worker.turn();
        turn.number = number;
        turn.claim = 1;
        assert!(matches!(worker.send(turn).await, ExchangeReply::Expired), "number {number}");
    }
    assert_eq!(kit.count().await.waiting, 1);
}

async fn a_lapsed_incarnation_is_expired_whatever_it_says(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    kit.lapse().await;
    let before = kit.snapshot().await;
    let mut claims = worker.turn();
    claims.claim = 1;
    let settles = worker.turn_with([settlement(&claimed, Outcome::Complete)]);
    let mut skips = worker.turn();
    skips.number += 5;
    let mut begins = worker.turn();
    begins.number = 1;
    for exchange in [claims, settles, skips, begins] {
        assert!(matches!(worker.send(exchange).await, ExchangeReply::Expired));
        assert_eq!(kit.snapshot().await, before);
    }
    assert!(worker.held_by_the_store().await.1, "the page says that it is expired");
}

async fn a_lapsed_incarnation_that_sends_its_last_exchange_again_is_expired(kit: Kit) {
    let (mut worker, _claimed) = kit.claimed().await;
    kit.lapse().await;
    assert!(matches!(worker.resend().await, ExchangeReply::Expired));
    assert_eq!(kit.count().await.waiting, 1);
}

async fn who_went_on_as_a_new_incarnation_is_served(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    kit.lapse().await;
    assert!(matches!(worker.resend().await, ExchangeReply::Expired));
    let mut risen = kit.worker();
    let again = risen.claim_one().await;
    assert_eq!(again.spec.id, claimed.spec.id);
    risen.settle(&again, Outcome::Complete).await;
}

async fn numbers_of_two_incarnations_are_apart(kit: Kit) {
    kit.add_plain(4).await;
    let (mut one, mut two) = (kit.worker(), kit.worker());
    for _ in 0..3 {
        one.say_hello().await;
    }
    let theirs = two.claim(2).await;
    let ours = one.claim(2).await;
    assert!(matches!(two.resend().await, ExchangeReply::Answered(_)));
    assert_eq!(sorted([ids(&ours), ids(&theirs)].concat()).len(), 4);
    assert_eq!((one.held.len(), two.held.len()), (2, 2));
}

async fn numbers_of_two_queues_are_apart(kit: Kit) {
    let (mut here, claimed) = kit.claimed().await;
    let mut there = Worker::new(kit.adapter.clone(), super::kit::queue("other"), here.incarnation);
    there.say_hello().await;
    assert!(there.held_by_the_store().await.0.is_empty());
    here.settle(&claimed, Outcome::Complete).await;
    there.say_hello().await;
    here.say_hello().await;
}

async fn a_worker_that_holds_less_than_the_store_thinks_is_asked_to_reconcile(kit: Kit) {
    kit.add_plain(3).await;
    let mut worker = kit.worker();
    worker.claim(3).await;
    let mut turn = worker.turn();
    turn.held = 2;
    assert!(worker.answer(turn).await.reconcile);
    assert_eq!(worker.held_by_the_store().await, (worker.holds(), false), "and learns of all");
}

async fn a_worker_that_holds_more_than_the_store_thinks_is_asked_to_reconcile(kit: Kit) {
    kit.add_plain(2).await;
    let mut worker = kit.worker();
    worker.claim(2).await;
    let mut turn = worker.turn();
    turn.held = 3;
    assert!(worker.answer(turn).await.reconcile);
    assert_eq!(worker.held_by_the_store().await, (worker.holds(), false));
}

async fn a_reconciled_worker_is_not_asked_again(kit: Kit) {
    kit.add_plain(2).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(2).await;
    // It forgot one: after a look at the store it releases what it does not know.
    worker.held.remove(&claimed[0].spec.id);
    assert!(worker.say_hello().await.reconcile);
    let (held, _) = worker.held_by_the_store().await;
    let unknown = held.into_iter().filter(|(id, _)| !worker.held.contains_key(id));
    let releases: Vec<_> = unknown
        .map(|(id, generation)| Settlement::new(id, generation, Outcome::Release(Duration::ZERO)))
        .collect();
    assert_eq!(releases.len(), 1);
    assert!(!worker.settle_all(releases).await.reconcile);
    assert!(!worker.say_hello().await.reconcile);
    kit.assert_state(claimed[0].spec.id, JobState::Waiting).await;
}

/// The worker's settlement is refused, and nothing is different after it.
async fn assert_refused(kit: &Kit, worker: &mut Worker, settlement: Settlement) {
    let before = kit.snapshot().await;
    let answer = worker.try_settle([settlement.clone()]).await;
    assert_eq!(answer.refused, [settlement.job], "{settlement:?} is refused");
    assert_eq!(kit.snapshot().await, before);
}

fn all_outcomes(kit: &Kit) -> [Outcome; 6] {
    [
        Outcome::Complete,
        Outcome::Retry(kit.units(60)),
        Outcome::Dead,
        Outcome::Cancel,
        Outcome::Release(Duration::ZERO),
        Outcome::Release(kit.units(60)),
    ]
}

fn settlement(claimed: &Claimed, outcome: Outcome) -> Settlement {
    Settlement::new(claimed.spec.id, claimed.generation, outcome)
}
