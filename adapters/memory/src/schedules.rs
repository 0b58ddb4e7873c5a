//! Schedules as they are stored: defining, removing, listing, and the one step that moves one on.
//!
//! The store understands neither patterns nor calendars. A schedule's next occurrence changes in
//! two ways: somebody defines the schedule anew, or a firing names revision and next occurrence as
//! they are stored and the one after.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shiftwork_adapter::{
    Defined, Fired, Firing, JobId, LastRun, Schedule, ScheduleId, ScheduleRecord, Ticket, Timestamp,
};
use tokio::sync::Notify;

/// The schedules behind their lock, and who waits for their changes.
#[derive(Default)]
pub(crate) struct SchedulesLock {
    schedules: Mutex<Schedules>,
    pub(crate) changed: Notify,
}

/// All schedules.
#[derive(Default)]
pub(crate) struct Schedules {
    records: BTreeMap<ScheduleId, ScheduleRecord>,
    /// The highest revision of those removed. One that is defined again goes on from there, so
    /// that nobody takes it for the one they read.
    retired: u64,
    changes: u64,
}

/// What a firing comes to, before its job is made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Changes nothing.
    Answer(Fired),
    /// All of it was noticed too late.
    Miss,
    /// Makes a job for this occurrence, unless the policy keeps it from overlapping another.
    Run(Timestamp),
}

impl SchedulesLock {
    /// The schedules, also after a thread that had them panicked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Schedules> {
        self.schedules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one step, and wakes afterwards whoever waits for what it did.
    pub(crate) fn step<T>(&self, step: impl FnOnce(&mut Schedules) -> T) -> T {
        let mut schedules = self.lock();
        let before = schedules.ticket();
        let answer = step(&mut schedules);
        let is_changed = schedules.ticket() != before;
        drop(schedules);
        if is_changed {
            self.changed.notify_waiters();
        }
        answer
    }
}

impl Schedules {
    pub(crate) fn define(&mut self, schedule: Schedule, next: Option<Timestamp>) -> Defined {
        let defined = match self.records.entry(schedule.id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(ScheduleRecord::new(schedule, self.retired + 1, next));
                Defined::Created
            }
            Entry::Occupied(known) if known.get().schedule == schedule => Defined::Unchanged,
            Entry::Occupied(mut known) => {
                let record = known.get_mut();
                let revision = record.revision + 1;
                if record.schedule.queue == schedule.queue {
                    record.schedule = schedule;
                    record.revision = revision;
                    record.next = next;
                } else {
                    *record = ScheduleRecord::new(schedule, revision, next);
                }
                Defined::Replaced
            }
        };
        if defined != Defined::Unchanged {
            self.changes += 1;
        }
        defined
    }

    pub(crate) fn remove(&mut self, schedule: &ScheduleId) -> bool {
        let Some(record) = self.records.remove(schedule) else { return false };
        self.retired = self.retired.max(record.revision);
        self.changes += 1;
        true
    }

    pub(crate) fn get(&self, schedule: &ScheduleId) -> Option<&ScheduleRecord> {
        self.records.get(schedule)
    }

    /// All of them, ordered by id.
    pub(crate) fn all(&self) -> Vec<ScheduleRecord> {
        self.records.values().cloned().collect()
    }

    /// Rises with every change of a definition or a next occurrence.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.changes)
    }

    /// Moves a schedule on, past the occurrence of a firing that was found to be due.
    pub(crate) fn move_on(&mut self, firing: &Firing, fired: Fired, last: Option<LastRun>) {
        let Some(record) = self.records.get_mut(&firing.schedule) else { return };
        record.next = firing.next;
        record.missed = record.missed.saturating_add(firing.missed);
        match fired {
            Fired::Job(_) => {
                record.fired += 1;
                record.last = last;
            }
            Fired::Overlapped => record.overlapped += 1,
            _ => {}
        }
        self.changes += 1;
    }
}

/// What a firing comes to, going by what is stored and by the store's clock.
pub(crate) fn decide(record: &ScheduleRecord, firing: &Firing, now: Timestamp) -> Decision {
    let is_as_read = record.revision == firing.revision && record.next == Some(firing.occurrence);
    if !is_as_read || !record.schedule.enabled {
        return Decision::Answer(made_before(record, firing).map_or(Fired::Stale, Fired::Job));
    }
    if firing.occurrence > now {
        return Decision::Answer(Fired::Early);
    }
    firing.run.map_or(Decision::Miss, Decision::Run)
}

/// The job that this very firing made, if the schedule has moved on past it since and made no
/// other.
fn made_before(record: &ScheduleRecord, firing: &Firing) -> Option<JobId> {
    let last = record.last.filter(|last| Some(last.occurrence) == firing.run)?;
    record.next.is_none_or(|next| next > firing.occurrence).then_some(last.job)
}
