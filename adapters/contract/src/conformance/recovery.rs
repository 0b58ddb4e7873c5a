//! What becomes of the jobs of a worker that vanished.

use super::kit::{ids, sorted};
use super::{Kit, case_list};
use crate::{CancelJob, FailureKind, JobState, Operated, Outcome, Settlement};

case_list! {
    "recovery", __conformance_recovery:
    a_recovered_job_waits_and_counts_a_crash_and_no_attempt,
    a_sweep_tells_what_it_took_back,
    all_jobs_of_a_vanished_worker_are_taken_back,
    what_became_due_beside_what_is_taken_back_is_counted,
    a_vanished_worker_with_many_jobs_is_taken_apart_in_bounded_steps,
    crashes_add_up,
    a_crash_does_not_touch_the_attempts,
    a_claim_that_the_worker_never_heard_of_counts_a_crash_too,
    a_recovered_job_can_be_completed,
    a_job_one_crash_short_of_the_limit_is_given_only_to_who_runs_it_alone,
    a_job_one_crash_short_of_the_limit_is_given_alone,
    a_solo_claim_never_mixes_a_suspect_with_others,
    other_jobs_are_given_past_a_suspect,
    a_solo_claim_without_a_suspect_is_a_claim,
    a_crash_at_the_limit_while_alone_makes_a_dead_letter,
    a_suspect_that_is_released_is_still_a_suspect,
    a_suspect_that_completes_has_completed,
    a_suspect_that_is_retried_is_still_a_suspect,
    neighbours_of_a_job_that_kills_its_workers_are_not_dead_lettered,
    a_dead_letter_of_crashes_keeps_the_attempts_it_had,
    where_one_crash_is_allowed_no_more_every_job_runs_alone,
    a_replayed_dead_letter_of_crashes_begins_anew,
    a_job_that_should_be_cancelled_is_not_run_again_after_a_crash,
    a_cancelled_suspect_is_cancelled_and_not_dead,
}

async fn a_recovered_job_waits_and_counts_a_crash_and_no_attempt(kit: Kit) {
    let (_vanished, claimed) = kit.claimed().await;
    kit.lapse().await;
    let record = kit.record(claimed.spec.id).await;
    assert_eq!(record.state, JobState::Waiting);
    assert_eq!((record.attempts, record.crashes, record.finished_at), (0, 1, None));
    assert!(record.generation > claimed.generation);
    let again = kit.worker().claim_one().await;
    assert_eq!((again.attempts, again.crashes, again.solo), (0, 1, false));
}

async fn a_sweep_tells_what_it_took_back(kit: Kit) {
    let (_vanished, claimed) = kit.claimed().await;
    let recovered = kit.lapse().await.recovered;
    assert_eq!(recovered.len(), 1, "once: {recovered:?}");
    assert_eq!(recovered[0].spec, claimed.spec);
    assert_eq!((recovered[0].crashes, recovered[0].state), (1, JobState::Waiting));
}

async fn what_became_due_beside_what_is_taken_back_is_counted(kit: Kit) {
    // More than a store may let wait in one step, and that after the lease has passed.
    const JOBS: usize = 2500;
    let (_vanished, _claimed) = kit.claimed().await;
    kit.add_all((0..JOBS).map(|_| kit.after(7)).collect()).await;
    kit.pass(4).await;
    kit.sweep_now().await;
    kit.pass(5).await;
    let swept = kit.sweep_now().await;
    assert_eq!((swept.promoted, swept.recovered.len()), (JOBS, 1));
    assert_eq!(kit.count().await.waiting, u64::try_from(JOBS).unwrap_or(0) + 1);
}

async fn all_jobs_of_a_vanished_worker_are_taken_back(kit: Kit) {
    let jobs = kit.add_plain(7).await;
    let mut worker = kit.worker();
    worker.claim(5).await;
    let recovered = kit.lapse().await.recovered;
    assert_eq!(sorted(recovered.iter().map(|job| job.spec.id)), sorted(jobs[..5].to_vec()));
    let counts = kit.count().await;
    assert_eq!((counts.waiting, counts.active), (7, 0));
    let claimed = ids(&kit.worker().claim(7).await);
    assert_eq!(sorted(claimed[..5].to_vec()), sorted(jobs[..5].to_vec()), "they go first");
    assert_eq!(claimed[5..], jobs[5..]);
}

async fn a_vanished_worker_with_many_jobs_is_taken_apart_in_bounded_steps(kit: Kit) {
    let jobs = kit.add_plain(5000).await;
    assert_eq!(kit.worker().claim(5000).await.len(), 5000);
    let recovered = kit.lapse().await.recovered;
    assert_eq!(sorted(recovered.iter().map(|job| job.spec.id)), sorted(jobs));
    assert!(recovered.iter().all(|job| job.crashes == 1), "each counts one crash");
    assert_eq!(kit.count().await.waiting, 5000);
}

async fn crashes_add_up(kit: Kit) {
    let kit = kit.with(|settings| settings.max_crashes = 10).await;
    let job = kit.add(kit.new_job()).await;
    for crashes in 1..=5 {
        kit.crash(job, 1).await;
        assert_eq!(kit.record(job).await.crashes, crashes);
    }
}

