//! Jobs are added once, all of a batch or none.

use super::kit::{assert_distinct, ids, name, queue, sorted};
use super::{Kit, case_list};
use crate::{Effect, Enqueued, ErrorKind, Find, JobState, MAX_BATCH, Outcome, Payload};

case_list! {
    "enqueue", __conformance_enqueue:
    a_job_that_may_run_at_once_waits,
    a_job_is_recorded_as_it_was_enqueued,
    a_job_enqueued_again_is_known_by_its_id,
    a_known_job_stays_as_it_is_whatever_comes_under_its_id,
    an_active_job_enqueued_again_is_not_given_to_another_worker,
    a_finished_job_is_known_for_as_long_as_it_is_kept,
    a_job_that_is_no_longer_kept_is_new_again,
    two_of_one_id_in_a_batch_are_one_job,
    a_batch_is_answered_in_the_order_given,
    an_empty_batch_does_nothing,
    queues_are_apart,
    the_same_id_in_two_queues_is_two_jobs,
    another_process_sees_what_was_enqueued,
    as_many_jobs_as_a_batch_may_have_are_enqueued_in_one_call,
    a_batch_of_one_more_is_refused_and_none_of_it_stored,
}

async fn a_job_that_may_run_at_once_waits(kit: Kit) {
    let job = kit.add(kit.new_job()).await;
    kit.assert_state(job, JobState::Waiting).await;
    assert_eq!(kit.count().await.waiting, 1);
}

async fn a_job_is_recorded_as_it_was_enqueued(kit: Kit) {
    let before = kit.now().await;
    let spec = kit.new_job();
    kit.add(spec.clone()).await;
    let after = kit.now().await;

    let record = kit.record(spec.id).await;
    assert_eq!(record.queue, kit.queue);
    assert_eq!(*record.spec, spec);
    assert_eq!((record.attempts, record.crashes), (0, 0));
    let accepted = before - kit.reckoned()..=after;
    assert!(accepted.contains(&record.enqueued_at), "by the store's clock");
    assert_eq!(record.due_at, record.enqueued_at);
    assert_eq!((record.finished_at, record.last_attempt), (None, None));
    assert!(!record.cancel_requested);
}

async fn a_job_enqueued_again_is_known_by_its_id(kit: Kit) {
    let spec = kit.new_job();
    kit.add(spec.clone()).await;
    let again = kit.enqueue(&kit.queue, vec![spec]).await.expect("the store enqueues");
    assert_eq!(again, [Enqueued::Existing]);
    assert_eq!(kit.count().await.total(), 1);
    assert_eq!(kit.worker().claim(2).await.len(), 1);
}

async fn a_known_job_stays_as_it_is_whatever_comes_under_its_id(kit: Kit) {
    let spec = kit.new_job();
    kit.add(spec.clone()).await;
    let before = kit.record(spec.id).await;

    let mut other = spec.clone();
    other.name = name("another_job");
    other.payload = Payload::from_json_bytes("[1]");
    let answers = kit.enqueue(&kit.queue, vec![other, kit.new_job()]).await;

    assert_eq!(answers.expect("the store enqueues"), [Enqueued::Existing, Enqueued::New]);
    assert_eq!(kit.record(spec.id).await, before);
}

async fn an_active_job_enqueued_again_is_not_given_to_another_worker(kit: Kit) {
    let (_worker, claimed) = kit.claimed().await;
    let spec = (*claimed.spec).clone();
    let again = kit.enqueue(&kit.queue, vec![spec]).await.expect("the store enqueues");
    assert_eq!(again, [Enqueued::Existing]);
    assert!(kit.worker().claim(1).await.is_empty());
    kit.assert_state(claimed.spec.id, JobState::Active).await;
}

async fn a_finished_job_is_known_for_as_long_as_it_is_kept(kit: Kit) {
    for outcome in [Outcome::Complete, Outcome::Dead, Outcome::Cancel] {
        let job = kit.settled(outcome).await;
        let before = kit.record(job).await;
        let spec = (*before.spec).clone();
        let again = kit.enqueue(&kit.queue, vec![spec]).await.expect("the store enqueues");
        assert_eq!(again, [Enqueued::Existing], "after {outcome:?}");
        assert_eq!(kit.record(job).await, before);
    }
    assert!(kit.worker().claim(1).await.is_empty());
}

async fn a_job_that_is_no_longer_kept_is_new_again(kit: Kit) {
    let kit = kit.with(|settings| settings.keep_completed.age = std::time::Duration::ZERO).await;
    let spec = kit.new_job();
    let (mut worker, claimed) = kit.claimed_of(spec.clone()).await;
    worker.settle(&claimed, Outcome::Complete).await;
    kit.add(spec.clone()).await;
    assert_eq!(worker.claim_one().await.attempts, 0);
}

