//! Who waits is woken; where a wake-up may be lost, whoever polls finds the work.

use std::time::Duration;

use super::kit::begin;
use super::{Kit, Worker, case_list};
use crate::{
    Capabilities, Due, Fired, Firing, JobId, Outcome, Overlap, Rewind, Ticket, Trigger,
    TriggerOverlap, Wakeups, Watch,
};

case_list! {
    "wakeups", __conformance_wakeups:
    waiting_with_an_old_ticket_returns_at_once,
    an_enqueued_job_wakes_a_worker,
    a_job_that_became_due_wakes_a_worker,
    a_released_job_wakes_a_worker,
    a_recovered_job_wakes_a_worker,
    a_replayed_job_wakes_a_worker,
    a_fired_schedule_wakes_a_worker,
    a_triggered_job_wakes_a_worker,
    a_resumed_queue_wakes_a_worker,
    a_job_enqueued_by_another_process_wakes_a_worker,
    every_one_of_many_jobs_finds_its_worker,
    a_batch_of_jobs_wakes_a_worker_for_each,
    jobs_that_become_due_at_once_wake_a_worker_for_each,
    a_worker_that_goes_away_takes_no_wakeup_with_it,
    waiting_again_after_a_dropped_wait_loses_nothing,
    a_ticket_seen_while_nothing_happened_is_good,
    an_earlier_delayed_job_wakes_the_sweeper,
    an_earlier_retry_wakes_the_sweeper,
    a_lease_that_begins_wakes_the_sweeper,
    a_new_schedule_wakes_the_clock,
    a_changed_schedule_wakes_the_clock,
    a_resumed_schedule_wakes_the_clock,
    a_schedule_that_goes_back_wakes_the_clock,
    the_end_of_a_run_that_one_is_queued_behind_wakes_the_clock,
    the_end_of_a_run_by_hand_that_began_after_one_was_queued_wakes_the_clock,
    the_end_of_the_second_of_two_runs_that_one_is_queued_behind_wakes_the_clock,
    a_sweep_tells_of_work,
}

async fn waiting_with_an_old_ticket_returns_at_once(kit: Kit) {
    let mut worker = kit.worker();
    let ticket = worker.say_hello().await.ticket;
    let job = kit.add(kit.new_job()).await;
    assert_wakes(&kit, kit.wait(Watch::Work(kit.queue.clone(), ticket))).await;
    assert_eq!(worker.claim_one().await.spec.id, job);
}

async fn an_enqueued_job_wakes_a_worker(kit: Kit) {
    assert_wakes_worker(&kit, async || {
        kit.add(kit.new_job()).await;
    })
    .await;
}

async fn a_job_that_became_due_wakes_a_worker(kit: Kit) {
    kit.add(kit.after(2)).await;
    assert_wakes_worker(&kit, async || {
        assert_eq!(kit.sweep_for(3).await.promoted, 1);
    })
    .await;
}

async fn a_released_job_wakes_a_worker(kit: Kit) {
    let (mut holder, claimed) = kit.claimed().await;
    assert_wakes_worker(&kit, async || {
        holder.settle(&claimed, Outcome::Release(std::time::Duration::ZERO)).await;
    })
    .await;
}

async fn a_recovered_job_wakes_a_worker(kit: Kit) {
    kit.claimed().await;
    assert_wakes_worker(&kit, async || {
        assert_eq!(kit.lapse().await.recovered.len(), 1);
    })
    .await;
}

async fn a_replayed_job_wakes_a_worker(kit: Kit) {
    let job = kit.settled(Outcome::Dead).await;
    assert_wakes_worker(&kit, async || {
        kit.replay(&kit.queue, job).await.expect("the store replays");
    })
    .await;
}

async fn a_fired_schedule_wakes_a_worker(kit: Kit) {
    kit.define(kit.every_minute("a"), Some(kit.now().await)).await;
    assert_wakes_worker(&kit, async || {
        kit.fire_due("a").await;
    })
    .await;
}

async fn a_triggered_job_wakes_a_worker(kit: Kit) {
    let schedule = kit.every_minute("a");
    kit.define(schedule.clone(), None).await;
    assert_wakes_worker(&kit, async || {
        let trigger = crate::Trigger::new(schedule.id.clone(), kit.by_hand_id(), kit.units(60));
        kit.trigger(trigger).await.expect("the store triggers");
    })
    .await;
}

