//! Fires due schedules.
//!
//! 1. Read all schedules from the store, with the store's time.
//! 2. For each that is due, compute what to fire and what comes next: [`plan`], a pure function.
//! 3. Fire them: a compare-and-set in the store, so that any number of processes may do so. Each
//!    queue's by themselves: one whose part of the store is away holds up no other.
//! 4. Sleep until the next is due, by the difference to the store's time, or until schedules
//!    change.
//!
//! Before all that, the schedules of the code are reconciled, where `start` could not since the
//! store did not answer: nothing is fired that the code no longer declares.
//!
//! Definitions are read from the store, never from code: a process that ticks need not know the
//! jobs. A definition that this program cannot read is told once and left to others.

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{
    AdapterError, ErrorKind, Fired, Firing, JobAdapter, MISFIRE_ALL_BOUND, Misfire, QueueName,
    ScheduleId, ScheduleRecord, Schedules, Ticket, Timestamp, Wakeups, Watch,
};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::pulse::Pulse;
use super::{Engine, retry};
use crate::schedule::Occurrences;
use crate::schedule::code::reconcile;
use crate::shared::Shared;

/// An occurrence noticed later than this is a misfire.
pub(crate) const MISFIRE_AFTER: Duration = Duration::from_secs(60);

/// How often to look where the news of a change may be lost: seldom, since it is rare that one is,
/// and nothing but a schedule that somebody has just changed fires later for it.
const POLL: Duration = Duration::from_secs(30);

/// How soon to look again where that is to be at once, and yet not in a busy loop.
const MOMENT: Duration = Duration::from_millis(1);

/// How many occurrences are fired in one call.
const BATCH: usize = 100;

/// How many occurrences of one schedule are fired before all are read anew: who catches up on a
/// thousand need not read them a thousand times, and holds the others up no longer than this takes.
const IN_A_ROW: usize = 100;

/// Runs until the engine drains.
pub(crate) async fn run(engine: Arc<Engine>, pulse: Arc<Pulse>) {
    let adapter = &engine.shared.adapter;
    let mut read = HashMap::new();
    let mut failures = 0;
    while !engine.draining.is_cancelled() {
        match tick(&engine, &pulse, &mut read).await {
            Ok(Tick::Fired) => {
                failures = 0;
                engine.store.answered(pulse.what());
                pulse.round();
                tokio::task::yield_now().await;
            }
            Ok(Tick::Idle { next, ticket, failed }) => {
                let again = match failed {
                    None => {
                        failures = 0;
                        engine.store.answered(pulse.what());
                        None
                    }
                    Some(error) => {
                        failures += 1;
                        engine.store.failed(pulse.what(), &error, failures);
                        Some(retry::delay(failures, &engine.shared.random))
                    }
                };
                let look_anew = engine.shared.clock.longest_sleep();
                let certain = adapter.capabilities().wakeups == Wakeups::Certain;
                let asked = engine.shared.settings.store.idle_poll.unwrap_or_default();
                let poll = (!certain).then_some(POLL.max(asked));
                let next = next.map(|next| next.min(look_anew.unwrap_or(next)));
                let pause = next.into_iter().chain(poll).chain(again).min();
                let woken_or_due = async {
                    tokio::select! {
                        () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
                        woken = adapter.wait(Watch::Schedules(ticket)) => {
                            if woken.is_err() {
                                sleep(retry::delay(4, &engine.shared.random)).await;
                            }
                        }
                    }
                };
                pulse.answering(engine.unless_draining(woken_or_due)).await;
            }
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                failures += 1;
                engine.store.failed(pulse.what(), &error, failures);
                let pause = sleep(retry::delay(failures, &engine.shared.random));
                pulse.answering(engine.unless_draining(pause)).await;
            }
        }
    }
}

enum Tick {
    /// Something was due: look again at once.
    Fired,
    /// Nothing is due for so long; `None`: until schedules change. Of some queues that is not known,
    /// since they failed so.
    Idle { next: Option<Duration>, ticket: Ticket, failed: Option<AdapterError> },
}

