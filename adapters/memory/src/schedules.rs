//! Schedules as they are stored: defining, removing, listing, and the one step that moves one on.
//!
//! The store understands neither patterns nor calendars. A schedule's next occurrence changes in
//! four ways: somebody defines the schedule anew, or resumes it, or a firing names revision and
//! next occurrence as they are stored and the one after, or it is rewound to what was passed over.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use shiftwork_adapter::{
    Announcement, AppName, Defined, Fired, Firing, FiringOf, JobId, LastRun, Overlap, QueueName,
    Releases, Result, Rewind, Schedule, ScheduleId, ScheduleRecord, Ticket, Timestamp, Timing,
};
use tokio::sync::Notify;

use crate::releases::Announced;

/// The schedules behind their lock, and who waits for their changes.
#[derive(Default)]
pub(crate) struct SchedulesLock {
    schedules: Mutex<Schedules>,
    pub(crate) changed: Notify,
    /// How many runs have ended that an occurrence was queued behind.
    freed: AtomicU64,
}

/// All schedules.
#[derive(Default)]
pub(crate) struct Schedules {
    /// Boxed: a table has room for more than it holds.
    stored: HashMap<ScheduleId, Box<Stored>>,
    due: DueIndex,
    /// How many were ever made.
    made: u64,
    /// Those that have an occurrence queued.
    queued: BTreeSet<ScheduleId>,
    /// The highest revision of those removed. One that is defined again goes on from there, so
    /// that nobody takes it for the one they read.
    retired: u64,
    changes: u64,
    /// The processes that declare schedules.
    announced: Announced,
}

/// Of each queue, the active schedules by when their next occurrence is due, and where that is the
/// same by the order in which they were made.
#[derive(Default)]
struct DueIndex(BTreeMap<QueueName, BTreeMap<(Timestamp, u64), ScheduleId>>);

/// A schedule as it is stored.
pub(crate) struct Stored {
    pub(crate) record: ScheduleRecord,
    /// The place among all in which it was made.
    number: u64,
    /// The firing that made the last run's job: sent again, it is answered the same.
    made_by: Option<MadeBy>,
}

/// A firing that made a job, by a hash of what it said of its schedule: of two that differ, it is the
/// same as seldom as two random ids are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct MadeBy(NonZeroU64);

impl MadeBy {
    /// What a firing says are numbers that nobody chooses to harm: so they are only mixed well, each by
    /// a multiplication whose two halves are folded.
    fn of(firing: &Firing) -> Self {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        let Firing { of, revision, occurrence, run, missed, next, .. } = firing;
        // No instant is the least number there is.
        let instant =
            |at: Option<Timestamp>| at.map_or(i64::MIN, Timestamp::as_millis).cast_unsigned();
        let is_queued = u64::from(*of == FiringOf::Queued);
        let instants = [instant(Some(*occurrence)), instant(*run), instant(*next)];
        let said = [is_queued, *revision, *missed].into_iter().chain(instants);
        let mixed = said.fold(ODD, |mixed, number| {
            let wide = u128::from(mixed ^ number) * u128::from(ODD);
            // The sum keeps apart what is multiplied to zero.
            (wide as u64 ^ (wide >> 64) as u64).wrapping_add(mixed.rotate_left(23))
        });
        Self(NonZeroU64::new(mixed).unwrap_or(NonZeroU64::MAX))
    }
}

impl SchedulesLock {
    /// The schedules, also after a thread that had them panicked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Schedules> {
        self.schedules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one step, and wakes afterwards whoever waits for what it did.
    pub(crate) fn step<T>(&self, step: impl FnOnce(&mut Schedules) -> T) -> T {
        let mut schedules = self.lock();
        let before = schedules.changes;
        let answer = step(&mut schedules);
        let is_changed = schedules.changes != before;
        drop(schedules);
        if is_changed {
            self.changed.notify_waiters();
        }
        answer
    }