async fn a_crash_does_not_touch_the_attempts(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
    kit.sweep_for(2).await;
    kit.crash(claimed.spec.id, 1).await;
    let again = worker.claim_one().await;
    assert_eq!((again.attempts, again.crashes), (1, 1));
    worker.settle(&again, Outcome::Retry(kit.units(60))).await;
    let record = kit.record(claimed.spec.id).await;
    assert_eq!((record.attempts, record.crashes), (2, 1));
}

async fn a_claim_that_the_worker_never_heard_of_counts_a_crash_too(kit: Kit) {
    let job = kit.add(kit.new_job()).await;
    let mut turn = kit.worker().turn();
    turn.claim = 1;
    // The answer is lost, and then the worker.
    kit.exchange(&turn).await.expect("the store exchanges");
    kit.lapse().await;
    let record = kit.record(job).await;
    assert_eq!((record.state, record.crashes), (JobState::Waiting, 1));
}

async fn a_recovered_job_can_be_completed(kit: Kit) {
    let job = kit.crashed(1).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Complete).await;
    let record = kit.record(job).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Completed, 1, 1));
}

async fn a_job_one_crash_short_of_the_limit_is_given_only_to_who_runs_it_alone(kit: Kit) {
    let suspect = kit.crashed(2).await;
    let mut worker = kit.worker();
    let mut turn = worker.turn();
    turn.claim = 5;
    let answer = worker.answer(turn).await;
    assert!(answer.claimed.is_empty());
    assert!(answer.solo_waiting);
    assert!(!answer.more, "there is no more for who does not run it alone");

    let answer = worker.claim_solo(5).await;
    assert_eq!(ids(&answer.claimed), [suspect]);
    assert!(answer.claimed[0].solo);
    assert_eq!(answer.claimed[0].crashes, 2);
    worker.settle(&answer.claimed[0], Outcome::Complete).await;
}

async fn a_job_one_crash_short_of_the_limit_is_given_alone(kit: Kit) {
    let suspect = kit.crashed(2).await;
    let others = kit.add_plain(3).await;
    let mut worker = kit.worker();
    let answer = worker.claim_solo(4).await;
    assert_eq!(ids(&answer.claimed), [suspect], "it is first, and has nothing beside it");
    worker.settle(&answer.claimed[0], Outcome::Complete).await;
    assert_eq!(ids(&worker.claim(4).await), others);
}

async fn a_solo_claim_never_mixes_a_suspect_with_others(kit: Kit) {
    let suspect = kit.crashed(2).await;
    for _ in 0..3 {
        let mut spec = kit.new_job();
        spec.priority = crate::Priority::High;
        kit.add(spec).await;
    }
    let mut given = Vec::new();
    let mut worker = kit.worker();
    while given.len() < 4 {
        let claimed = worker.claim_solo(10).await.claimed;
        assert!(!claimed.is_empty(), "something can be claimed");
        let has_suspect = claimed.iter().any(|job| job.spec.id == suspect);
        assert!(!has_suspect || claimed.len() == 1, "{:?}", ids(&claimed));
        assert!(claimed.iter().all(|job| job.solo == (job.spec.id == suspect)));
        let done = claimed
            .iter()
            .map(|job| Settlement::new(job.spec.id, job.generation, Outcome::Complete));
        given.extend(ids(&claimed));
        worker.settle_all(done.collect::<Vec<_>>()).await;
    }
    assert!(given.contains(&suspect));
}

async fn other_jobs_are_given_past_a_suspect(kit: Kit) {
    let suspect = kit.crashed(2).await;
    let others = kit.add_plain(3).await;
    let mut worker = kit.worker();
    assert_eq!(ids(&worker.claim(2).await), others[..2]);
    let mut turn = worker.turn();
    turn.claim = 5;
    let answer = worker.answer(turn).await;
    assert_eq!(ids(&answer.claimed), others[2..]);
    assert!(answer.solo_waiting);
    kit.assert_state(suspect, JobState::Waiting).await;
}

async fn a_solo_claim_without_a_suspect_is_a_claim(kit: Kit) {
    kit.add_plain(1).await;
    let answer = kit.worker().claim_solo(3).await;
    assert_eq!(answer.claimed.len(), 1);
    assert!(!answer.claimed[0].solo && !answer.solo_waiting);
}

async fn a_crash_at_the_limit_while_alone_makes_a_dead_letter(kit: Kit) {
    let suspect = kit.crashed(2).await;
    assert_eq!(ids(&kit.worker().claim_solo(1).await.claimed), [suspect]);
    let recovered = kit.lapse().await.recovered;
    assert_eq!(recovered.len(), 1);
    assert_eq!((recovered[0].crashes, recovered[0].state), (3, JobState::Dead));

    let record = kit.record(suspect).await;
    assert_eq!((record.state, record.crashes, record.attempts), (JobState::Dead, 3, 0));
    assert!(record.finished_at.is_some());
    let report = record.last_attempt.expect("a dead letter says why");
    let failure = report.failure.as_ref().expect("it says what failed");
    assert_eq!(failure.kind, FailureKind::Crash);
    assert!(!failure.chain.is_empty(), "it says so in words");
    assert_eq!(kit.count().await.dead, 1);
    assert!(kit.worker().claim_solo(1).await.claimed.is_empty());
}

