//! A schedule that is made while the program runs.

use std::num::NonZeroU64;
use std::time::Duration;

use shiftwork_adapter::{
    JobTemplate, Misfire, Overlap, Schedule, ScheduleId, Scope, Timestamp, Timing,
};

use crate::NewJob;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::registry::Registry;

/// A schedule to be [added](crate::Jobs::schedule) while the program runs, or
/// [declared](crate::JobsBuilder::schedule) by its code: when to enqueue which job.
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
    starts: Option<Timestamp>,
    ends: Option<Timestamp>,
    limit: Option<NonZeroU64>,
    jitter: Option<Duration>,
    job: NewJob,
    overlap: Overlap,
    misfire: Misfire,
    misfire_within: Option<Duration>,
    enabled: bool,
}

impl NewSchedule {
    /// By a crontab(5) pattern, or six fields with seconds in front.
    pub fn cron(id: impl Into<String>, pattern: impl Into<String>, job: impl Into<NewJob>) -> Self {
        let timing = Timing::Cron { pattern: pattern.into(), timezone: String::new() };
        Self::new(id.into(), timing, job.into())
    }

    /// At every whole multiple of `period`, in whole milliseconds, since its
    /// [start](Self::starts), or since the Unix epoch where it has none.
    pub fn every(id: impl Into<String>, period: Duration, job: impl Into<NewJob>) -> Self {
        let period_ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
        Self::new(id.into(), Timing::Every { period_ms }, job.into())
    }

    /// Once, at an instant. Then the schedule removes itself.
    ///
    /// One that has run is not known any more, so defining it again with another instant lets it run
    /// again. Where a program does so at each start, it better
    /// [declares](crate::JobsBuilder::schedule) it: once its time has passed, that leaves it alone.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use shiftwork::prelude::*;
    /// # #[job]
    /// # async fn publish(post: u64) {}
    /// # async fn add(jobs: Jobs) -> shiftwork::Result<()> {
    /// let at = SystemTime::now() + hours(6);
    /// jobs.schedule(NewSchedule::once("publish-17", at, publish::job(17))).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn once(id: impl Into<String>, at: impl Into<Timestamp>, job: impl Into<NewJob>) -> Self {
        Self::new(id.into(), Timing::Once { at: at.into() }, job.into())
    }

    fn new(id: String, timing: Timing, job: NewJob) -> Self {
        Self {
            id,
            timing,
            timezone: None,
            starts: None,
            ends: None,
            limit: None,
            jitter: None,
            job,
            overlap: Overlap::default(),
            misfire: Misfire::default(),
            misfire_within: None,
            enabled: true,
        }
    }

    /// The IANA time zone of its cron pattern. Default: `JOBS_TIMEZONE`, which is UTC.
    pub fn timezone(mut self, zone: impl Into<String>) -> Self {
        self.timezone = Some(zone.into());
        self
    }

    /// No occurrence is before this instant, and an interval counts from it. Default: none is too
    /// early, and an interval counts from the Unix epoch.
    pub fn starts(mut self, instant: impl Into<Timestamp>) -> Self {
        self.starts = Some(instant.into());
        self
    }

    /// No occurrence is after this instant. Default: none is too late.
    pub fn ends(mut self, instant: impl Into<Timestamp>) -> Self {
        self.ends = Some(instant.into());
        self
    }

    /// How many occurrences make a job; then there is no other, and the schedule stays as it is
    /// until it is cancelled. Zero is one. Default: however many there are.
    pub fn limit(mut self, runs: u64) -> Self {
        self.limit = Some(NonZeroU64::new(runs).unwrap_or(NonZeroU64::MIN));
        self
    }

    /// Lets each occurrence be due so much later at most: by a hash of schedule and occurrence, so
    /// that it is the same for all who compute it. Less than two occurrences are apart. Default:
    /// each is due at its time.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = Some(jitter);
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

    /// How late an occurrence may be noticed and still make a job, under [`Misfire::Once`] and
    /// [`Misfire::All`]. Default: however late.
    pub fn misfire_within(mut self, window: Duration) -> Self {
        self.misfire_within = Some(window);
        self
    }

    /// Whether it fires. One that does not can be triggered by hand. Default: it does.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Its id, as it was given.
    pub(crate) fn id(&self) -> &str {
        &self.id
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
        let is_once = matches!(self.timing, Timing::Once { .. });
        let timing = match (self.timing, self.timezone) {
            (Timing::Cron { pattern, .. }, zone) => {
                let timezone = zone.unwrap_or_else(|| settings.timezone.clone());
                Timing::Cron { pattern, timezone }
            }
            (timing, None) => timing,
            (_, Some(zone)) => {
                let what = match is_once {
                    true => "due once",
                    false => "an interval",
                };
                return Err(Error::invalid(format!(
                    "schedule {id:?} is {what} and has a time zone, {zone:?}; only a cron pattern \
                     can have one"
                )));
            }
        };
        let mut schedule = Schedule::new(id, queue, timing, template);
        schedule.starts = self.starts;
        schedule.ends = self.ends;
        schedule.limit = self.limit;
        schedule.jitter = self.jitter.filter(|jitter| !jitter.is_zero());
        schedule.overlap = self.overlap;
        schedule.misfire = self.misfire;
        schedule.misfire_within = self.misfire_within;
        schedule.enabled = self.enabled;
        Ok(schedule)
    }
}
