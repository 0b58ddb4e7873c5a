//! Judges what is done with schedules: definitions, firings, runs by hand.

use std::sync::Arc;

use super::{Job, Model, Span, Verdict, ensure};
use crate::{
    Defined, Due, Fired, Firing, FiringOf, JobId, JobSpec, JobState, JobTemplate, LastRun, Overlap,
    Passed, Rewind, Schedule, ScheduleId, ScheduleRecord, ScheduledBy, Timestamp, Timing, Trigger,
    TriggerOverlap, Triggered,
};

impl Model {
    pub(in super::super) fn define(
        &mut self,
        schedule: Schedule,
        next: Option<Timestamp>,
        answer: Defined,
    ) -> Verdict {
        let id = schedule.id.clone();
        let expected = match self.schedules.get_mut(&id) {
            None => {
                // The store chooses the revision: it is learnt at the next look.
                self.schedules.insert(id, ScheduleRecord::new(schedule, 0, next));
                Defined::Created
            }
            Some(record) if *record.schedule == schedule => Defined::Unchanged,
            Some(record) => {
                (record.schedule, record.next, record.revision) = (schedule.into(), next, 0);
                record.passed = None;
                if record.is_exhausted() {
                    record.next = None;
                }
                Defined::Replaced
            }
        };
        ensure!(answer == expected, "{answer:?} instead of {expected:?}");
        Ok(())
    }

    pub(in super::super) fn cancel(&mut self, id: &ScheduleId, answer: bool) -> Verdict {
        let existed = self.schedules.remove(id).is_some();
        self.made_by.remove(id);
        ensure!(answer == existed, "schedule {id} existed: {existed}");
        Ok(())
    }

    pub(in super::super) fn halt(
        &mut self,
        id: &ScheduleId,
        paused: bool,
        next: Option<Timestamp>,
        answer: bool,
    ) -> Verdict {
        let record = self.schedules.get_mut(id).filter(|record| record.paused != paused);
        ensure!(answer == record.is_some(), "schedule {id} can be so changed: {}", !answer);
        if let Some(record) = record {
            record.paused = paused;
            if !paused {
                record.next = next.filter(|_| !record.is_exhausted());
            }
        }
        Ok(())
    }

    pub(in super::super) fn rewind(&mut self, rewind: &Rewind, answer: bool) -> Verdict {
        let record = self.schedules.get_mut(&rewind.schedule);
        let record = record.filter(|record| record.revision == rewind.revision);
        let Some((record, passed)) = record.and_then(|r| r.passed.map(|passed| (r, passed))) else {
            ensure!(!answer, "there is nothing to go back to");
            return Ok(());
        };
        let (from, to) = (Some(rewind.next), rewind.earlier);
        if (record.next, passed.resume) == (Some(to), from) {
            ensure!(answer, "it has gone back so");
            return Ok(());
        }
        let is_passed = passed.from <= to && to < passed.upto && to < rewind.next;
        let may = is_passed && passed.resume.is_none() && record.next == from;
        ensure!(answer == may, "it may go back: {may}");
        if may {
            record.next = Some(to);
            record.passed = Some(passed.resumed(from));
        }
        Ok(())
    }

