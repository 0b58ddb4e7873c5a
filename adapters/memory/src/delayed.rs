//! Delayed jobs, by due time; those due at one moment in the order in which they came.

use std::collections::BTreeMap;

use shiftwork_adapter::{JobId, Timestamp};

/// The delayed jobs of a queue.
#[derive(Default)]
pub(crate) struct Delayed {
    jobs: BTreeMap<(Timestamp, u64), JobId>,
    order: u64,
}

impl Delayed {
    /// Adds a job. The number answered is needed to take it out again.
    pub(crate) fn push(&mut self, job: JobId, due_at: Timestamp) -> u64 {
        self.order += 1;
        self.jobs.insert((due_at, self.order), job);
        self.order
    }

    pub(crate) fn remove(&mut self, due_at: Timestamp, order: u64) {
        self.jobs.remove(&(due_at, order));
    }

    /// The first job that is due. It stays until it is removed.
    pub(crate) fn first_due(&self, now: Timestamp) -> Option<JobId> {
        self.jobs.first_key_value().filter(|((due_at, _), _)| *due_at <= now).map(|(_, job)| *job)
    }

    /// When the first job is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.jobs.first_key_value().map(|((due_at, _), _)| *due_at)
    }
}
