//! Waiting jobs: a lane for each priority, and apart from them those that run alone.
//!
//! A lane is a tree from position to job. Positions rise at the back and fall at the front, so
//! that a job handed back goes ahead of all others, and a job that is cancelled while it waits is
//! taken out of the middle at once.

use std::collections::BTreeMap;

use shiftwork_adapter::{JobId, Priority};

/// The waiting jobs of a queue.
#[derive(Default)]
pub(crate) struct Waiting {
    lanes: [Lane; Priority::ALL.len()],
    /// Jobs one crash short of the limit: only a solo claim is given one.
    solo: [Lane; Priority::ALL.len()],
    front: i64,
    back: i64,
    arrivals: u64,
}

type Lane = BTreeMap<i64, JobId>;

impl Waiting {
    /// Lets a job wait behind all others of its priority; answers its position.
    pub(crate) fn push_back(&mut self, job: JobId, priority: Priority, solo: bool) -> i64 {
        let position = self.back;
        self.back += 1;
        self.arrivals += 1;
        self.lane(priority, solo).insert(position, job);
        position
    }

    /// Lets a job wait ahead of all others of its priority; answers its position.
    pub(crate) fn push_front(&mut self, job: JobId, priority: Priority, solo: bool) -> i64 {
        self.front -= 1;
        self.arrivals += 1;
        let position = self.front;
        self.lane(priority, solo).insert(position, job);
        position
    }

    /// The next job that may run beside others.
    pub(crate) fn pop(&mut self) -> Option<JobId> {
        pop(&mut self.lanes)
    }

    /// The next job that must run alone.
    pub(crate) fn pop_solo(&mut self) -> Option<JobId> {
        pop(&mut self.solo)
    }

    pub(crate) fn remove(&mut self, priority: Priority, solo: bool, position: i64) {
        self.lane(priority, solo).remove(&position);
    }

    /// Whether a job waits that may run beside others.
    pub(crate) fn any(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.is_empty())
    }

    /// Whether a job waits that must run alone.
    pub(crate) fn any_solo(&self) -> bool {
        self.solo.iter().any(|lane| !lane.is_empty())
    }

    /// Counts the jobs that ever came to wait: who has seen this many has seen them all.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Makes whoever has seen all look again.
    pub(crate) fn announce(&mut self) {
        self.arrivals += 1;
    }

    fn lane(&mut self, priority: Priority, solo: bool) -> &mut Lane {
        let lanes = if solo { &mut self.solo } else { &mut self.lanes };
        &mut lanes[priority as usize]
    }
}

fn pop(lanes: &mut [Lane]) -> Option<JobId> {
    lanes.iter_mut().find_map(|lane| lane.pop_first()).map(|(_, job)| job)
}