    pub(in super::super) fn fire(&mut self, firing: &Firing, answer: Fired, when: Span) -> Verdict {
        let Some(record) = self.schedules.get(&firing.schedule) else {
            ensure!(answer == Fired::Stale, "there is no schedule: {answer:?}");
            return Ok(());
        };
        let of_queued = firing.of == FiringOf::Queued;
        let stored = if of_queued { record.queued } else { record.next };
        let as_read = record.revision == firing.revision && record.is_active();
        if !as_read || stored != Some(firing.occurrence) {
            return self.fire_again(record, firing, answer);
        }
        let running = self.running(record).is_some();
        if answer == Fired::Early {
            let waits = of_queued && running;
            ensure!(waits || firing.occurrence > when.from, "it was due at {}", firing.occurrence);
            return Ok(());
        }
        ensure!(firing.occurrence <= when.to, "not due before {}: {answer:?}", firing.occurrence);

        let record = record.clone();
        let is_queued = record.queued.is_some();
        let made = match (firing.run, record.schedule.overlap) {
            (None, _) => Fired::Missed,
            (Some(_), _) if of_queued && running => Fired::Early,
            (Some(_), Overlap::Skip) if running && !of_queued => Fired::Overlapped,
            (Some(_), Overlap::Queue) if is_queued && !of_queued => Fired::Overlapped,
            (Some(_), Overlap::Queue) if running && !of_queued => Fired::Queued,
            (Some(run), _) => Fired::Job(JobId::of_occurrence(&firing.schedule, run)),
        };
        ensure!(answer == made, "{answer:?} instead of {made:?}");
        if let (Fired::Job(job), Some(run)) = (made, firing.run) {
            self.run(&record.schedule, run, job, when)?;
        }
        let record = self.schedules.get_mut(&firing.schedule).ok_or("it was there")?;
        if of_queued {
            record.queued = None;
        } else {
            record.next = firing.next;
            let resume = record.passed.and_then(|passed| passed.resume);
            match resume {
                Some(resume) if record.next.is_none_or(|next| next >= resume) => {
                    record.passed = None;
                }
                None if firing.missed > 0 => {
                    let upto = firing.run.or(firing.next);
                    record.passed = upto.map(|upto| Passed::new(firing.occurrence, upto));
                }
                _ => {}
            }
        }
        record.missed += firing.missed;
        match (made, firing.run) {
            (Fired::Job(job), Some(run)) => {
                record.fired += 1;
                record.last = Some(LastRun::new(run, job));
                self.made_by.insert(firing.schedule.clone(), firing.clone());
            }
            (Fired::Queued, run) => record.queued = run,
            (Fired::Overlapped, _) => record.overlapped += 1,
            _ => {}
        }
        if record.is_exhausted() {
            record.next = None;
            record.overlapped += u64::from(record.queued.take().is_some());
        }
        let is_done = record.next.is_none() && record.queued.is_none();
        if is_done && matches!(record.schedule.timing, Timing::Once { .. }) {
            self.schedules.remove(&firing.schedule);
            self.made_by.remove(&firing.schedule);
        }
        Ok(())
    }

    /// The run of a schedule that is not settled.
    fn running(&self, record: &ScheduleRecord) -> Option<JobId> {
        let runs = record.last.iter().chain(&record.by_hand).map(|run| run.job);
        let is_pending = |job: &JobId| self.jobs.get(job).is_some_and(|j| !j.state.is_finished());
        runs.into_iter().find(is_pending)
    }

    /// A firing that finds the schedule changed or moved on makes nothing. The very one that made
    /// the last job is a resend. Another for the same occurrence cannot but look like one where a
    /// store remembers no more than the contract asks for.
    fn fire_again(&self, record: &ScheduleRecord, firing: &Firing, answer: Fired) -> Verdict {
        let last = record.last.filter(|last| Some(last.occurrence) == firing.run);
        let again = last.map(|last| Fired::Job(last.job));
        let as_read = record.revision == firing.revision && record.is_active();
        let resend = as_read && self.made_by.get(&firing.schedule) == Some(firing);
        let fits = again == Some(answer) || !resend && answer == Fired::Stale;
        ensure!(fits, "a firing that came late was answered {answer:?}; the last was {again:?}");
        Ok(())
    }

    fn run(&mut self, schedule: &Schedule, run: Timestamp, job: JobId, when: Span) -> Verdict {
        let new = self.ran.insert((schedule.id.clone(), run));
        ensure!(new, "occurrence {run} of {} made a second job", schedule.id);
        let mut spec = spec_of(&schedule.template, job);
        spec.provenance_mut().actor = Some("system".into());
        spec.provenance_mut().correlation_id = Some(job.to_string());
        self.add_of(schedule, spec, run, when);
        Ok(())
    }