async fn a_resumed_queue_wakes_a_worker(kit: Kit) {
    kit.pause(&kit.queue).await.expect("the store pauses");
    kit.add(kit.new_job()).await;
    assert_wakes_worker(&kit, async || {
        kit.resume(&kit.queue).await.expect("the store resumes");
    })
    .await;
}

async fn a_job_enqueued_by_another_process_wakes_a_worker(kit: Kit) {
    let another = kit.another().await;
    assert_wakes_worker(&kit, async || {
        let job = vec![kit.new_job()];
        another.enqueue(&kit.queue, job).await.expect("the store enqueues");
    })
    .await;
}

async fn every_one_of_many_jobs_finds_its_worker(kit: Kit) {
    assert_each_finds_its_worker(&kit, 20, async || {
        for _ in 0..20 {
            kit.add(kit.new_job()).await;
        }
    })
    .await;
}

async fn a_batch_of_jobs_wakes_a_worker_for_each(kit: Kit) {
    assert_each_finds_its_worker(&kit, 5, async || {
        kit.add_plain(5).await;
    })
    .await;
}

async fn jobs_that_become_due_at_once_wake_a_worker_for_each(kit: Kit) {
    kit.add_all((0..5).map(|_| kit.after(2)).collect()).await;
    assert_each_finds_its_worker(&kit, 5, async || {
        kit.sweep_for(3).await;
    })
    .await;
}

/// So many workers with nothing to do wait; `happens` brings as many jobs, and each gets one.
async fn assert_each_finds_its_worker(kit: &Kit, count: usize, happens: impl AsyncFnOnce()) {
    let mut workers: Vec<_> = (0..count).map(|_| kit.worker()).collect();
    let mut waiting: Vec<_> =
        workers.iter_mut().map(|worker| Box::pin(first_job(kit, worker))).collect();
    for worker in &mut waiting {
        assert!(begin(worker).await.is_none(), "there is nothing to do yet");
    }
    happens().await;
    let mut claimed = Vec::new();
    for worker in waiting {
        claimed.push(worker.await);
    }
    super::kit::assert_distinct(&claimed);
}

/// What a worker does that has nothing to do: claims, and waits until that can give a job.
async fn first_job(kit: &Kit, worker: &mut Worker) -> JobId {
    for _ in 0..super::kit::ENDLESS {
        let mut turn = worker.turn();
        turn.claim = 1;
        let answer = worker.answer(turn).await;
        if let Some(claimed) = answer.claimed.first() {
            return claimed.spec.id;
        }
        assert_wakes(kit, kit.wait(Watch::Work(kit.queue.clone(), answer.ticket))).await;
    }
    panic!("a worker is always woken and never given a job")
}

async fn a_worker_that_goes_away_takes_no_wakeup_with_it(kit: Kit) {
    // Whichever of the two is woken: it goes away before it knows.
    for goes in [0, 1] {
        let mut workers = [kit.worker(), kit.worker()];
        let mut waiting = Vec::new();
        for worker in &mut workers {
            let ticket = worker.say_hello().await.ticket;
            let watch = Watch::Work(kit.queue.clone(), ticket);
            waiting.push(Box::pin(assert_wakes(&kit, kit.wait(watch))));
        }
        for worker in &mut waiting {
            begin(worker).await;
        }
        let job = kit.add(kit.new_job()).await;
        drop(waiting.remove(goes));
        waiting.remove(0).await;
        let claimed = workers[1 - goes].claim_one().await;
        assert_eq!(claimed.spec.id, job);
        workers[1 - goes].settle(&claimed, Outcome::Complete).await;
    }
}

async fn waiting_again_after_a_dropped_wait_loses_nothing(kit: Kit) {
    let ticket = kit.worker().say_hello().await.ticket;
    let watch = Watch::Work(kit.queue.clone(), ticket);
    for _ in 0..3 {
        let mut waiting = Box::pin(kit.wait(watch.clone()));
        begin(&mut waiting).await;
    }
    let mut waiting = Box::pin(kit.wait(watch.clone()));
    begin(&mut waiting).await;
    kit.add(kit.new_job()).await;
    drop(waiting);
    assert_wakes(&kit, kit.wait(watch)).await;
    kit.worker().claim_one().await;
}

