//! How the last runs of schedules ended: it is known also where their jobs are not kept, and who waits
//! for that is told.
//!
//! A job's record says whether it is such a run; its end is noted here, and stays until the schedule
//! has another last run, or is gone.

use std::collections::HashMap;

use shiftwork_adapter::{JobId, JobState, Timestamp};

/// What a job is to its schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Run {
    /// None of its last runs, or it has no schedule.
    #[default]
    NotLast,
    /// Its last run, or the last by hand.
    Last,
    /// The same, and an occurrence is queued behind it.
    Followed,
}

/// The ends of last runs of a queue's schedules.
#[derive(Default)]
pub(crate) struct Runs {
    ended: HashMap<JobId, (JobState, Timestamp)>,
    freed: bool,
}

impl Runs {
    /// Takes note that a job ended. An occurrence that was queued behind it is not any more.
    pub(crate) fn end(&mut self, job: JobId, run: &mut Run, state: JobState, at: Timestamp) {
        if *run == Run::NotLast {
            return;
        }
        self.ended.insert(job, (state, at));
        self.freed |= *run == Run::Followed;
        *run = Run::Last;
    }

    /// How a job ended that is the last of its schedule.
    pub(crate) fn end_of(&self, job: JobId) -> Option<(JobState, Timestamp)> {
        self.ended.get(&job).copied()
    }

    /// Forgets how a job ended; answers whether that was known.
    pub(crate) fn forget(&mut self, job: JobId) -> bool {
        self.ended.remove(&job).is_some()
    }

    /// Whether a job has ended, since this was last asked, that an occurrence is queued behind.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }
}