async fn tick(engine: &Engine, pulse: &Pulse, read: &mut Read) -> shiftwork_adapter::Result<Tick> {
    if let Some(declared) = engine.unreconciled() {
        let Shared { adapter, settings, .. } = &*engine.shared;
        reconcile(&**adapter, settings, &declared).await?;
        engine.reconciled();
    }
    let Schedules { now, records, ticket, unread, .. } =
        engine.shared.adapter.scheduled_jobs().await?;
    let mut failed = unread.into_iter().next().map(|(_, error)| error);
    let mut due: BTreeMap<&QueueName, Vec<Firing>> = BTreeMap::new();
    let mut next: Option<Timestamp> = None;
    for record in &records {
        let Some(at) = record.next.filter(|_| record.schedule.enabled) else { continue };
        let Some(occurrences) = occurrences(record, read) else { continue };
        if at <= now {
            let firings = plan(record, at, now, occurrences);
            due.entry(&record.schedule.queue).or_default().extend(firings);
        } else {
            next = Some(next.map_or(at, |next| next.min(at)));
        }
    }
    if read.len() > 2 * records.len() + 16 {
        read.retain(|id, _| records.iter().any(|record| record.schedule.id == *id));
    }
    if due.is_empty() {
        return Ok(Tick::Idle { next: next.map(|next| next.since(now)), ticket, failed });
    }
    // Each queue's by themselves: what holds one up does not hold up the others.
    let mut firing = JoinSet::new();
    for due in due.into_values() {
        firing.spawn(fire(engine.shared.adapter.clone(), due));
    }
    let mut changed = false;
    while let Some(fired) = firing.join_next().await {
        match fired.unwrap_or_else(|_| Err(cut_off())) {
            Ok(some) => changed |= some,
            Err(error) => failed = Some(error),
        }
        pulse.round();
    }
    if changed && failed.is_none() {
        return Ok(Tick::Fired);
    }
    // The store's clock went backward between two answers; or one queue failed, and what comes next
    // in the others is not known before all are read again.
    let again = changed || failed.is_none();
    let next = if again { Some(MOMENT) } else { next.map(|next| next.since(now)) };
    Ok(Tick::Idle { next, ticket, failed })
}

fn cut_off() -> AdapterError {
    AdapterError::new(ErrorKind::Internal, "fire", "firing was cut off")
}

/// Fires what is due in a queue; answers whether anything is another by now.
async fn fire(adapter: Arc<dyn JobAdapter>, due: Vec<Firing>) -> shiftwork_adapter::Result<bool> {
    let mut changed = false;
    let mut early = None;
    for batch in due.chunks(BATCH) {
        let answers = adapter.fire(batch.to_vec()).await?;
        for (firing, fired) in batch.iter().zip(answers) {
            // What follows one that is early is stale, and no news.
            if fired == Fired::Early {
                early = Some(&firing.schedule);
            }
            changed |= early != Some(&firing.schedule);
            log(firing, fired);
        }
    }
    Ok(changed)
}

/// The definitions that were read, by id, each with the revision it was read of; `None` where it
/// could not be.
type Read = HashMap<ScheduleId, (u64, Option<Occurrences>)>;

fn occurrences<'a>(record: &ScheduleRecord, read: &'a mut Read) -> Option<&'a Occurrences> {
    let id = &record.schedule.id;
    if read.get(id).is_none_or(|(revision, _)| *revision != record.revision) {
        let parsed = Occurrences::parse(&record.schedule.timing).inspect_err(|fault| {
            error!(schedule = %id, %fault,
                "a stored schedule cannot be read by this program and is not fired by it");
        });
        read.insert(id.clone(), (record.revision, parsed.ok()));
    }
    read.get(id)?.1.as_ref()
}

/// What to fire, of a schedule whose next occurrence `at` is due at `now`: one firing after the
/// other, of which each finds the schedule as the one before it leaves it.
///
/// An occurrence noticed in time fires as it is. One noticed late is taken together with all that
/// are due: by the policy, the latest of them makes one job for all, or the latest make one each,
/// or none does; the others are counted as missed.
pub(crate) fn plan(
    record: &ScheduleRecord,
    at: Timestamp,
    now: Timestamp,
    occurrences: &Occurrences,
) -> Vec<Firing> {
    let plain = |at| Firing::new(record, at, occurrences.after(at));
    let late = now.since(at) > MISFIRE_AFTER;
    let first = if late { make_up(record, at, now, occurrences) } else { plain(at) };
    // Of what comes now, nothing is beyond a policy's bound: what was has been left out.
    let due = |firing: &Firing| firing.next.filter(|&next| next <= now);
    iter::successors(Some(first), |before| due(before).map(plain)).take(IN_A_ROW).collect()
}

/// The firing of an occurrence that was noticed late.
fn make_up(
    record: &ScheduleRecord,
    at: Timestamp,
    now: Timestamp,
    occurrences: &Occurrences,
) -> Firing {
    let policy = record.schedule.misfire;
    let most = if policy == Misfire::All { MISFIRE_ALL_BOUND } else { 1 };
    let (run, before) = occurrences.latest(at, now, most);
    let in_time = now.since(run) <= MISFIRE_AFTER;
    let mut firing = Firing::new(record, at, occurrences.after(run));
    firing.run = (in_time || matches!(policy, Misfire::Once | Misfire::All)).then_some(run);
    firing.missed = before + u64::from(firing.run.is_none());
    firing
}

