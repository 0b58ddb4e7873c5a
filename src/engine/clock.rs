//! Fires due schedules.
//!
//! 1. Read all schedules from the store, with the store's time.
//! 2. For each that is due, compute what to fire and what comes next: [`plan`], a pure function.
//! 3. Fire them: a compare-and-set in the store, so that any number of processes may do so.
//! 4. Sleep until the next is due, by the difference to the store's time, or until schedules
//!    change.
//!
//! Definitions are read from the store, never from code: a process that ticks need not know the
//! jobs. A definition that this program cannot read is told once and left to others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{
    ErrorKind, Fired, Firing, Misfire, ScheduleId, ScheduleRecord, Schedules, Ticket, Timestamp,
    Wakeups, Watch,
};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::pulse::Pulse;
use super::{Engine, retry};
use crate::schedule::Occurrences;

/// An occurrence noticed later than this is a misfire.
pub(crate) const MISFIRE_AFTER: Duration = Duration::from_secs(60);

/// How often to look where the news of a change may be lost.
const POLL: Duration = Duration::from_secs(5);

/// How many schedules are fired in one call.
const BATCH: usize = 100;

/// Runs until the engine drains.
pub(crate) async fn run(engine: Arc<Engine>, pulse: Arc<Pulse>) {
    let adapter = &engine.shared.adapter;
    let mut read = HashMap::new();
    let mut failures = 0;
    while !engine.draining.is_cancelled() {
        match tick(&engine, &mut read).await {
            Ok(Tick::Fired) => {
                failures = 0;
                engine.store.answered(pulse.what());
                pulse.round();
                tokio::task::yield_now().await;
            }
            Ok(Tick::Idle { next, ticket }) => {
                failures = 0;
                engine.store.answered(pulse.what());
                let look_anew = engine.shared.clock.longest_sleep();
                let certain = adapter.capabilities().wakeups == Wakeups::Certain;
                let poll = (!certain).then_some(POLL);
                let next = next.map(|next| next.min(look_anew.unwrap_or(next)));
                let pause = next.into_iter().chain(poll).min();
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
    /// Nothing is due for so long; `None`: until schedules change.
    Idle { next: Option<Duration>, ticket: Ticket },
}

async fn tick(engine: &Engine, read: &mut Read) -> shiftwork_adapter::Result<Tick> {
    let Schedules { now, records, ticket, .. } = engine.shared.adapter.scheduled_jobs().await?;
    let mut due = Vec::new();
    let mut next: Option<Timestamp> = None;
    for record in &records {
        let Some(at) = record.next.filter(|_| record.schedule.enabled) else { continue };
        let Some(occurrences) = occurrences(record, read) else { continue };
        if at <= now {
            due.push(plan(record, at, now, occurrences));
        } else {
            next = Some(next.map_or(at, |next| next.min(at)));
        }
    }
    if read.len() > 2 * records.len() + 16 {
        read.retain(|id, _| records.iter().any(|record| record.schedule.id == *id));
    }
    if due.is_empty() {
        return Ok(Tick::Idle { next: next.map(|next| next.since(now)), ticket });
    }
    let mut changed = false;
    for batch in due.chunks(BATCH) {
        let answers = engine.shared.adapter.fire(batch.to_vec()).await?;
        for (firing, fired) in batch.iter().zip(answers) {
            changed |= !matches!(fired, Fired::Early);
            log(firing, fired);
        }
    }
    if changed {
        return Ok(Tick::Fired);
    }
    // The store's clock went backward between two answers.
    Ok(Tick::Idle { next: Some(Duration::from_millis(1)), ticket })
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

/// What to fire, of a schedule whose next occurrence `at` is due at `now`.
///
/// One noticed in time fires as it is; the next one, if it is due too, comes with the next tick.
/// One noticed late is taken together with all that are due: by the policy, the latest of them
/// makes one job or none, and the others are counted as missed.
pub(crate) fn plan(
    record: &ScheduleRecord,
    at: Timestamp,
    now: Timestamp,
    occurrences: &Occurrences,
) -> Firing {
    if now.since(at) <= MISFIRE_AFTER {
        return Firing::new(record, at, occurrences.after(at));
    }
    let (latest, others) = occurrences.latest(at, now);
    let mut firing = Firing::new(record, at, occurrences.after(latest));
    let in_time = now.since(latest) <= MISFIRE_AFTER;
    firing.run = (in_time || record.schedule.misfire == Misfire::Once).then_some(latest);
    firing.missed = others + u64::from(firing.run.is_none());
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
