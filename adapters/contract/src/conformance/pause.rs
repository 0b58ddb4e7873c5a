//! A paused queue gives nothing, and all else goes on.

use super::kit::{ids, queue};
use super::{Kit, case_list};
use crate::{JobState, Outcome};

case_list! {
    "pause", __conformance_pause:
    a_paused_queue_gives_nothing,
    a_resumed_queue_gives_what_waited_in_its_order,
    a_paused_queue_takes_jobs,
    a_paused_queue_settles_what_is_active,
    a_paused_queue_lets_due_jobs_wait,
    a_paused_queue_takes_back_the_jobs_of_a_vanished_worker,
    a_paused_queue_has_nothing_to_claim,
    pausing_twice_is_pausing_once,
    resuming_what_is_not_paused_does_nothing,
    counts_tell_whether_a_queue_is_paused,
    other_queues_are_not_paused,
    an_empty_queue_can_be_paused,
    a_pause_holds_for_every_process,
}

async fn a_paused_queue_gives_nothing(kit: Kit) {
    kit.add_plain(3).await;
    pause(&kit).await;
    let mut worker = kit.worker();
    let mut turn = worker.turn();
    turn.claim = 3;
    let answer = worker.answer(turn).await;
    assert!(answer.claimed.is_empty());
    assert!(!answer.more, "nothing can be claimed");
    assert!(worker.claim_solo(3).await.claimed.is_empty());
    assert_eq!(kit.count().await.waiting, 3);
}

async fn a_resumed_queue_gives_what_waited_in_its_order(kit: Kit) {
    let mut jobs = kit.add_plain(2).await;
    pause(&kit).await;
    jobs.extend(kit.add_plain(2).await);
    assert!(kit.worker().claim(4).await.is_empty());
    resume(&kit).await;
    assert_eq!(ids(&kit.worker().claim(4).await), jobs);
}

async fn a_paused_queue_takes_jobs(kit: Kit) {
    pause(&kit).await;
    let job = kit.add(kit.new_job()).await;
    kit.assert_state(job, JobState::Waiting).await;
    assert!(kit.worker().claim(1).await.is_empty());
    resume(&kit).await;
    assert_eq!(ids(&kit.worker().claim(1).await), [job]);
}

async fn a_paused_queue_settles_what_is_active(kit: Kit) {
    kit.add_plain(3).await;
    let mut worker = kit.worker();
    let claimed = worker.claim(3).await;
    pause(&kit).await;
    worker.settle(&claimed[0], Outcome::Complete).await;
    worker.settle(&claimed[1], Outcome::Retry(kit.units(60))).await;
    worker.settle(&claimed[2], Outcome::Release(std::time::Duration::ZERO)).await;
    let counts = kit.count().await;
    assert_eq!((counts.completed, counts.delayed, counts.waiting, counts.active), (1, 1, 1, 0));
    assert!(worker.claim(1).await.is_empty());
}

async fn a_paused_queue_lets_due_jobs_wait(kit: Kit) {
    let job = kit.add(kit.after(1)).await;
    pause(&kit).await;
    kit.sweep_for(2).await;
    assert!(kit.worker().claim(1).await.is_empty());
    resume(&kit).await;
    kit.sweep_now().await;
    assert_eq!(ids(&kit.worker().claim(1).await), [job]);
}

async fn a_paused_queue_takes_back_the_jobs_of_a_vanished_worker(kit: Kit) {
    let (_vanished, claimed) = kit.claimed().await;
    pause(&kit).await;
    assert_eq!(kit.lapse().await.recovered.len(), 1);
    let record = kit.record(claimed.spec.id).await;
    assert_eq!((record.state, record.crashes), (JobState::Waiting, 1));
}

async fn a_paused_queue_has_nothing_to_claim(kit: Kit) {
    kit.add_plain(1).await;
    assert!(kit.sweep(&kit.queue).await.expect("the store sweeps").claimable);
    pause(&kit).await;
    assert!(!kit.sweep(&kit.queue).await.expect("the store sweeps").claimable);
    resume(&kit).await;
    assert!(kit.sweep(&kit.queue).await.expect("the store sweeps").claimable);
}

async fn pausing_twice_is_pausing_once(kit: Kit) {
    pause(&kit).await;
    assert!(!kit.pause(&kit.queue).await.expect("the store pauses"), "it was paused");
    assert!(kit.count().await.paused);
    resume(&kit).await;
    assert!(!kit.count().await.paused);
}

async fn resuming_what_is_not_paused_does_nothing(kit: Kit) {
    assert!(!kit.resume(&kit.queue).await.expect("the store resumes"), "it was not paused");
    let job = kit.add(kit.new_job()).await;
    assert!(!kit.resume(&kit.queue).await.expect("the store resumes"), "it was not paused");
    assert_eq!(ids(&kit.worker().claim(1).await), [job]);
}

async fn counts_tell_whether_a_queue_is_paused(kit: Kit) {
    kit.add_plain(1).await;
    assert!(!kit.count().await.paused);
    pause(&kit).await;
    let counts = kit.count().await;
    assert_eq!((counts.paused, counts.waiting), (true, 1));
    resume(&kit).await;
    assert!(!kit.count().await.paused);
}

async fn other_queues_are_not_paused(kit: Kit) {
    pause(&kit).await;
    let other = queue("other");
    kit.enqueue(&other, vec![kit.new_job()]).await.expect("the store enqueues");
    assert_eq!(kit.worker_in(&other).claim(1).await.len(), 1);
    assert!(!kit.counts(&other).await.expect("the store counts").paused);
}

async fn an_empty_queue_can_be_paused(kit: Kit) {
    pause(&kit).await;
    assert!(kit.count().await.paused);
    resume(&kit).await;
}

async fn a_pause_holds_for_every_process(kit: Kit) {
    kit.add_plain(1).await;
    let another = kit.another().await;
    assert!(another.pause(&kit.queue).await.expect("the store pauses"));
    assert!(kit.worker().claim(1).await.is_empty());
    assert!(kit.count().await.paused);
}

async fn pause(kit: &Kit) {
    assert!(kit.pause(&kit.queue).await.expect("the store pauses"), "it was not paused");
}

async fn resume(kit: &Kit) {
    assert!(kit.resume(&kit.queue).await.expect("the store resumes"), "it was paused");
}
