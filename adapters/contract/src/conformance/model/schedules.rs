//! Judges what is done with schedules: definitions, firings, runs by hand.

use std::sync::Arc;

use super::{Job, Model, Span, Verdict, ensure};
use crate::{
    Defined, Due, Fired, Firing, JobId, JobSpec, JobTemplate, LastRun, Overlap, Schedule,
    ScheduleId, ScheduleRecord, ScheduledBy, Timestamp, Trigger, Triggered,
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
            Some(record) if record.schedule == schedule => Defined::Unchanged,
            Some(record) => {
                (record.schedule, record.next, record.revision) = (schedule, next, 0);
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

    pub(in super::super) fn fire(&mut self, firing: &Firing, answer: Fired, when: Span) -> Verdict {
        let Some(record) = self.schedules.get(&firing.schedule) else {
            ensure!(answer == Fired::Stale, "there is no schedule: {answer:?}");
            return Ok(());
        };
        let as_read = record.revision == firing.revision && record.schedule.enabled;
        if !as_read || record.next != Some(firing.occurrence) {
            return self.fire_again(record, firing, as_read, answer);
        }
        if answer == Fired::Early {
            ensure!(firing.occurrence > when.from, "it was due at {}", firing.occurrence);
            return Ok(());
        }
        ensure!(firing.occurrence <= when.to, "not due before {}: {answer:?}", firing.occurrence);

        let running = record.last.is_some_and(|last| {
            self.jobs.get(&last.job).is_some_and(|job| !job.state.is_finished())
        });
        let record = record.clone();
        let made = match firing.run {
            None => Fired::Missed,
            Some(_) if running && record.schedule.overlap == Overlap::Skip => Fired::Overlapped,
            Some(run) => Fired::Job(JobId::of_occurrence(&firing.schedule, run)),
        };
        ensure!(answer == made, "{answer:?} instead of {made:?}");
        if let (Fired::Job(job), Some(run)) = (made, firing.run) {
            self.run(&record.schedule, run, job, when)?;
        }
        let record = self.schedules.get_mut(&firing.schedule).ok_or("it was there")?;
        record.next = firing.next;
        record.missed += firing.missed;
        match (made, firing.run) {
            (Fired::Job(job), Some(run)) => {
                record.fired += 1;
                record.last = Some(LastRun::new(run, job));
                self.made_by.insert(firing.schedule.clone(), firing.clone());
            }
            (Fired::Overlapped, _) => record.overlapped += 1,
            _ => {}
        }
        Ok(())
    }

    /// A firing that finds the schedule changed or moved on makes nothing. The very one that made
    /// the last job is a resend. Another for the same occurrence cannot but look like one where a
    /// store remembers no more than the contract asks for.
    fn fire_again(
        &self,
        record: &ScheduleRecord,
        firing: &Firing,
        as_read: bool,
        answer: Fired,
    ) -> Verdict {
        let last = record.last.filter(|last| Some(last.occurrence) == firing.run);
        let again = last.map(|last| Fired::Job(last.job));
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
        let expected = Triggered::Enqueued(schedule.queue.clone());
        ensure!(*answer == expected, "{answer:?} instead of {expected:?}");
        if self.jobs.contains_key(&trigger.job) {
            return Ok(());
        }
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
            if let Some(last) = &mut record.last {
                last.state = jobs.get(&last.job).map(|job: &Job| job.state);
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