async fn a_ticket_seen_while_nothing_happened_is_good(kit: Kit) {
    let mut worker = kit.worker();
    // An answer that has seen the job does not make a wait for it return for ever: a worker that
    // claims nothing more would never rest. It may return early, but not always.
    kit.add(kit.new_job()).await;
    let claimed = worker.claim_one().await;
    let mut rests = false;
    for _ in 0..20 {
        let ticket = worker.say_hello().await.ticket;
        let wait = kit.wait(Watch::Work(kit.queue.clone(), ticket));
        rests |= tokio::time::timeout(kit.units(1), wait).await.is_err();
        if rests {
            break;
        }
    }
    assert!(rests, "with nothing to claim a wait waits");
    worker.settle(&claimed, Outcome::Complete).await;
}

async fn an_earlier_delayed_job_wakes_the_sweeper(kit: Kit) {
    kit.add(kit.after(500)).await;
    assert_wakes_sweeper(&kit, async || {
        kit.add(kit.after(2)).await;
    })
    .await;
    let mut spec = kit.new_job();
    spec.due = Due::At(kit.now().await + kit.units(1));
    assert_wakes_sweeper(&kit, async || {
        kit.add(spec.clone()).await;
    })
    .await;
}

async fn an_earlier_retry_wakes_the_sweeper(kit: Kit) {
    let (mut worker, claimed) = kit.claimed().await;
    assert_wakes_sweeper(&kit, async || {
        worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
    })
    .await;
}

async fn a_lease_that_begins_wakes_the_sweeper(kit: Kit) {
    kit.add(kit.new_job()).await;
    let mut worker = kit.worker();
    assert_wakes_sweeper(&kit, async || {
        worker.claim_one().await;
    })
    .await;
}

async fn a_new_schedule_wakes_the_clock(kit: Kit) {
    let next = kit.now().await;
    assert_wakes_clock(&kit, async || {
        kit.define(kit.every_minute("a"), Some(next)).await;
    })
    .await;
}

async fn a_changed_schedule_wakes_the_clock(kit: Kit) {
    let mut schedule = kit.every_minute("a");
    kit.define(schedule.clone(), None).await;
    schedule.misfire = crate::Misfire::Skip;
    let next = kit.now().await;
    assert_wakes_clock(&kit, async || {
        kit.define(schedule.clone(), Some(next)).await;
    })
    .await;
}

async fn a_resumed_schedule_wakes_the_clock(kit: Kit) {
    let schedule = kit.every_minute("a");
    kit.define(schedule.clone(), None).await;
    kit.pause_schedule(&schedule.id).await.expect("the store pauses");
    let next = kit.now().await;
    assert_wakes_clock(&kit, async || {
        kit.resume_schedule(&schedule.id, Some(next)).await.expect("the store resumes");
    })
    .await;
}

async fn a_schedule_that_goes_back_wakes_the_clock(kit: Kit) {
    let due = kit.now().await;
    kit.define(kit.every_minute("a"), Some(due)).await;
    let mut firing = Firing::new(&kit.only_schedule().await, due, Some(due + kit.units(600)));
    (firing.run, firing.missed) = (None, 2);
    kit.fire_one(firing).await;
    let record = kit.only_schedule().await;
    let rewind = Rewind::new(&record, due).expect("it has a next one");
    assert_wakes_clock(&kit, async || {
        assert!(kit.rewind(rewind.clone()).await.expect("the store answers"));
    })
    .await;
}

async fn the_end_of_a_run_that_one_is_queued_behind_wakes_the_clock(kit: Kit) {
    a_schedule_that_queues(&kit).await;
    kit.fire_due("a").await;
    kit.pass(1).await;
    queue_one(&kit).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    assert_wakes_clock(&kit, async || {
        worker.settle(&claimed, Outcome::Complete).await;
    })
    .await;
}

async fn the_end_of_a_run_by_hand_that_began_after_one_was_queued_wakes_the_clock(kit: Kit) {
    a_schedule_that_queues(&kit).await;
    trigger_forced(&kit).await;
    queue_one(&kit).await;
    trigger_forced(&kit).await;
    assert_second_end_wakes_clock(&kit).await;
}

async fn the_end_of_the_second_of_two_runs_that_one_is_queued_behind_wakes_the_clock(kit: Kit) {
    a_schedule_that_queues(&kit).await;
    kit.fire_due("a").await;
    trigger_forced(&kit).await;
    kit.pass(1).await;
    queue_one(&kit).await;
    assert_second_end_wakes_clock(&kit).await;
}

/// Two runs wait; the one is completed, then the other, and that wakes the clock.
async fn assert_second_end_wakes_clock(kit: &Kit) {
    let mut worker = kit.worker();
    let claimed = worker.claim(2).await;
    worker.settle(&claimed[0], Outcome::Complete).await;
    assert_wakes_clock(kit, async || {
        worker.settle(&claimed[1], Outcome::Complete).await;
    })
    .await;
}

