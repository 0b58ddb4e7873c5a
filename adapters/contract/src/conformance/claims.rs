//! What a claim is given.

use super::kit::{assert_distinct, ids, queue, sorted};
use super::{Kit, case_list};
use crate::{JobState, Outcome, Settlement};

case_list! {
    "claims", __conformance_claims:
    a_claim_gives_what_was_enqueued,
    a_claimed_job_is_active,
    a_claim_gives_no_more_than_asked_for,
    a_claim_of_nothing_gives_nothing,
    an_empty_queue_gives_nothing,
    a_queue_never_used_gives_nothing,
    an_answer_says_when_there_is_more,
    a_job_is_given_to_one_worker_only,
    two_workers_never_hold_the_same_job,
    workers_of_two_processes_share_a_queue,
    an_exchange_settles_and_claims_in_one_step,
    claims_of_one_worker_add_up,
    a_worker_that_holds_something_is_told_nothing_to_reconcile,
    held_jobs_are_told_page_by_page,
}

async fn a_claim_gives_what_was_enqueued(kit: Kit) {
    let spec = kit.new_job();
    let (_worker, claimed) = kit.claimed_of(spec.clone()).await;
    let record = kit.record(spec.id).await;
    assert_eq!(*claimed.spec, spec);
    assert_eq!(claimed.generation, record.generation);
    assert_eq!((claimed.attempts, claimed.crashes, claimed.solo), (0, 0, false));
    assert_eq!((claimed.enqueued_at, claimed.due_at), (record.enqueued_at, record.due_at));
}

async fn a_claimed_job_is_active(kit: Kit) {
    let (worker, claimed) = kit.claimed().await;
    kit.assert_state(claimed.spec.id, JobState::Active).await;
    let counts = kit.count().await;
    assert_eq!((counts.waiting, counts.active), (0, 1));
    assert_eq!(worker.held_by_the_store().await, (worker.holds(), false));
}

async fn a_claim_gives_no_more_than_asked_for(kit: Kit) {
    kit.add_plain(5).await;
    let mut worker = kit.worker();
    let mut turn = worker.turn();
    turn.claim = 2;
    let answer = worker.answer(turn).await;
    assert!((1..=2).contains(&answer.claimed.len()), "{} claimed", answer.claimed.len());
    assert_eq!(kit.count().await.active, answer.claimed.len() as u64);
}

async fn a_claim_of_nothing_gives_nothing(kit: Kit) {
    kit.add_plain(2).await;
    let answer = kit.worker().say_hello().await;
    assert!(answer.claimed.is_empty());
    assert_eq!(kit.count().await.waiting, 2);
}

async fn an_empty_queue_gives_nothing(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Complete).await;
    let mut turn = worker.turn();
    turn.claim = 10;
    let answer = worker.answer(turn).await;
    assert!(answer.claimed.is_empty());
    assert!(!answer.more && !answer.solo_waiting && !answer.reconcile);
}

async fn a_queue_never_used_gives_nothing(kit: Kit) {
    let mut worker = kit.worker_in(&queue("never-used"));
    assert!(worker.claim(1).await.is_empty());
}

async fn an_answer_says_when_there_is_more(kit: Kit) {
    kit.add_plain(3).await;
    let mut worker = kit.worker();
    let mut turn = worker.turn();
    turn.claim = 1;
    let answer = worker.answer(turn).await;
    assert_eq!(answer.claimed.len(), 1);
    assert!(answer.more, "two are left");

    let mut left = 2;
    while left > 0 {
        let mut turn = worker.turn();
        turn.claim = 5;
        let answer = worker.answer(turn).await;
        left -= answer.claimed.len();
        assert_eq!(answer.more, left > 0, "{left} are left");
    }
}

async fn a_job_is_given_to_one_worker_only(kit: Kit) {
    kit.add(kit.new_job()).await;
    let (mut one, mut two) = (kit.worker(), kit.worker());
    assert_eq!(one.claim(1).await.len(), 1);
    assert!(two.claim(1).await.is_empty());
    assert!(one.claim(1).await.is_empty(), "nor to the same again");
}

async fn two_workers_never_hold_the_same_job(kit: Kit) {
    let jobs = kit.add_plain(100).await;
    let mut workers: Vec<_> = (0..5).map(|_| kit.worker()).collect();
    let mut claimed = Vec::new();
    for round in 0..80 {
        claimed.extend(ids(&workers[round % 5].claim(round % 4).await));
    }
    assert_distinct(&claimed);
    assert_eq!(sorted(claimed), sorted(jobs));
    for worker in &workers {
        assert_eq!(worker.held_by_the_store().await, (worker.holds(), false));
    }
}

async fn workers_of_two_processes_share_a_queue(kit: Kit) {
    let jobs = kit.add_plain(10).await;
    let mut here = kit.worker();
    let mut there = kit.worker();
    there.adapter = kit.another().await;
    let mut claimed = ids(&here.claim(5).await);
    claimed.extend(ids(&there.claim(10).await));
    assert_eq!(claimed, jobs);
}

async fn an_exchange_settles_and_claims_in_one_step(kit: Kit) {
    let jobs = kit.add_plain(2).await;
    let mut worker = kit.worker();
    let first = worker.claim_one().await;
    let done = Settlement::new(first.spec.id, first.generation, Outcome::Complete);
    let mut turn = worker.turn_with([done]);
    turn.claim = 1;
    let answer = worker.answer(turn).await;
    assert!(answer.refused.is_empty() && !answer.reconcile);
    assert_eq!(ids(&answer.claimed), [jobs[1]]);
    kit.assert_state(jobs[0], JobState::Completed).await;
    kit.assert_state(jobs[1], JobState::Active).await;
}

async fn claims_of_one_worker_add_up(kit: Kit) {
    kit.add_plain(4).await;
    let mut worker = kit.worker();
    worker.claim(1).await;
    worker.claim(2).await;
    assert_eq!(worker.held.len(), 3);
    assert_eq!(worker.held_by_the_store().await, (worker.holds(), false));
}

async fn a_worker_that_holds_something_is_told_nothing_to_reconcile(kit: Kit) {
    kit.add_plain(3).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(3).await;
    assert!(!worker.say_hello().await.reconcile);
    assert!(!worker.settle(&claimed[0], Outcome::Complete).await.reconcile);
    assert!(!worker.say_hello().await.reconcile);
}

async fn held_jobs_are_told_page_by_page(kit: Kit) {
    kit.add_plain(2500).await;
    let mut worker = kit.worker();
    assert_eq!(worker.claim(2500).await.len(), 2500);
    let (held, expired) = worker.held_by_the_store().await;
    assert!(!expired);
    assert!(held == worker.holds(), "each held job once, ordered by id, with its generation");

    let after = held[1000].0;
    let page = kit.held(&kit.queue, worker.incarnation, Some(after)).await;
    let page = page.expect("the store tells what is held").jobs;
    assert_eq!(page[0], held[1001], "a page begins behind what was read");
}
