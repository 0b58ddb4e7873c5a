//! What people do to a queue and its jobs: cancel, replay, discard, pause, resume.

use shiftwork_adapter::{CancelJob, JobId, JobState, Operated, Timestamp};

use crate::queue::Queue;
use crate::record::{Phase, Record};
use crate::settle::{Change, To};

impl Queue {
    /// Cancels a job here and now, or has its worker told.
    pub(crate) fn cancel_job(&mut self, job: JobId, now: Timestamp) -> CancelJob {
        let Some(record) = self.jobs.record(job, now) else { return CancelJob::NotFound };
        match record.phase {
            Phase::Waiting { .. } | Phase::Delayed { .. } => {
                self.jobs.change(job, Change::to(To::End(JobState::Cancelled)), now);
                CancelJob::Cancelled
            }
            Phase::Active { .. } => {
                self.jobs.request_cancel(job);
                self.incarnations.request_cancel(job);
                CancelJob::Requested
            }
            Phase::Finished { state, .. } => CancelJob::Finished(state),
        }
    }

    /// Lets a dead or cancelled job wait again.
    pub(crate) fn replay(&mut self, job: JobId, now: Timestamp) -> Operated {
        match self.jobs.record(job, now).map(Record::state) {
            None => Operated::NotFound,
            Some(JobState::Dead | JobState::Cancelled) => {
                self.jobs.promote(now, crate::STEP);
                self.jobs.replay(job, now);
                Operated::Done
            }
            Some(state) => Operated::Refused(state),
        }
    }

    /// Forgets a finished job.
    pub(crate) fn discard(&mut self, job: JobId, now: Timestamp) -> Operated {
        match self.jobs.record(job, now).map(Record::state) {
            None => Operated::NotFound,
            Some(state) if state.is_finished() => {
                self.jobs.forget(job);
                Operated::Done
            }
            Some(state) => Operated::Refused(state),
        }
    }

    /// Lets claims answer nothing; answers whether they did not already.
    pub(crate) fn pause(&mut self) -> bool {
        self.used = true;
        !std::mem::replace(&mut self.paused, true)
    }

    /// The end of a pause; answers whether there was one.
    pub(crate) fn resume(&mut self) -> bool {
        let was_paused = std::mem::replace(&mut self.paused, false);
        if was_paused {
            // Workers have seen these jobs come, and were given none.
            self.jobs.waiting.announce();
        }
        was_paused
    }
}