/// Defines `a`, which queues one occurrence and is due.
async fn a_schedule_that_queues(kit: &Kit) {
    let mut schedule = kit.every_minute("a");
    schedule.overlap = Overlap::Queue;
    kit.define(schedule, Some(kit.now().await)).await;
}

/// Runs `a` by hand, beside whatever runs.
async fn trigger_forced(kit: &Kit) {
    let mut trigger = Trigger::new(super::schedules::id("a"), kit.by_hand_id(), kit.units(60));
    trigger.overlap = TriggerOverlap::Allow;
    kit.trigger(trigger).await.expect("the store triggers");
}

/// Fires the next occurrence of `a`, of which a run is not settled. The one after is a long way off.
async fn queue_one(kit: &Kit) {
    let record = kit.only_schedule().await;
    let occurrence = record.next.expect("there is a next one");
    let later = Some(kit.now().await + kit.units(600));
    let fired = kit.fire_one(Firing::new(&record, occurrence, later)).await;
    assert_eq!(fired, Fired::Queued);
}

async fn a_sweep_tells_of_work(kit: Kit) {
    let answer = kit.sweep(&kit.queue).await.expect("the store sweeps");
    assert!(!answer.claimable);
    kit.add(kit.new_job()).await;
    let answer = kit.sweep(&kit.queue).await.expect("the store sweeps");
    assert!(answer.claimable);
    let claimed = kit.worker().claim_one().await;
    assert_eq!(claimed.attempts, 0);
    let answer = kit.sweep(&kit.queue).await.expect("the store sweeps");
    assert!(!answer.claimable, "the only job is claimed");
}

/// A worker with nothing to claim sleeps, `happens` brings it a job, it is woken and claims it.
async fn assert_wakes_worker(kit: &Kit, happens: impl AsyncFnOnce()) {
    let mut worker = kit.worker();
    let mut turn = worker.turn();
    turn.claim = 1;
    let answer = worker.answer(turn).await;
    assert!(answer.claimed.is_empty(), "there is nothing to claim yet");
    let wait = kit.wait(Watch::Work(kit.queue.clone(), answer.ticket));
    assert_wakes_after(kit, wait, happens).await;
    worker.claim_one().await;
}

async fn assert_wakes_sweeper(kit: &Kit, happens: impl AsyncFnOnce()) {
    kit.sweep_now().await;
    let seen = kit.sweep(&kit.queue).await.expect("the store sweeps");
    let wait = kit.wait(Watch::Sweep(kit.queue.clone(), seen.ticket));
    assert_wakes_after(kit, wait, happens).await;
    let next = kit.sweep(&kit.queue).await.expect("the store sweeps").next;
    assert!(next.is_some_and(|next| next <= kit.units(4)), "{next:?}");
}

async fn assert_wakes_clock(kit: &Kit, happens: impl AsyncFnOnce()) {
    let seen = kit.due(None, Duration::ZERO, 10).await.expect("the store looks");
    assert_wakes_after(kit, kit.wait(Watch::Schedules(seen.ticket)), happens).await;
    let now = kit.due(None, Duration::ZERO, 10).await.expect("the store looks");
    let old: Ticket = seen.ticket;
    assert_ne!(now.ticket, old, "a look at the change has seen it");
    assert!(now.queues.iter().any(|due| !due.records.is_empty()), "something is due");
}

/// `wait` is under way when `happens` happens, and returns in time.
pub(super) async fn assert_wakes_after(
    kit: &Kit,
    wait: impl Future<Output = crate::Result<()>>,
    happens: impl AsyncFnOnce(),
) {
    let mut wait = Box::pin(wait);
    if let Some(early) = begin(&mut wait).await {
        // It may return too early: then it is for the caller to look again.
        early.expect("the store waits");
        return happens().await;
    }
    happens().await;
    assert_wakes(kit, wait).await;
}

/// `wait` returns in time; a wake-up that may be lost may be lost.
async fn assert_wakes(kit: &Kit, wait: impl Future<Output = crate::Result<()>>) {
    let Capabilities { wakeups, .. } = kit.capabilities();
    match kit.in_time(wait).await {
        Some(woken) => woken.expect("the store waits"),
        None => assert_ne!(wakeups, Wakeups::Certain, "a wake-up was lost"),
    }
}
