//! The jobs of a queue, and the arrows between their states.
//!
//! ```text
//!                 admit
//!             ┌─────┴──────┐
//!             ▼            ▼
//!          delayed ───▶ waiting ◀──────────────┐
//!             ▲  promote   │ claim             │ replay
//!             │            ▼                   │
//!             └───────── active ──▶ completed, dead, cancelled ──▶ forgotten
//! ```
//!
//! Every arrow but those named is [`Jobs::change`]: it takes the job out of the place where it
//! is, puts it where it goes, and raises its generation.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use shiftwork_adapter::{
    Claimed, Counts, Enqueued, JobId, JobSpec, JobState, StoreSettings, Ticket, Timestamp,
};

use crate::delayed::Delayed;
use crate::finish::Awaited;
use crate::record::{Phase, Record};
use crate::retention::{Finished, Kept};
use crate::runs::{Run, Runs};
use crate::settle::{Change, To};
use crate::waiting::Waiting;

/// The jobs of a queue.
pub(crate) struct Jobs {
    records: BTreeMap<JobId, Record>,
    pub(crate) waiting: Waiting,
    pub(crate) delayed: Delayed,
    pub(crate) kept: Kept,
    pub(crate) awaited: Awaited,
    pub(crate) runs: Runs,
    counts: Counts,
    max_crashes: u32,
    freed: usize,
}

impl Jobs {
    pub(crate) fn new(settings: &StoreSettings) -> Self {
        Self {
            records: BTreeMap::new(),
            waiting: Waiting::default(),
            delayed: Delayed::default(),
            kept: Kept::new(settings),
            awaited: Awaited::default(),
            runs: Runs::default(),
            counts: Counts::default(),
            // The first crash is the earliest that can be the last.
            max_crashes: settings.max_crashes.max(1),
            freed: 0,
        }
    }

    /// A job that is still known.
    pub(crate) fn record(&self, job: JobId, now: Timestamp) -> Option<&Record> {
        self.records.get(&job).filter(|record| !is_expired(&self.kept, record, now))
    }