fn log(firing: &Firing, fired: Fired) {
    let (schedule, occurrence) = (&firing.schedule, firing.occurrence);
    if firing.missed > 0 && matches!(fired, Fired::Job(_) | Fired::Missed | Fired::Overlapped) {
        warn!(%schedule, %occurrence, missed = firing.missed, "occurrences were noticed too late");
    }
    match fired {
        Fired::Job(job) => info!(%schedule, %occurrence, job.id = %job, "schedule fired"),
        Fired::Overlapped => {
            info!(%schedule, %occurrence, "skipped: the previous run is not settled");
        }
        _ => debug!(%schedule, %occurrence, ?fired, "not fired"),
    }
}

#[cfg(test)]
mod tests {
    use shiftwork_adapter::{JobName, JobTemplate, Payload, QueueName, Schedule, Timing};

    use super::*;

    const PERIOD: u64 = 10;

    fn at(second: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(second)
    }

    /// What is fired at `now`, in seconds, of a schedule of every ten that is at `next`.
    fn planned(misfire: Misfire, next: u64, now: u64) -> Vec<Firing> {
        planned_every(PERIOD, misfire, next, now)
    }

    fn planned_every(period: u64, misfire: Misfire, next: u64, now: u64) -> Vec<Firing> {
        let timing = Timing::Every { period_ms: period * 1000 };
        let occurrences = Occurrences::parse(&timing).unwrap();
        let template = JobTemplate::new(JobName::new("job").unwrap(), Payload::none());
        let (id, queue) = (ScheduleId::new("id").unwrap(), QueueName::new("queue").unwrap());
        let mut schedule = Schedule::new(id, queue, timing, template);
        schedule.misfire = misfire;
        let record = ScheduleRecord::new(schedule, 7, Some(at(next)));
        let plan = plan(&record, at(next), at(now), &occurrences);
        let follow = plan.windows(2).all(|pair| pair[0].next == Some(pair[1].occurrence));
        assert!(follow, "each finds what the one before leaves: {plan:?}");
        assert!(plan.iter().all(|firing| firing.revision == 7));
        assert_eq!(plan[0].occurrence, at(next));
        plan
    }

    fn runs(plan: &[Firing]) -> Vec<Option<Timestamp>> {
        plan.iter().map(|firing| firing.run).collect()
    }

    #[test]
    fn occurrences_noticed_in_time_fire_one_after_the_other_under_every_policy() {
        for misfire in [Misfire::Skip, Misfire::Once, Misfire::All] {
            let plan = planned(misfire, 100, 160);
            let expected: Vec<_> = (100..=160).step_by(10).map(|second| Some(at(second))).collect();
            assert_eq!(runs(&plan), expected);
            assert!(plan.iter().all(|firing| firing.missed == 0));
            assert_eq!(plan.last().unwrap().next, Some(at(170)));
        }
    }

    #[test]
    fn of_occurrences_noticed_late_the_latest_makes_a_job_for_all() {
        let plan = planned(Misfire::Once, 100, 505);
        assert_eq!(runs(&plan), [Some(at(500))]);
        assert_eq!((plan[0].missed, plan[0].next), (40, Some(at(510))));
    }

    #[test]
    fn occurrences_noticed_late_are_skipped_but_for_a_latest_that_is_in_time() {
        let plan = planned(Misfire::Skip, 100, 505);
        assert_eq!((runs(&plan), plan[0].missed), (vec![Some(at(500))], 40));
        let plan = planned_every(100, Misfire::Skip, 100, 390);
        assert_eq!((runs(&plan), plan[0].missed), (vec![None], 3));
        assert_eq!(plan[0].next, Some(at(400)));
    }

    #[test]
    fn under_all_each_occurrence_noticed_late_makes_a_job_of_its_own() {
        let plan = planned(Misfire::All, 100, 505);
        let expected: Vec<_> = (100..=500).step_by(10).map(|second| Some(at(second))).collect();
        assert_eq!(runs(&plan), expected);
        assert!(plan.iter().all(|firing| firing.missed == 0));
    }

    #[test]
    fn under_all_those_before_the_latest_thousand_are_missed() {
        // 1500 are due; the first that makes a job is number 501.
        let now = 100 + 1499 * PERIOD;
        let plan = planned(Misfire::All, 100, now);
        assert_eq!(plan.len(), IN_A_ROW);
        let first = at(100 + 500 * PERIOD);
        assert_eq!((plan[0].run, plan[0].missed), (Some(first), 500));
        assert!(plan[1..].iter().all(|firing| firing.missed == 0));
        assert_eq!(plan[1].run, Some(first + Duration::from_secs(PERIOD)));

        // Tick by tick, a thousand jobs in all, and then nothing is due.
        let (mut made, mut missed, mut next) = (0, 0, 100);
        while next <= now {
            let plan = planned(Misfire::All, next, now);
            made += plan.iter().filter(|firing| firing.run.is_some()).count();
            missed += plan.iter().map(|firing| firing.missed).sum::<u64>();
            next = plan.last().unwrap().next.unwrap().since(Timestamp::EPOCH).as_secs();
        }
        assert_eq!((made, missed), (MISFIRE_ALL_BOUND, 500));
    }
}