    /// Takes note that a run has ended that an occurrence was queued behind. Takes no lock: who
    /// tells has that of a queue, or had it.
    pub(crate) fn note_freed(&self) {
        self.freed.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Rises whenever a schedule may have something to fire earlier than was said. Asked before
    /// one looks.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.freed.load(Ordering::SeqCst) + self.lock().changes)
    }
}

impl Schedules {
    pub(crate) fn define(&mut self, schedule: Schedule, next: Option<Timestamp>) -> Defined {
        let mut schedule = schedule;
        // All of a queue share its name, which is compared whenever one fires.
        if let Some((queue, _)) = self.due.0.get_key_value(&schedule.queue) {
            schedule.queue = queue.clone();
        }
        let id = schedule.id.clone();
        let defined = match self.stored.entry(id.clone()) {
            Entry::Vacant(vacant) => {
                let record = ScheduleRecord::new(schedule, self.retired + 1, next);
                self.made += 1;
                vacant.insert(Box::new(Stored { record, number: self.made, made_by: None }));
                Defined::Created
            }
            Entry::Occupied(known) if *known.get().record.schedule == schedule => {
                return Defined::Unchanged;
            }
            Entry::Occupied(mut known) => {
                self.due.leave(known.get());
                let Stored { record, made_by, .. } = &mut **known.get_mut();
                if record.schedule.queue != schedule.queue {
                    // Jobs of the old queue are of no concern in the new one.
                    record.overlapped += u64::from(record.queued.take().is_some());
                    (record.last, record.by_hand, *made_by) = (None, None, None);
                    self.queued.remove(&id);
                }
                record.revision += 1;
                record.passed = None;
                record.schedule = schedule.into();
                record.next = next.filter(|_| !record.is_exhausted());
                Defined::Replaced
            }
        };
        self.due.enter(&self.stored[&id]);
        self.changes += 1;
        defined
    }

    pub(crate) fn remove(&mut self, schedule: &ScheduleId) -> Option<ScheduleRecord> {
        let stored = self.stored.remove(schedule)?;
        self.due.leave(&stored);
        self.queued.remove(schedule);
        self.retired = self.retired.max(stored.record.revision);
        Some(stored.record)
    }

    /// Pauses or resumes; answers whether it was otherwise.
    pub(crate) fn set_paused(
        &mut self,
        schedule: &ScheduleId,
        paused: bool,
        next: Option<Timestamp>,
    ) -> bool {
        let Some(stored) = self.stored.get_mut(schedule) else { return false };
        if stored.record.paused == paused {
            return false;
        }
        self.due.leave(stored);
        let record = &mut stored.record;
        record.paused = paused;
        if !paused {
            record.next = next.filter(|_| !record.is_exhausted());
        }
        self.due.enter(stored);
        self.changes += 1;
        true
    }

    /// Goes back to an occurrence that was passed over; answers whether it has.
    pub(crate) fn rewind(&mut self, rewind: &Rewind) -> bool {
        let Some(stored) = self.stored.get_mut(&rewind.schedule) else { return false };
        if !stored.record.may_rewind(rewind) {
            return stored.record.is_rewound(rewind);
        }
        self.due.leave(stored);
        let record = &mut stored.record;
        record.next = Some(rewind.earlier);
        record.passed = record.passed.map(|passed| passed.resumed(Some(rewind.next)));
        self.due.enter(stored);
        self.changes += 1;
        true
    }

    pub(crate) fn get(&self, schedule: &ScheduleId) -> Option<&Stored> {
        self.stored.get(schedule).map(Box::as_ref)
    }

    /// All of them, ordered by id.
    pub(crate) fn records(&self) -> Vec<ScheduleRecord> {
        let mut records: Vec<_> =
            self.stored.values().map(|stored| stored.record.clone()).collect();
        records.sort_unstable_by(|a, b| a.schedule.id.cmp(&b.schedule.id));
        records
    }

