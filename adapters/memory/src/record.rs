//! What is stored of a job, in 64 bytes beside what was enqueued.

use std::sync::Arc;

use shiftwork_adapter::{
    AttemptReport, Claimed, JobRecord, JobSpec, JobState, QueueName, Timestamp,
};

use crate::runs::Run;

/// A job, as the store keeps it.
pub(crate) struct Record {
    pub(crate) spec: Arc<JobSpec>,
    /// Counts the transitions, the claim apart: after four billion of them from the start.
    pub(crate) generation: u32,
    pub(crate) attempts: u32,
    pub(crate) crashes: u32,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) due_at: Timestamp,
    pub(crate) last_attempt: Option<Arc<AttemptReport>>,
    pub(crate) phase: Phase,
    pub(crate) run: Run,
}

/// Where a job is in its life, and how it is found there.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// In a lane of its priority, at this position.
    Waiting { solo: bool, position: i64 },
    /// Among the delayed, under its due time and this number.
    Delayed { order: u64 },
    /// In an incarnation's hands.
    Active { cancel_requested: bool },
    /// On a shelf.
    Finished { state: JobState, at: Timestamp },
}

impl Record {
    /// A job that was accepted at `now` and goes to `phase`.
    pub(crate) fn new(spec: Arc<JobSpec>, run: Run, now: Timestamp, phase: Phase) -> Self {
        Self {
            due_at: spec.due.at(now),
            spec,
            generation: 0,
            attempts: 0,
            crashes: 0,
            enqueued_at: now,
            last_attempt: None,
            phase,
            run,
        }
    }

    pub(crate) fn state(&self) -> JobState {
        match self.phase {
            Phase::Waiting { .. } => JobState::Waiting,
            Phase::Delayed { .. } => JobState::Delayed,
            Phase::Active { .. } => JobState::Active,
            Phase::Finished { state, .. } => state,
        }
    }

    pub(crate) fn cancel_requested(&self) -> bool {
        matches!(self.phase, Phase::Active { cancel_requested: true })
    }

    /// The record as others see it.
    pub(crate) fn to_job_record(&self, queue: &QueueName) -> JobRecord {
        let mut record = JobRecord::new(queue.clone(), self.spec.clone(), self.enqueued_at);
        record.state = self.state();
        record.generation = self.generation.into();
        record.attempts = self.attempts;
        record.crashes = self.crashes;
        record.due_at = self.due_at;
        record.cancel_requested = self.cancel_requested();
        record.last_attempt.clone_from(&self.last_attempt);
        if let Phase::Finished { at, .. } = self.phase {
            record.finished_at = Some(at);
        }
        record
    }

    /// The record as a worker is given it.
    pub(crate) fn to_claimed(&self, solo: bool) -> Claimed {
        let mut claimed = Claimed::new(self.spec.clone(), self.generation.into(), self.enqueued_at);
        claimed.attempts = self.attempts;
        claimed.crashes = self.crashes;
        claimed.due_at = self.due_at;
        claimed.solo = solo;
        claimed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stays_small() {
        assert_eq!(size_of::<Record>(), 64);
    }
}
