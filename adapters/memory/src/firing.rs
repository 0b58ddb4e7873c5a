//! Making jobs of schedules: when an occurrence is due, and by hand.
//!
//! The schedules stay locked while the job's queue is, in this order: so revision, next
//! occurrence, the previous run's state and the new job are one step.

use std::sync::Arc;

use shiftwork_adapter::{
    Effect, Enqueued, Fired, Firing, LastRun, Overlap, Result, ScheduleRecord, Timestamp, Trigger,
    Triggered,
};

use crate::queue::Queue;
use crate::schedules::{Decision, Schedules};
use crate::store::Store;

impl Store {
    /// Fires occurrences, each in a step of its own.
    pub(crate) fn fire(&self, batch: &[Firing]) -> Result<Vec<Fired>> {
        let mut answers = Vec::with_capacity(batch.len());
        for firing in batch {
            match self.fire_one(firing) {
                Ok(fired) => answers.push(fired),
                Err(error) if answers.is_empty() => return Err(error),
                // The firings before it were applied; sent again, they are known as resends.
                Err(error) => return Err(error.with_effect(Effect::Unknown)),
            }
        }
        Ok(answers)
    }

    /// Enqueues a schedule's job by hand.
    pub(crate) fn trigger(&self, trigger: Trigger) -> Result<Triggered> {
        self.schedules.step(|schedules| {
            let Some(stored) = schedules.get(&trigger.schedule) else {
                return Ok(Triggered::NoSuchSchedule);
            };
            let schedule = &stored.record.schedule;
            let queue = self.queue(&schedule.queue);
            self.step(&queue, |queue, now| {
                let spec = schedule.triggered(trigger, now);
                queue.enqueue("trigger", vec![Arc::new(spec)], now)
            })?;
            Ok(Triggered::Enqueued(schedule.queue.clone()))
        })
    }

    /// All schedules, each with the state of its last run's job.
    pub(crate) fn scheduled_jobs(&self) -> shiftwork_adapter::Schedules {
        self.schedules.step(|schedules: &mut Schedules| {
            let mut records = schedules.records();
            for record in &mut records {
                if let Some(last) = &mut record.last
                    && let Some(queue) = self.known_queue(&record.schedule.queue)
                {
                    last.state = self.step(&queue, |queue, now| {
                        queue.jobs.record(last.job, now).map(|job| job.state())
                    });
                }
            }
            shiftwork_adapter::Schedules::new(self.clock.now(), records, schedules.ticket())
        })
    }

    fn fire_one(&self, firing: &Firing) -> Result<Fired> {
        self.schedules.step(|schedules| {
            let Some(stored) = schedules.get(&firing.schedule) else { return Ok(Fired::Stale) };
            let (fired, last) = match stored.decide(firing, self.clock.now()) {
                Decision::Answer(answer) => return Ok(answer),
                Decision::Miss => (Fired::Missed, None),
                Decision::Run(run) => match self.run(&stored.record, run)? {
                    Fired::Job(job) => (Fired::Job(job), Some(LastRun::new(run, job))),
                    other => (other, None),
                },
            };
            schedules.move_on(firing, fired, last);
            Ok(fired)
        })
    }

    fn run(&self, record: &ScheduleRecord, run: Timestamp) -> Result<Fired> {
        let schedule = &record.schedule;
        let spec = Arc::new(schedule.occurring(run));
        let job = spec.id;
        let queue = self.queue(&schedule.queue);
        self.step(&queue, |queue, now| {
            if schedule.overlap == Overlap::Skip && overlaps(queue, record, now) {
                return Ok(Fired::Overlapped);
            }
            // Where the job is known already, an earlier definition of the schedule has made it.
            let _: Vec<Enqueued> = queue.enqueue("fire", vec![spec], now)?;
            Ok(Fired::Job(job))
        })
    }
}

/// Whether the previous run is not settled for good. A job that is no longer known is.
fn overlaps(queue: &Queue, record: &ScheduleRecord, now: Timestamp) -> bool {
    let previous = record.last.and_then(|last| queue.jobs.record(last.job, now));
    previous.is_some_and(|job| !job.state().is_finished())
}