    /// The active ones that have an occurrence queued.
    pub(crate) fn queued(&self) -> impl Iterator<Item = &ScheduleRecord> {
        let records = self.queued.iter().filter_map(|id| Some(&self.stored.get(id)?.record));
        records.filter(|record| record.is_active())
    }

    /// Of each queue, the active schedules by when their next occurrence is due.
    pub(crate) fn by_due(
        &self,
    ) -> impl Iterator<Item = (&QueueName, impl Iterator<Item = (Timestamp, &ScheduleId)>)> {
        let queues = self.due.0.iter();
        queues.map(|(queue, due)| (queue, due.iter().map(|((at, _), id)| (*at, id))))
    }

    /// Takes note of a process that declares schedules.
    pub(crate) fn announce(&mut self, announced: Announcement, now: Timestamp) -> Releases {
        let (releases, is_changed) = self.announced.announce(announced, now);
        self.changes += u64::from(is_changed);
        releases
    }

    /// Takes note that it is gone.
    pub(crate) fn withdraw(&mut self, app: &AppName, process: &str) {
        self.changes += u64::from(self.announced.withdraw(app, process));
    }

    /// Takes note of a run by hand; answers the one before it.
    pub(crate) fn triggered(&mut self, schedule: &ScheduleId, run: LastRun) -> Option<LastRun> {
        let record = &mut self.stored.get_mut(schedule)?.record;
        record.by_hand.replace(run)
    }

    /// Fires an occurrence: where `decide` finds it due, its schedule moves on. Answers what became of
    /// it, and the runs that are the last of a schedule no more; `None`: it is not of this queue.
    pub(crate) fn fire(
        &mut self,
        firing: &Firing,
        decide: impl FnOnce(&Stored) -> Result<Verdict>,
    ) -> Result<Option<(Fired, [Option<JobId>; 3])>> {
        let mut gone = [None; 3];
        let Some(stored) = self.stored.get_mut(&firing.schedule) else {
            return Ok(Some((Fired::Stale, gone)));
        };
        let fired = match decide(stored)? {
            Verdict::Elsewhere => return Ok(None),
            Verdict::Refused(fired) => return Ok(Some((fired, gone))),
            Verdict::Decided(fired) => fired,
        };
        let before = stored.record.due();
        gone[0] = stored.move_on(firing, fired).filter(|&before| fired != Fired::Job(before));
        self.due.follow(stored, before);
        if stored.is_done() {
            let done = self.remove(&firing.schedule);
            let runs = done.map_or([None; 2], |done| [done.last, done.by_hand]);
            (gone[1], gone[2]) = (runs[0].map(|run| run.job), runs[1].map(|run| run.job));
        } else if stored.record.queued.is_some() {
            self.queued.insert(firing.schedule.clone());
        } else if !self.queued.is_empty() {
            self.queued.remove(&firing.schedule);
        }
        Ok(Some((fired, gone)))
    }
}

/// What is found of a firing.
pub(crate) enum Verdict {
    /// Its schedule is not of this queue.
    Elsewhere,
    /// It changes nothing.
    Refused(Fired),
    /// It was due, and this came of it.
    Decided(Fired),
}

impl DueIndex {
    /// Enters a schedule where it is looked for when it is due.
    fn enter(&mut self, stored: &Stored) {
        let record = &stored.record;
        if let Some(due) = record.due().filter(|_| record.is_active()) {
            let entry = ((due, stored.number), record.schedule.id.clone());
            match self.0.get_mut(&record.schedule.queue) {
                Some(queue) => drop(queue.insert(entry.0, entry.1)),
                None => drop(self.0.insert(record.schedule.queue.clone(), [entry].into())),
            }
        }
    }

