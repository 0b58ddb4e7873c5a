//! One queue: its jobs, and those who work on them. Its story is told in several files:
//! `exchange` (workers), `sweep` (time), `operate` and `inspect` (people), and here (those who
//! enqueue).

use std::collections::BTreeSet;
use std::sync::Arc;

use shiftwork_adapter::{Enqueued, JobSpec, QueueName, Result, StoreSettings, Timestamp};

use crate::capacity::Capacity;
use crate::incarnation::Incarnations;
use crate::jobs::Jobs;
use crate::runs::Run;
use crate::sweep::Horizon;

/// One queue. Whoever has it, has it alone.
pub(crate) struct Queue {
    pub(crate) name: QueueName,
    pub(crate) jobs: Jobs,
    pub(crate) incarnations: Incarnations,
    pub(crate) paused: bool,
    /// Somebody has done more than look.
    pub(crate) used: bool,
    pub(crate) horizon: Horizon,
    capacity: Arc<Capacity>,
}

impl Queue {
    pub(crate) fn new(name: QueueName, settings: &StoreSettings, capacity: Arc<Capacity>) -> Self {
        Self {
            name,
            jobs: Jobs::new(settings),
            incarnations: Incarnations::new(settings),
            paused: false,
            used: false,
            horizon: Horizon::default(),
            capacity,
        }
    }

    /// Adds jobs: all of them or, where there is no room, none.
    pub(crate) fn enqueue(
        &mut self,
        operation: &'static str,
        batch: Vec<Arc<JobSpec>>,
        now: Timestamp,
    ) -> Result<Vec<Enqueued>> {
        self.used = true;
        // What became due goes ahead of what comes now.
        self.jobs.promote(now, crate::STEP);
        let reserved = self.reserve(operation, &batch, now)?;
        let answers: Vec<_> =
            batch.into_iter().map(|spec| self.jobs.admit(spec, Run::NotLast, now)).collect();
        let stored = answers.iter().filter(|&&answer| answer == Enqueued::New).count();
        self.capacity.release(reserved - stored);
        Ok(answers)
    }

    /// Adds the job of a schedule's last run.
    pub(crate) fn enqueue_run(
        &mut self,
        operation: &'static str,
        spec: Arc<JobSpec>,
        now: Timestamp,
    ) -> Result<Enqueued> {
        self.used = true;
        self.jobs.promote(now, crate::STEP);
        let reserved = self.reserve(operation, std::slice::from_ref(&spec), now)?;
        let answer = self.jobs.admit(spec, Run::Last, now);
        self.capacity.release(reserved - usize::from(answer == Enqueued::New));
        Ok(answer)
    }

    /// Gives back the room of jobs that were forgotten.
    pub(crate) fn release_room(&mut self) {
        match self.jobs.take_freed() {
            0 => {}
            freed => self.capacity.release(freed),
        }
    }

    /// Takes room for the batch. Only where there is little left does it matter which of them
    /// are known already and need none.
    fn reserve(
        &self,
        operation: &'static str,
        batch: &[Arc<JobSpec>],
        now: Timestamp,
    ) -> Result<usize> {
        if self.capacity.reserve(batch.len()) {
            return Ok(batch.len());
        }
        let unknown: BTreeSet<_> = batch
            .iter()
            .map(|spec| spec.id)
            .filter(|&id| self.jobs.record(id, now).is_none())
            .collect();
        if self.capacity.reserve(unknown.len()) {
            Ok(unknown.len())
        } else {
            Err(self.capacity.exceeded(operation, &self.name, unknown.len()))
        }
    }
}
