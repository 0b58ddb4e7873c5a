//! Making jobs of schedules: when an occurrence is due, and by hand.
//!
//! The schedules stay locked while the job's queue is, in this order: so revision, occurrence, the
//! runs before and the new job are one step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{
    Defined, DueInQueue, DueSchedules, Effect, Enqueued, Fired, Firing, FiringOf, JobId, LastRun,
    Overlap, QueueName, Result, Schedule, ScheduleId, ScheduleRecord, Timestamp, Trigger,
    TriggerOverlap, Triggered,
};

use crate::queue::Queue;
use crate::schedules::{Decision, Schedules, Verdict, decide};
use crate::store::Store;

impl Store {
    /// What is due, or will be within `ahead`, up to `limit` of each queue.
    pub(crate) fn due(
        &self,
        queues: Option<&[QueueName]>,
        ahead: Duration,
        limit: usize,
    ) -> DueSchedules {
        let mut due = DueSchedules::new(self.schedules.ticket());
        let schedules = self.schedules.lock();
        let now = self.clock.now();
        let is_asked = |queue: &QueueName| queues.is_none_or(|queues| queues.contains(queue));
        let record = |id: &ScheduleId| schedules.get(id).map(|stored| stored.record.clone());
        let mut by_queue: BTreeMap<&QueueName, DueInQueue> = BTreeMap::new();
        for record in schedules.queued().filter(|record| is_asked(&record.schedule.queue)) {
            let name = &record.schedule.queue;
            let is_running = |queue: &mut Queue, now| running(queue, record, now).is_some();
            if !self.step(&self.queue(name), is_running) {
                let due = || DueInQueue::new(name.clone(), now, Vec::new(), None);
                by_queue.entry(name).or_insert_with(due).records.push(record.clone());
            }
        }
        for (name, set) in schedules.by_due().filter(|(name, _)| is_asked(name)) {
            let due = || DueInQueue::new(name.clone(), now, Vec::new(), None);
            let here = by_queue.entry(name).or_insert_with(due);
            // Those that have one queued are there already.
            let queued: BTreeSet<_> =
                here.records.iter().map(|record| record.schedule.id.clone()).collect();
            for (at, id) in set {
                if at > now + ahead {
                    here.next = Some(at);
                    break;
                }
                if here.records.len() == limit {
                    break;
                }
                if !queued.contains(id) {
                    here.records.extend(record(id));
                }
            }
        }
        due.queues = by_queue.into_values().collect();
        // To tell of very many has taken its time.
        let now = self.clock.now();
        due.queues.iter_mut().for_each(|here| here.now = here.now.max(now));
        due
    }

    /// Fires occurrences, those of a queue that follow each other in one step.
    pub(crate) fn fire(&self, batch: &[Firing]) -> Result<Vec<Fired>> {
        self.schedules.step(|schedules| {
            let mut answers = Vec::with_capacity(batch.len());
            while let Some(firing) = batch.get(answers.len()) {
                let Some(stored) = schedules.get(&firing.schedule) else {
                    answers.push(Fired::Stale);
                    continue;
                };
                let queue = self.queue(&stored.record.schedule.queue);
                self.step(&queue, |queue, now| {
                    for firing in &batch[answers.len()..] {
                        match fire_one(schedules, queue, firing, now) {
                            Ok(Some(fired)) => answers.push(fired),
                            Ok(None) => return Ok(()),
                            Err(error) if answers.is_empty() => return Err(error),
                            // Those before it were fired; sent again, they are known as resends.
                            Err(error) => return Err(error.with_effect(Effect::Unknown)),
                        }
                    }
                    Ok(())
                })?;
            }
            Ok(answers)
        })
    }

    /// Enqueues a schedule's job by hand.
    pub(crate) fn trigger(&self, trigger: Trigger) -> Result<Triggered> {
        self.schedules.step(|schedules| {
            let (id, job) = (trigger.schedule.clone(), trigger.job);
            let Some(stored) = schedules.get(&id) else { return Ok(Triggered::NoSuchSchedule) };
            let record = &stored.record;
            let name = record.schedule.queue.clone();
            if record.by_hand.is_some_and(|run| run.job == job) {
                return Ok(Triggered::Enqueued(name));
            }
            let may_overlap = trigger.overlap == TriggerOverlap::Allow
                || record.schedule.overlap == Overlap::Allow;
            let queue = self.queue(&name);
            let run = self.step(&queue, |queue, now| {
                if queue.jobs.record(job, now).is_some() {
                    return Ok(Err(Triggered::Enqueued(name.clone())));
                }
                if let Some(run) = running(queue, record, now).filter(|_| !may_overlap) {
                    return Ok(Err(Triggered::Overlapped(run)));
                }
                let spec = record.schedule.triggered(trigger, now);
                queue.enqueue_run("trigger", Arc::new(spec), now)?;
                if record.queued.is_some() {
                    queue.jobs.follow_run(job);
                }
                Ok(Ok(LastRun::new(now, job)))
            })?;
            match run {
                Err(answer) => Ok(answer),
                Ok(run) => {
                    if let Some(before) = schedules.triggered(&id, run) {
                        self.step(&queue, |queue, _| queue.jobs.forget_run(before.job));
                    }
                    Ok(Triggered::Enqueued(name))
                }
            }
        })
    }