    /// Enters one that has moved on from when it was due before.
    fn follow(&mut self, stored: &Stored, before: Option<Timestamp>) {
        let Stored { record, number, .. } = stored;
        let queue = self.0.get_mut(&record.schedule.queue);
        let is_empty = queue.zip(before).and_then(|(queue, before)| {
            let id = queue.remove(&(before, *number))?;
            match record.due() {
                Some(due) if record.is_active() => drop(queue.insert((due, *number), id)),
                _ => return Some(queue.is_empty()),
            }
            Some(false)
        });
        match is_empty {
            Some(true) => drop(self.0.remove(&record.schedule.queue)),
            Some(false) => {}
            None => self.enter(stored),
        }
    }

    /// Takes it out.
    fn leave(&mut self, stored: &Stored) {
        let Some(due) = stored.record.due() else { return };
        let name = &stored.record.schedule.queue;
        let Some(queue) = self.0.get_mut(name) else { return };
        queue.remove(&(due, stored.number));
        if queue.is_empty() {
            self.0.remove(name);
        }
    }
}

impl Stored {
    /// Moves on past the occurrence of a firing that was found to be due; answers the job of the run
    /// that was the last.
    fn move_on(&mut self, firing: &Firing, fired: Fired) -> Option<JobId> {
        let Self { record, made_by, .. } = self;
        record.missed = record.missed.saturating_add(firing.missed);
        record.passed = record.passed_after(firing);
        let mut before = None;
        match (fired, firing.run) {
            (Fired::Job(job), Some(run)) => {
                before = record.last.replace(LastRun::new(run, job)).map(|run| run.job);
                record.fired += 1;
                *made_by = Some(MadeBy::of(firing));
            }
            (Fired::Queued, Some(run)) => record.queued = Some(run),
            (Fired::Overlapped, _) => record.overlapped += 1,
            _ => {}
        }
        match firing.of {
            FiringOf::Queued => record.queued = None,
            _ => record.next = firing.next,
        }
        if record.is_exhausted() {
            record.next = None;
            record.overlapped += u64::from(record.queued.take().is_some());
        }
        before
    }

    /// Whether nothing is left of one that is due once.
    fn is_done(&self) -> bool {
        let is_over = self.record.next.is_none() && self.record.queued.is_none();
        is_over && matches!(self.record.schedule.timing, Timing::Once { .. })
    }

    /// What a firing is answered that changes nothing, going by what is stored and by the store's
    /// clock; `None`: it is due.
    pub(crate) fn refuse(&self, firing: &Firing, now: Timestamp) -> Option<Fired> {
        let record = &self.record;
        let stored = match firing.of {
            FiringOf::Queued => record.queued,
            _ => record.next,
        };
        let is_as_read = record.revision == firing.revision && stored == Some(firing.occurrence);
        if !is_as_read || !record.is_active() {
            let made = record.last.filter(|_| self.made_by == Some(MadeBy::of(firing)));
            return Some(made.map_or(Fired::Stale, |last| Fired::Job(last.job)));
        }
        match firing.until {
            _ if record.schedule.due(firing.occurrence) > now => Some(Fired::Early),
            Some(until) if until < now => Some(Fired::Stale),
            _ => None,
        }
    }
}

/// What becomes of an occurrence that is due. `running`: a run of its schedule is not settled.
pub(crate) fn decide(record: &ScheduleRecord, firing: &Firing, running: bool) -> Decision {
    let Some(run) = firing.run else { return Decision::Answer(Fired::Missed) };
    if firing.of == FiringOf::Queued {
        return if running { Decision::Answer(Fired::Early) } else { Decision::Run(run) };
    }
    // One that is queued goes first.
    let must_wait = running || record.queued.is_some();
    match record.schedule.overlap {
        Overlap::Skip if running => Decision::Answer(Fired::Overlapped),
        Overlap::Queue if must_wait && record.queued.is_some() => {
            Decision::Answer(Fired::Overlapped)
        }
        Overlap::Queue if must_wait => Decision::Answer(Fired::Queued),
        _ => Decision::Run(run),
    }
}

/// What a firing comes to that is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It makes no job now.
    Answer(Fired),
    /// It makes a job for this occurrence.
    Run(Timestamp),
}