async fn two_of_one_id_in_a_batch_are_one_job(kit: Kit) {
    let spec = kit.new_job();
    let mut other = spec.clone();
    other.payload = Payload::from_json_bytes("2");
    let answers = kit.enqueue(&kit.queue, vec![spec.clone(), other, kit.new_job()]).await;
    assert_eq!(
        answers.expect("the store enqueues"),
        [Enqueued::New, Enqueued::Existing, Enqueued::New]
    );
    assert_eq!(*kit.record(spec.id).await.spec, spec, "the first of the two");
    assert_eq!(kit.count().await.waiting, 2);
    assert_eq!(kit.worker().claim(3).await.len(), 2);
}

async fn a_batch_is_answered_in_the_order_given(kit: Kit) {
    let (a, b) = (kit.new_job(), kit.new_job());
    kit.add_all(vec![a.clone(), b.clone()]).await;
    let batch = vec![kit.new_job(), b, kit.new_job(), a];
    let answers = kit.enqueue(&kit.queue, batch).await.expect("the store enqueues");
    use Enqueued::{Existing, New};
    assert_eq!(answers, [New, Existing, New, Existing]);
}

async fn an_empty_batch_does_nothing(kit: Kit) {
    let answers = kit.enqueue(&kit.queue, Vec::new()).await.expect("the store enqueues");
    assert!(answers.is_empty());
    assert_eq!(kit.count().await.total(), 0);
}

async fn queues_are_apart(kit: Kit) {
    let queues: Vec<_> = (0..50).map(|n| queue(&format!("queue-{n}"))).collect();
    let mut jobs = Vec::new();
    for queue in &queues {
        let spec = kit.new_job();
        jobs.push(spec.id);
        kit.enqueue(queue, vec![spec]).await.expect("the store enqueues");
    }
    for (queue, &job) in queues.iter().zip(&jobs) {
        assert_eq!(kit.counts(queue).await.expect("the store counts").waiting, 1);
        assert!(kit.look(job).await.is_none(), "not in a queue it was not enqueued into");
        assert_eq!(ids(&kit.worker_in(queue).claim(2).await), [job]);
    }
}

async fn the_same_id_in_two_queues_is_two_jobs(kit: Kit) {
    let spec = kit.new_job();
    kit.add(spec.clone()).await;
    let other = queue("other");
    let answers = kit.enqueue(&other, vec![spec.clone()]).await.expect("the store enqueues");
    assert_eq!(answers, [Enqueued::New]);
    let claimed = kit.worker_in(&other).claim_one().await;
    assert_eq!(claimed.spec.id, spec.id);
    kit.assert_state(spec.id, JobState::Waiting).await;
}

async fn another_process_sees_what_was_enqueued(kit: Kit) {
    let job = kit.add(kit.new_job()).await;
    let another = kit.another().await;
    let record = another.job(&kit.queue, job).await.expect("the store looks a job up");
    assert_eq!(record, Some(kit.record(job).await));
}

async fn as_many_jobs_as_a_batch_may_have_are_enqueued_in_one_call(kit: Kit) {
    let jobs = kit.add_plain(MAX_BATCH).await;
    assert_eq!(kit.count().await.waiting, MAX_BATCH as u64);
    assert_distinct(&jobs);
    let found = kit.find_all(Find::new().limit(1000)).await;
    assert_eq!(found.iter().map(|job| job.spec.id).collect::<Vec<_>>(), sorted(jobs));
}

async fn a_batch_of_one_more_is_refused_and_none_of_it_stored(kit: Kit) {
    let known = kit.new_job();
    kit.add(known.clone()).await;
    let fresh: Vec<_> = (0..=MAX_BATCH).map(|_| kit.new_job()).collect();
    // Too many is too many, also where a store would have nothing to do.
    for batch in [fresh, vec![known; MAX_BATCH + 1]] {
        let first = batch[0].id;
        let error = match kit.enqueue(&kit.queue, batch).await {
            Err(error) => error,
            Ok(answers) => panic!("{} jobs were taken in one call", answers.len()),
        };
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
        let text = error.to_string();
        for number in [MAX_BATCH, MAX_BATCH + 1] {
            assert!(text.contains(&number.to_string()), "it names {number}: {text}");
        }
        assert!(kit.count().await.waiting == 1, "of the batch of {first}, some is stored");
    }
}
