//! Schedules as they are stored: defining, removing, listing, and the one step that moves one on.
//!
//! The store understands neither patterns nor calendars. A schedule's next occurrence changes in
//! two ways: somebody defines the schedule anew, or a firing names revision and next occurrence as
//! they are stored and the one after.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shiftwork_adapter::{
    Defined, Fired, Firing, LastRun, Schedule, ScheduleId, ScheduleRecord, Ticket, Timestamp,
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
    stored: BTreeMap<ScheduleId, Stored>,
    /// The highest revision of those removed. One that is defined again goes on from there, so
    /// that nobody takes it for the one they read.
    retired: u64,
    changes: u64,
}

/// A schedule as it is stored.
pub(crate) struct Stored {
    pub(crate) record: ScheduleRecord,
    /// The firing that made the last run's job: sent again, it is answered the same.
    made_by: Option<Firing>,
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
        let defined = match self.stored.entry(schedule.id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Stored::new(schedule, self.retired + 1, next));
                Defined::Created
            }
            Entry::Occupied(known) if known.get().record.schedule == schedule => Defined::Unchanged,
            Entry::Occupied(mut known) => {
                let record = &mut known.get_mut().record;
                record.revision += 1;
                if record.schedule.queue == schedule.queue {
                    record.schedule = schedule;
                    record.next = next;
                } else {
                    let revision = record.revision;
                    known.insert(Stored::new(schedule, revision, next));
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
        let Some(Stored { record, .. }) = self.stored.remove(schedule) else { return false };
        self.retired = self.retired.max(record.revision);
        self.changes += 1;
        true
    }

    pub(crate) fn get(&self, schedule: &ScheduleId) -> Option<&Stored> {
        self.stored.get(schedule)
    }

    /// All of them, ordered by id.
    pub(crate) fn records(&self) -> Vec<ScheduleRecord> {
        self.stored.values().map(|stored| stored.record.clone()).collect()
    }

    /// Rises with every change of a definition or a next occurrence.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.changes)
    }

    /// Moves a schedule on, past the occurrence of a firing that was found to be due. `last`:
    /// the job it made.
    pub(crate) fn move_on(&mut self, firing: &Firing, fired: Fired, last: Option<LastRun>) {
        let Some(stored) = self.stored.get_mut(&firing.schedule) else { return };
        let record = &mut stored.record;
        record.next = firing.next;
        record.missed = record.missed.saturating_add(firing.missed);
        if last.is_some() {
            record.last = last;
            record.fired += 1;
            stored.made_by = Some(firing.clone());
        } else if fired == Fired::Overlapped {
            record.overlapped += 1;
        }
        self.changes += 1;
    }
}

impl Stored {
    fn new(schedule: Schedule, revision: u64, next: Option<Timestamp>) -> Self {
        Self { record: ScheduleRecord::new(schedule, revision, next), made_by: None }
    }

    /// What a firing comes to, going by what is stored and by the store's clock.
    pub(crate) fn decide(&self, firing: &Firing, now: Timestamp) -> Decision {
        let record = &self.record;
        let is_as_read =
            record.revision == firing.revision && record.next == Some(firing.occurrence);
        if !is_as_read || !record.schedule.enabled {
            let made = record.last.filter(|_| self.made_by.as_ref() == Some(firing));
            return Decision::Answer(made.map_or(Fired::Stale, |last| Fired::Job(last.job)));
        }
        if firing.occurrence > now {
            return Decision::Answer(Fired::Early);
        }
        firing.run.map_or(Decision::Miss, Decision::Run)
    }
}
