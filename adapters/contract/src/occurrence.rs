//! The jobs that schedules make: the same in every store, to the letter.

use crate::{JobId, JobSpec, Provenance, Schedule, ScheduledBy, Timestamp, Trigger};

impl Schedule {
    /// The job of an occurrence, as [`fire`](crate::JobAdapter::fire) makes it.
    pub fn occurring(&self, occurrence: Timestamp) -> JobSpec {
        let job = JobId::of_occurrence(&self.id, occurrence);
        let mut spec = self.job(job, occurrence);
        let provenance = spec.provenance_mut();
        let of_job = Provenance::of_occurrence(job);
        (provenance.actor, provenance.correlation_id) = (of_job.actor, of_job.correlation_id);
        spec
    }

    /// The job of a run by hand, as [`trigger`](crate::JobAdapter::trigger) makes it at `now`.
    pub fn triggered(&self, trigger: Trigger, now: Timestamp) -> JobSpec {
        let mut spec = self.job(trigger.job, now);
        if let Some(payload) = trigger.payload {
            spec.payload = payload;
        }
        spec.keep_result = Some(trigger.keep_result);
        let provenance = spec.provenance_mut();
        provenance.scope = provenance.scope.take().or(trigger.scope);
        provenance.actor = trigger.actor;
        provenance.correlation_id = trigger.correlation_id;
        provenance.traceparent = trigger.traceparent;
        spec
    }

    fn job(&self, job: JobId, occurrence: Timestamp) -> JobSpec {
        let template = &self.template;
        let mut spec = JobSpec::new(job, template.name.clone(), template.payload.clone());
        spec.priority = template.priority;
        spec.attempts = template.attempts;
        spec.timeout = template.timeout;
        spec.keep_result = template.keep_result;
        let provenance: &mut Provenance = spec.provenance_mut();
        provenance.scope.clone_from(&template.scope);
        provenance.schedule = Some(ScheduledBy { schedule: self.id.clone(), occurrence });
        spec
    }
}