    /// All schedules, each with what became of its last runs.
    pub(crate) fn scheduled_jobs(&self) -> shiftwork_adapter::Schedules {
        let ticket = self.schedules.ticket();
        let schedules = self.schedules.lock();
        let mut records = schedules.records();
        records.iter_mut().for_each(|record| self.learn_ends(record));
        shiftwork_adapter::Schedules::new(self.clock.now(), records, ticket)
    }

    /// One schedule, with what became of its last runs.
    pub(crate) fn scheduled_job(&self, schedule: &ScheduleId) -> Option<ScheduleRecord> {
        let schedules = self.schedules.lock();
        let mut record = schedules.get(schedule)?.record.clone();
        self.learn_ends(&mut record);
        Some(record)
    }

    /// Defines a schedule. Runs in a queue that it leaves are the last of it no more.
    pub(crate) fn define(&self, schedule: Schedule, next: Option<Timestamp>) -> Defined {
        self.schedules.step(|schedules| {
            let before = schedules.get(&schedule.id).map(|stored| &stored.record);
            let left = before.filter(|before| before.schedule.queue != schedule.queue).cloned();
            if let Some(left) = left {
                self.forget_runs(&left);
            }
            schedules.define(schedule, next)
        })
    }

    /// Removes a schedule; answers whether there was one.
    pub(crate) fn cancel_schedule(&self, schedule: &ScheduleId) -> bool {
        self.schedules.step(|schedules| {
            let Some(record) = schedules.remove(schedule) else { return false };
            self.forget_runs(&record);
            true
        })
    }

    fn forget_runs(&self, record: &ScheduleRecord) {
        let Some(queue) = self.known_queue(&record.schedule.queue) else { return };
        for run in record.last.iter().chain(&record.by_hand) {
            self.step(&queue, |queue, _| queue.jobs.forget_run(run.job));
        }
    }

    fn learn_ends(&self, record: &mut ScheduleRecord) {
        let Some(queue) = self.known_queue(&record.schedule.queue) else { return };
        self.step(&queue, |queue, now| {
            for run in record.last.iter_mut().chain(&mut record.by_hand) {
                let end = queue.jobs.runs.end_of(run.job);
                let job = queue.jobs.record(run.job, now);
                run.state = job.map(|job| job.state()).or(end.map(|(state, _)| state));
                let ended = end.filter(|(state, _)| run.state == Some(*state));
                run.finished_at = ended.map(|(_, at)| at);
            }
        });
    }
}

/// Fires an occurrence, if its schedule is of this queue.
fn fire_one(
    schedules: &mut Schedules,
    queue: &mut Queue,
    firing: &Firing,
    now: Timestamp,
) -> Result<Option<Fired>> {
    let fired = schedules.fire(firing, |stored| {
        let record = &stored.record;
        if record.schedule.queue != queue.name {
            return Ok(Verdict::Elsewhere);
        }
        if let Some(refused) = stored.refuse(firing, now) {
            return Ok(Verdict::Refused(refused));
        }
        let may_overlap = record.schedule.overlap == Overlap::Allow && firing.of == FiringOf::Next;
        let running = if may_overlap { None } else { running(queue, record, now) };
        match decide(record, firing, running.is_some()) {
            Decision::Answer(answer) => {
                if let Fired::Queued | Fired::Early = answer {
                    runs_of(record).for_each(|job| queue.jobs.follow_run(job));
                }
                Ok(match answer {
                    Fired::Early => Verdict::Refused(answer),
                    _ => Verdict::Decided(answer),
                })
            }
            Decision::Run(run) => {
                let make = || Arc::new(record.schedule.occurring(run));
                let spec = firing.job.clone().unwrap_or_else(make);
                let job = spec.id;
                // Where the job is known already, an earlier definition of the schedule has made it.
                let _: Enqueued = queue.enqueue_run("fire", spec, now)?;
                Ok(Verdict::Decided(Fired::Job(job)))
            }
        }
    })?;
    let Some((fired, gone)) = fired else { return Ok(None) };
    gone.into_iter().flatten().for_each(|run| queue.jobs.forget_run(run));
    Ok(Some(fired))
}

/// The run of a schedule that is not settled for good. A job that is no longer known is.
fn running(queue: &Queue, record: &ScheduleRecord, now: Timestamp) -> Option<JobId> {
    let is_pending =
        |job: JobId| queue.jobs.record(job, now).is_some_and(|job| !job.state().is_finished());
    runs_of(record).find(|&job| is_pending(job))
}

/// The last run of a schedule, and the last by hand.
fn runs_of(record: &ScheduleRecord) -> impl Iterator<Item = JobId> {
    record.last.iter().chain(&record.by_hand).map(|run| run.job)
}