async fn a_suspect_that_is_released_is_still_a_suspect(kit: Kit) {
    let suspect = kit.crashed(2).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_solo(1).await.claimed;
    worker.settle(&claimed[0], Outcome::Release(std::time::Duration::ZERO)).await;
    assert!(worker.claim(2).await.is_empty());
    let again = worker.claim_solo(1).await.claimed;
    assert_eq!(ids(&again), [suspect]);
    assert_eq!(again[0].crashes, 2);
}

async fn a_suspect_that_completes_has_completed(kit: Kit) {
    let suspect = kit.crashed(2).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_solo(1).await.claimed;
    worker.settle(&claimed[0], Outcome::Complete).await;
    let record = kit.record(suspect).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Completed, 1, 2));
    assert!(!worker.say_hello().await.solo_waiting);
}

async fn a_suspect_that_is_retried_is_still_a_suspect(kit: Kit) {
    let suspect = kit.crashed(2).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_solo(1).await.claimed;
    worker.settle(&claimed[0], Outcome::Retry(kit.units(1))).await;
    kit.sweep_for(2).await;
    assert!(worker.claim(2).await.is_empty());
    assert_eq!(ids(&worker.claim_solo(1).await.claimed), [suspect]);
}

async fn neighbours_of_a_job_that_kills_its_workers_are_not_dead_lettered(kit: Kit) {
    // The poison job and its neighbours are claimed together, and the worker dies, again and
    // again, until the suspects are run one by one.
    let jobs = kit.add_plain(4).await;
    let poison = jobs[1];
    for _ in 0..2 {
        assert_eq!(kit.worker().claim(4).await.len(), 4);
        kit.lapse().await;
    }
    for _ in 0..jobs.len() {
        let mut worker = kit.worker();
        assert!(worker.claim(4).await.is_empty(), "all of them are suspects");
        let claimed = worker.claim_solo(4).await.claimed;
        assert_eq!(claimed.len(), 1);
        if claimed[0].spec.id == poison {
            kit.lapse().await;
        } else {
            worker.settle(&claimed[0], Outcome::Complete).await;
        }
    }
    for job in jobs {
        let state = if job == poison { JobState::Dead } else { JobState::Completed };
        kit.assert_state(job, state).await;
    }
}

async fn a_dead_letter_of_crashes_keeps_the_attempts_it_had(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
    kit.sweep_for(2).await;
    kit.crash(claimed.spec.id, 2).await;
    kit.worker().claim_solo(1).await;
    kit.lapse().await;
    let record = kit.record(claimed.spec.id).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Dead, 1, 3));
}

async fn where_one_crash_is_allowed_no_more_every_job_runs_alone(kit: Kit) {
    let kit = kit.with(|settings| settings.max_crashes = 1).await;
    let jobs = kit.add_plain(2).await;
    let mut worker = kit.worker();
    assert!(worker.claim(2).await.is_empty());
    assert_eq!(ids(&worker.claim_solo(2).await.claimed), jobs[..1]);
    kit.lapse().await;
    kit.assert_state(jobs[0], JobState::Dead).await;
    kit.assert_state(jobs[1], JobState::Waiting).await;
}

async fn a_replayed_dead_letter_of_crashes_begins_anew(kit: Kit) {
    let suspect = kit.crashed(2).await;
    kit.worker().claim_solo(1).await;
    kit.lapse().await;
    let replayed = kit.replay(&kit.queue, suspect).await.expect("the store replays");
    assert_eq!(replayed, Operated::Done);
    let claimed = kit.worker().claim_one().await;
    assert_eq!((claimed.spec.id, claimed.crashes, claimed.solo), (suspect, 0, false));
}

async fn a_job_that_should_be_cancelled_is_not_run_again_after_a_crash(kit: Kit) {
    let (_vanished, claimed) = kit.claimed().await;
    let asked = kit.cancel_job(&kit.queue, claimed.spec.id).await.expect("the store cancels");
    assert_eq!(asked, CancelJob::Requested);
    let recovered = kit.lapse().await.recovered;
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].spec.id, claimed.spec.id);
    assert_eq!((recovered[0].crashes, recovered[0].state), (1, JobState::Cancelled));
    let record = kit.record(claimed.spec.id).await;
    assert_eq!((record.state, record.attempts, record.crashes), (JobState::Cancelled, 0, 1));
    assert!(record.finished_at.is_some());
    assert!(kit.worker().claim(1).await.is_empty());
}

async fn a_cancelled_suspect_is_cancelled_and_not_dead(kit: Kit) {
    let suspect = kit.crashed(2).await;
    kit.worker().claim_solo(1).await;
    kit.cancel_job(&kit.queue, suspect).await.expect("the store cancels");
    kit.lapse().await;
    let record = kit.record(suspect).await;
    assert_eq!((record.state, record.crashes), (JobState::Cancelled, 3));
}
