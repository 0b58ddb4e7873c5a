//! A schedule that is made while the program runs.

use std::time::Duration;

use shiftwork_adapter::{JobTemplate, Misfire, Overlap, Schedule, ScheduleId, Scope, Timing};

use crate::NewJob;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::registry::Registry;

/// A schedule to be [added](crate::Jobs::schedule): when to enqueue which job.
///
/// ```
/// # use shiftwork::prelude::*;
/// # #[job]
/// # async fn digest(account: u64) {}
/// # async fn add(jobs: Jobs) -> shiftwork::Result<()> {
/// jobs.schedule(NewSchedule::cron("digest-17", "0 7 * * mon-fri", digest::job(17))).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a schedule does nothing until it is given to `Jobs::schedule`"]
pub struct NewSchedule {
    id: String,
    timing: Timing,
    timezone: Option<String>,
    job: NewJob,
    overlap: Overlap,
    misfire: Misfire,
    enabled: bool,
}

impl NewSchedule {
    /// By a crontab(5) pattern, or six fields with seconds in front.
    pub fn cron(id: impl Into<String>, pattern: impl Into<String>, job: impl Into<NewJob>) -> Self {
        let timing = Timing::Cron { pattern: pattern.into(), timezone: String::new() };
        Self::new(id.into(), timing, job.into())
    }

    /// At every whole multiple of `period`, in whole milliseconds, since the Unix epoch.
    pub fn every(id: impl Into<String>, period: Duration, job: impl Into<NewJob>) -> Self {
        let period_ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
        Self::new(id.into(), Timing::Every { period_ms }, job.into())
    }

    fn new(id: String, timing: Timing, job: NewJob) -> Self {
        let (overlap, misfire) = (Overlap::default(), Misfire::default());
        Self { id, timing, timezone: None, job, overlap, misfire, enabled: true }
    }

    /// The IANA time zone of its cron pattern. Default: `JOBS_TIMEZONE`, which is UTC.
    pub fn timezone(mut self, zone: impl Into<String>) -> Self {
        self.timezone = Some(zone.into());
        self
    }

    /// What happens to an occurrence that comes while the previous run is not yet settled.
    /// Default: it is skipped.
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// What happens to occurrences noticed more than a minute late. Default: the latest of them
    /// makes one job. [`Misfire::All`] belongs beside [`Overlap::Allow`].
    pub fn misfire(mut self, misfire: Misfire) -> Self {
        self.misfire = misfire;
        self
    }

    /// Whether it fires. One that does not can be triggered by hand. Default: it does.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    pub(crate) fn resolve(
        self,
        registry: &Registry,
        inherited: Option<Scope>,
        settings: &Settings,
    ) -> Result<Schedule> {
        let id = ScheduleId::new(&self.id).map_err(|fault| Error::invalid(fault.to_string()))?;
        if let Some(registered) = registry.get(self.job.name())
            && registered.definition.takes_payload
            && !self.job.has_payload()
        {
            return Err(Error::invalid(format!(
                "schedule {id:?}: the job {:?} needs a payload and was given none",
                self.job.name()
            )));
        }
        if let Some(own) = self.job.says_of_itself() {
            return Err(Error::invalid(format!(
                "schedule {id:?}: its job was given {own}; each job of a schedule has its own"
            )));
        }
        // The id is of no use: each occurrence has its own.
        let scope = self.job.own_scope();
        let (queue, spec) = self.job.resolve(registry, None, settings.max_payload, || {
            shiftwork_adapter::JobId::from_bytes([0; 16])
        })?;
        if spec.due != shiftwork_adapter::Due::Now {
            return Err(Error::invalid(format!(
                "schedule {id:?}: its job has a delay of its own; the schedule says when"
            )));
        }
        let mut template = JobTemplate::new(spec.name, spec.payload);
        template.priority = spec.priority;
        template.attempts = spec.attempts;
        template.timeout = spec.timeout;
        template.keep_result = spec.keep_result;
        template.scope = scope.or(inherited);
        let timing = match (self.timing, self.timezone) {
            (Timing::Cron { pattern, .. }, zone) => {
                let timezone = zone.unwrap_or_else(|| settings.timezone.clone());
                Timing::Cron { pattern, timezone }
            }
            (timing, None) => timing,
            (_, Some(zone)) => {
                return Err(Error::invalid(format!(
                    "schedule {id:?} is an interval and has a time zone, {zone:?}; only a cron \
                     pattern can have one"
                )));
            }
        };
        let mut schedule = Schedule::new(id, queue, timing, template);
        schedule.overlap = self.overlap;
        schedule.misfire = self.misfire;
        schedule.enabled = self.enabled;
        Ok(schedule)
    }
}