    /// The jobs after an id that are still known, ordered by id.
    pub(crate) fn records_after(
        &self,
        after: Option<JobId>,
        now: Timestamp,
    ) -> impl Iterator<Item = (JobId, Option<&Record>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.records.range((from, Bound::Unbounded)).map(move |(id, record)| {
            (*id, Some(record).filter(|r| !is_expired(&self.kept, r, now)))
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether there is a job that a claim beside others would be given. A due job that is not
    /// promoted yet is one of them: the next exchange promotes it.
    pub(crate) fn any_claimable(&self, now: Timestamp) -> bool {
        self.waiting.any() || self.delayed.first_due(now).is_some()
    }

    /// Rises whenever a job comes to wait.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.waiting.arrivals())
    }

    /// The crash that makes a job a dead letter.
    pub(crate) fn max_crashes(&self) -> u32 {
        self.max_crashes
    }

    /// How many jobs were forgotten since this was last asked.
    pub(crate) fn take_freed(&mut self) -> usize {
        std::mem::take(&mut self.freed)
    }

    /// Adds a job, unless one of its id is known; that is then the run. The caller has reserved room for
    /// it.
    pub(crate) fn admit(&mut self, spec: Arc<JobSpec>, run: Run, now: Timestamp) -> Enqueued {
        let id = spec.id;
        match self.records.entry(id) {
            Entry::Vacant(vacant) => {
                let due_at = spec.due.at(now);
                let phase = if due_at > now {
                    Phase::Delayed { order: self.delayed.push(id, due_at) }
                } else {
                    let solo = must_run_alone(0, self.max_crashes);
                    let position = self.waiting.push_back(id, spec.priority, solo);
                    Phase::Waiting { solo, position }
                };
                let record = vacant.insert(Record::new(spec, run, now, phase));
                *self.counts.of_mut(record.state()) += 1;
                Enqueued::New
            }
            Entry::Occupied(mut known) if !is_expired(&self.kept, known.get(), now) => {
                if run != Run::NotLast {
                    known.get_mut().run = run;
                }
                Enqueued::Existing
            }
            Entry::Occupied(_) => {
                self.forget(id);
                self.admit(spec, run, now)
            }
        }
    }

    /// An occurrence is queued behind a last run, if that goes on.
    pub(crate) fn follow_run(&mut self, job: JobId) {
        let record = self.records.get_mut(&job);
        if let Some(record) = record.filter(|record| !record.state().is_finished()) {
            record.run = Run::Followed;
        }
    }

    /// A job is the last run of its schedule no more. One that is known to have ended can end again only
    /// after a replay, which sees that it is not.
    pub(crate) fn forget_run(&mut self, job: JobId) {
        if !self.runs.forget(job)
            && let Some(record) = self.records.get_mut(&job)
        {
            record.run = Run::NotLast;
        }
    }

    /// Lets jobs wait that are due, at most `limit` of them; answers how many.
    ///
    /// Whoever lets a job wait calls this before, so that the two stand in the order in which
    /// they became due.
    pub(crate) fn promote(&mut self, now: Timestamp, limit: usize) -> usize {
        let mut promoted = 0;
        while promoted < limit
            && let Some(job) = self.delayed.first_due(now)
        {
            self.change(job, Change::to(To::Back), now);
            promoted += 1;
        }
        promoted
    }

    /// Puts a job that was taken out of its lane into somebody's hands.
    pub(crate) fn claim(&mut self, job: JobId, solo: bool) -> Option<Claimed> {
        let record = self.records.get_mut(&job)?;
        *self.counts.of_mut(record.state()) -= 1;
        record.phase = Phase::Active { cancel_requested: false };
        self.counts.active += 1;
        Some(record.to_claimed(solo))
    }

    /// A job that somebody holds, as it was given to them.
    pub(crate) fn claimed(&self, job: JobId, solo: bool) -> Option<Claimed> {
        self.records.get(&job).map(|record| record.to_claimed(solo))
    }

    /// Marks an active job as one that should not run again.
    pub(crate) fn request_cancel(&mut self, job: JobId) {
        if let Some(Record { phase: Phase::Active { cancel_requested }, .. }) =
            self.records.get_mut(&job)
        {
            *cancel_requested = true;
        }
    }

    /// Takes a job through a transition that was decided on.
    pub(crate) fn change(&mut self, job: JobId, change: Change, now: Timestamp) {
        self.change_with(job, now, |_| change);
    }

    /// Takes a job through the transition that `decide` decides on; answers the state it leads to.
    pub(crate) fn change_with(
        &mut self,
        job: JobId,
        now: Timestamp,
        decide: impl FnOnce(&Record) -> Change,
    ) -> Option<JobState> {
        let Entry::Occupied(mut entry) = self.records.entry(job) else { return None };
        let record = entry.get_mut();
        let change = decide(record);

        *self.counts.of_mut(record.state()) -= 1;
        match record.phase {
            Phase::Waiting { solo, position } => {
                self.waiting.remove(record.spec.priority, solo, position);
            }
            Phase::Delayed { order } => self.delayed.remove(record.due_at, order),
            Phase::Active { .. } => {}
            Phase::Finished { state, at } => self.kept.remove(finished(record, state, at)),
        }

        record.generation = record.generation.wrapping_add(1);
        record.attempts = record.attempts.saturating_add(change.attempts);
        record.crashes = record.crashes.saturating_add(change.crashes);
        if change.report.is_some() {
            record.last_attempt = change.report;
        }
        match change.to {
            To::BackDueNow => record.due_at = now,
            To::Later(due_at) => record.due_at = due_at,
            To::Front | To::Back | To::End(_) => {}
        }

        let solo = must_run_alone(record.crashes, self.max_crashes);
        let priority = record.spec.priority;
        record.phase = match change.to {
            To::Front => {
                Phase::Waiting { solo, position: self.waiting.push_front(job, priority, solo) }
            }
            To::Back | To::BackDueNow => {
                Phase::Waiting { solo, position: self.waiting.push_back(job, priority, solo) }
            }
            To::Later(due_at) => Phase::Delayed { order: self.delayed.push(job, due_at) },
            To::End(state) => {
                self.awaited.end(job);
                self.runs.end(job, &mut record.run, state, now);
                Phase::Finished { state, at: now }
            }
        };
        let state = record.state();
        if state.is_finished() && !self.kept.keep(finished(record, state, now)) {
            entry.remove();
            self.freed += 1;
            return Some(state);
        }
        *self.counts.of_mut(state) += 1;
        if state.is_finished()
            && let Some(oldest) = self.kept.overflow(state)
        {
            self.forget(oldest);
        }
        Some(state)
    }

    /// Lets a finished job begin anew.
    pub(crate) fn replay(&mut self, job: JobId, now: Timestamp) {
        // Reset before the change, which asks by the crashes where the job has to wait.
        if let Some(record) = self.records.get_mut(&job) {
            record.attempts = 0;
            record.crashes = 0;
            // What is known of its end is of a last run, and that has not ended any more.
            if !self.runs.forget(job) {
                record.run = Run::NotLast;
            }
        }
        self.change(job, Change::to(To::BackDueNow), now);
    }

    /// Forgets a finished job.
    pub(crate) fn forget(&mut self, job: JobId) {
        if let Entry::Occupied(entry) = self.records.entry(job)
            && let Phase::Finished { state, at } = entry.get().phase
        {
            self.kept.remove(finished(entry.get(), state, at));
            *self.counts.of_mut(state) -= 1;
            entry.remove();
            self.freed += 1;
        }
    }

    /// Forgets finished jobs that are past their age, at most `limit` of them; answers how many.
    pub(crate) fn trim(&mut self, now: Timestamp, limit: usize) -> usize {
        let mut trimmed = 0;
        while trimmed < limit
            && let Some(job) = self.kept.first_expired(now)
        {
            self.forget(job);
            trimmed += 1;
        }
        trimmed
    }
}

/// Whether the next crash would be the last.
fn must_run_alone(crashes: u32, max_crashes: u32) -> bool {
    crashes.saturating_add(1) >= max_crashes
}

fn is_expired(kept: &Kept, record: &Record, now: Timestamp) -> bool {
    match record.phase {
        Phase::Finished { state, at } => kept.expires_at(&finished(record, state, at)) <= now,
        _ => false,
    }
}

fn finished(record: &Record, state: JobState, at: Timestamp) -> Finished {
    let keep_result = record.spec.keep_result.filter(|age| !age.is_zero());
    Finished { job: record.spec.id, state, at, keep_result }
}

#[cfg(test)]
mod tests {
    use shiftwork_adapter::{JobName, Payload};

    use super::*;

    #[test]
    fn nothing_is_remembered_of_runs_but_how_the_last_of_each_schedule_ended() {
        let mut jobs = Jobs::new(&StoreSettings::default());
        let now = Timestamp::EPOCH;
        let name = JobName::new("nightly").expect("it is a name");
        let [first, second] = [1, 2].map(|number| JobId::by_hand([number; 16]));
        for job in [first, second] {
            jobs.admit(Arc::new(JobSpec::new(job, name.clone(), Payload::none())), Run::Last, now);
        }
        let end = |jobs: &mut Jobs, job| {
            jobs.change(job, Change::to(To::End(JobState::Dead)), now);
            (jobs.runs.end_of(first).is_some(), jobs.runs.end_of(second).is_some())
        };
        jobs.forget_run(first);
        assert_eq!(end(&mut jobs, first), (false, false), "there is another last run");
        assert_eq!(end(&mut jobs, second), (false, true));
        jobs.replay(second, now);
        assert_eq!(jobs.runs.end_of(second), None, "it has not ended any more");
        assert_eq!(end(&mut jobs, second), (false, true));
        jobs.forget_run(second);
        jobs.replay(second, now);
        assert_eq!(end(&mut jobs, second), (false, false), "its schedule is no more");
    }
}