    pub(in super::super) fn trigger(
        &mut self,
        trigger: &Trigger,
        answer: &Triggered,
        when: Span,
    ) -> Verdict {
        let Some(record) = self.schedules.get(&trigger.schedule) else {
            ensure!(*answer == Triggered::NoSuchSchedule, "there is no schedule: {answer:?}");
            return Ok(());
        };
        let schedule = record.schedule.clone();
        let is_resend = self.jobs.contains_key(&trigger.job)
            || record.by_hand.is_some_and(|run| run.job == trigger.job);
        let may_overlap =
            schedule.overlap == Overlap::Allow || trigger.overlap == TriggerOverlap::Allow;
        let expected = match self.running(record) {
            Some(run) if !may_overlap && !is_resend => Triggered::Overlapped(run),
            _ => Triggered::Enqueued(schedule.queue.clone()),
        };
        ensure!(*answer == expected, "{answer:?} instead of {expected:?}");
        if is_resend || matches!(answer, Triggered::Overlapped(_)) {
            return Ok(());
        }
        let run = Some(LastRun::new(when.from, trigger.job));
        self.schedules.get_mut(&trigger.schedule).ok_or("it was there")?.by_hand = run;
        let mut spec = spec_of(&schedule.template, trigger.job);
        spec.keep_result = Some(trigger.keep_result);
        spec.payload = trigger.payload.clone().unwrap_or(spec.payload);
        let provenance = spec.provenance_mut();
        provenance.actor.clone_from(&trigger.actor);
        provenance.correlation_id.clone_from(&trigger.correlation_id);
        provenance.traceparent.clone_from(&trigger.traceparent);
        self.add_of(&schedule, spec, when.from, when);
        self.known(trigger.job)?.by_hand = true;
        Ok(())
    }

    fn add_of(&mut self, schedule: &Schedule, mut spec: JobSpec, at: Timestamp, when: Span) {
        let by = ScheduledBy { schedule: schedule.id.clone(), occurrence: at };
        spec.provenance_mut().schedule = Some(by);
        self.add(Arc::new(spec), when);
    }

    /// Compares the schedules, and learns the revisions of those that were changed.
    pub(in super::super) fn look_at_schedules(&mut self, seen: &[ScheduleRecord]) -> Verdict {
        let ids = |ids: &mut dyn Iterator<Item = &ScheduleId>| ids.cloned().collect::<Vec<_>>();
        let expected = ids(&mut self.schedules.keys());
        let listed = ids(&mut seen.iter().map(|record| &record.schedule.id));
        ensure!(listed == expected, "schedules {listed:?} are listed, not {expected:?}");
        let jobs = &self.jobs;
        for (record, seen) in self.schedules.values_mut().zip(seen) {
            if record.revision == 0 {
                record.revision = seen.revision;
            }
            let runs = record.last.iter_mut().chain(&mut record.by_hand);
            for (run, seen) in runs.zip(seen.last.iter().chain(&seen.by_hand)) {
                learn_end(run, seen, jobs.get(&run.job))?;
            }
            ensure!(seen == record, "{seen:?} is listed, not {record:?}");
        }
        Ok(())
    }

    /// The schedules there are.
    pub(in super::super) fn scheduled(&self) -> Vec<ScheduleRecord> {
        self.schedules.values().cloned().collect()
    }
}

/// Learns how a run ended, as far as it is known, and when a run by hand was asked for.
fn learn_end(run: &mut LastRun, seen: &LastRun, job: Option<&Job>) -> Verdict {
    match job {
        Some(job) => run.state = Some(job.state),
        // It is not kept: how it ended was seen before, or may be one of these.
        None if run.state.is_none_or(|state| !state.is_finished()) => {
            let is_end = seen.state.is_none_or(JobState::is_finished);
            ensure!(is_end, "{} is gone, and told as {:?}", run.job, seen.state);
            run.state = seen.state;
        }
        None => {}
    }
    let ended = job.and_then(|job| job.finished);
    if let (Some(at), Some(ended)) = (seen.finished_at, ended) {
        ensure!(ended.from <= at && at <= ended.to, "{} ended at {ended:?}, not {at}", run.job);
    }
    run.finished_at = seen.finished_at;
    let apart = seen.occurrence.since(run.occurrence);
    if apart < std::time::Duration::from_secs(60) && run.job == seen.job {
        run.occurrence = seen.occurrence;
    }
    Ok(())
}

fn spec_of(template: &JobTemplate, job: JobId) -> JobSpec {
    let mut spec = JobSpec::new(job, template.name.clone(), template.payload.clone());
    spec.priority = template.priority;
    spec.attempts = template.attempts;
    spec.timeout = template.timeout;
    spec.keep_result = template.keep_result;
    spec.due = Due::Now;
    if template.scope.is_some() {
        spec.provenance_mut().scope.clone_from(&template.scope);
    }
    spec
}
