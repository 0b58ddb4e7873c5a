//! Which of two waiting jobs goes first, as far as the contract says so.

use super::{Model, Span};
use crate::{Priority, Timestamp};

/// Where a waiting job stands within its priority.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Handed back or recovered: ahead of what waits.
    front: bool,
    /// When it took its place: for a job that became due, between then and the step that let it
    /// wait.
    since: Span,
    /// In the order of the steps that let them wait, and within a batch in its order; jobs that
    /// one step let wait share it.
    arrival: u64,
    /// For jobs that became due: when.
    due: Option<Timestamp>,
}

impl Place {
    /// The same, for a job that was due at `due` and that the step let wait.
    pub(super) fn behind_due(mut self, due: Timestamp) -> Self {
        self.since.from = due;
        self.due = Some(due);
        self
    }

    pub(super) fn in_front(mut self) -> Self {
        self.front = true;
        self
    }
}

impl Model {
    /// Behind all that waits.
    pub(super) fn behind(&mut self, when: Span) -> Place {
        self.arrivals += 1;
        Place { front: false, since: when, arrival: self.arrivals, due: None }
    }
}

/// Whether the first of the two has to be claimed before the second.
pub(super) fn precedes(a: (Priority, Place), b: (Priority, Place)) -> bool {
    let ((a_priority, a), (b_priority, b)) = (a, b);
    if a_priority != b_priority {
        return a_priority < b_priority;
    }
    match (a.front, b.front) {
        (true, false) => true,
        (false, true) | (true, true) => false,
        (false, false) if a.arrival == b.arrival => a.due < b.due,
        (false, false) => a.since.to <= b.since.from && a.arrival < b.arrival,
    }
}
