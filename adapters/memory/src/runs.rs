//! The last runs of schedules: how each ended is known also where its job is not kept, and who
//! waits for that is told.
//!
//! Of a queue with no schedules, an end costs one look at an empty table.

use std::collections::HashMap;

use shiftwork_adapter::{JobId, JobState, Timestamp};

/// The runs of a queue that are the last of their schedules.
#[derive(Default)]
pub(crate) struct Runs {
    last: HashMap<JobId, Run>,
    freed: bool,
}

#[derive(Clone, Copy, Default)]
struct Run {
    end: Option<(JobState, Timestamp)>,
    /// Whether an occurrence is queued behind it.
    is_followed: bool,
}

impl Runs {
    /// A job is the last of its schedule from now on.
    pub(crate) fn begin(&mut self, job: JobId) {
        self.last.entry(job).or_default();
    }

    /// An occurrence is queued behind a job.
    pub(crate) fn follow(&mut self, job: JobId) {
        self.last.entry(job).or_default().is_followed = true;
    }

    /// A job is the last of its schedule no more.
    pub(crate) fn forget(&mut self, job: JobId) {
        self.last.remove(&job);
    }

    /// Takes note that a job ended.
    pub(crate) fn end(&mut self, job: JobId, state: JobState, at: Timestamp) {
        if let Some(run) = self.last.get_mut(&job) {
            run.end = Some((state, at));
            self.freed |= std::mem::take(&mut run.is_followed);
        }
    }

    /// How a job ended that is the last of its schedule.
    pub(crate) fn end_of(&self, job: JobId) -> Option<(JobState, Timestamp)> {
        self.last.get(&job)?.end
    }

    /// Whether a job has ended, since this was last asked, that an occurrence is queued behind.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }
}
