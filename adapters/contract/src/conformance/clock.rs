//! The store's clock may jump: nothing is lost by it, and nothing happens before its time.
//!
//! Only for stores whose clock a test can set.

use super::kit::ids;
use super::{Kit, case_list};
use crate::{Fired, Firing, JobState, Outcome};

case_list! {
    "clock", __conformance_clock:
    a_clock_set_forward_makes_delayed_jobs_due,
    a_clock_set_forward_takes_no_job_from_a_living_worker,
    a_clock_set_back_loses_no_job,
    a_clock_set_back_keeps_what_a_worker_holds,
    a_clock_set_back_makes_no_occurrence_due_again,
}

async fn a_clock_set_forward_makes_delayed_jobs_due(kit: Kit) {
    let job = kit.add(kit.after(1000)).await;
    if !kit.set_clock(kit.now().await + kit.units(1001)) {
        return;
    }
    assert_eq!(kit.sweep_now().await.promoted, 1);
    assert_eq!(ids(&kit.worker().claim(1).await), [job]);
}

async fn a_clock_set_forward_takes_no_job_from_a_living_worker(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    if !kit.set_clock(kit.now().await + kit.units(1000)) {
        return;
    }
    assert!(kit.sweep_now().await.recovered.is_empty(), "it is only suspected");
    worker.stay_alive().await;
    assert!(kit.sweep_for(2).await.recovered.is_empty());
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn a_clock_set_back_loses_no_job(kit: Kit) {
    let waiting = kit.add(kit.new_job()).await;
    let delayed = kit.add(kit.after(2)).await;
    let (_vanished, _claimed) = {
        let mut worker = kit.worker();
        let claimed = worker.claim_one().await;
        (worker, claimed)
    };
    let now = kit.now().await;
    if !kit.set_clock(now - kit.units(1000)) {
        return;
    }
    kit.sweep_for(10).await;
    kit.assert_state(delayed, JobState::Delayed).await;
    assert!(kit.set_clock(now));
    // The vanished worker's lease ends by the clock as it now is; then all of them can be claimed.
    kit.sweep_for(1020).await;
    let mut worker = kit.worker();
    let claimed = ids(&worker.claim(3).await);
    assert_eq!(super::kit::sorted(claimed), super::kit::sorted([waiting, delayed]));
}

async fn a_clock_set_back_keeps_what_a_worker_holds(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    if !kit.set_clock(kit.now().await - kit.units(1000)) {
        return;
    }
    for _ in 0..5 {
        assert!(kit.sweep_for(2).await.recovered.is_empty());
        worker.stay_alive().await;
    }
    worker.settle(&claimed, Outcome::Complete).await;
    kit.assert_state(claimed.spec.id, JobState::Completed).await;
}

async fn a_clock_set_back_makes_no_occurrence_due_again(kit: Kit) {
    let due = kit.now().await;
    kit.define(kit.every_minute("a"), Some(due)).await;
    let firing = Firing::new(&kit.only_schedule().await, due, Some(due + kit.units(60)));
    let first = kit.fire_one(firing.clone()).await;
    assert!(matches!(first, Fired::Job(_)));
    if !kit.set_clock(due - kit.units(10)) {
        return;
    }
    let again = kit.fire_one(firing).await;
    assert!(again == first || matches!(again, Fired::Early | Fired::Stale), "{again:?}");
    assert_eq!(kit.count().await.total(), 1);
    assert_eq!(kit.only_schedule().await.fired, 1);
}
