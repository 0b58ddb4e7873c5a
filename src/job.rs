//! What a job is to the application: a payload, a handler, and how it wants to be run.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shiftwork_adapter::{Misfire, Overlap, Payload, Priority};

use crate::context::{FromContext, Needs};
use crate::handler::Handler;
use crate::{IntoJobResult, NewJob};

/// The queue of jobs that name none.
pub const DEFAULT_QUEUE: &str = "default";

/// A payload that knows its handler.
///
/// With `#[job]` on the impl it registers itself, and the rest is filled in:
///
/// ```
/// use shiftwork::prelude::*;
///
/// #[derive(Serialize, Deserialize)]
/// struct WelcomeEmail {
///     user_id: u64,
/// }
///
/// #[job(queue = "notifications", attempts = 5)]
/// impl Job for WelcomeEmail {
///     async fn run(self, ctx: JobContext) -> Result<(), JobError> {
///         println!("attempt {} for user {}", ctx.attempt(), self.user_id);
///         Ok(())
///     }
/// }
///
/// # async fn enqueue(jobs: Jobs) -> shiftwork::Result<()> {
/// jobs.enqueue(WelcomeEmail { user_id: 7 }).await?;
/// jobs.enqueue(WelcomeEmail { user_id: 8 }.job().delay(minutes(5))).await?;
/// # Ok(())
/// # }
/// ```
///
/// By hand, it is registered with
/// [`JobsBuilder::register`](crate::JobsBuilder::register)`(JobDefinition::of::<WelcomeEmail>())`:
///
/// ```
/// # use shiftwork::prelude::*;
/// # #[derive(Serialize, Deserialize)]
/// # struct WelcomeEmail { user_id: u64 }
/// impl Job for WelcomeEmail {
///     const NAME: &'static str = "welcome_email";
///     type Args = JobContext;
///     type Output = Result<(), JobError>;
///
///     async fn run(self, ctx: JobContext) -> Self::Output {
///         Ok(())
///     }
/// }
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// Which handler: unique in a system, and the same for as long as such jobs are stored.
    const NAME: &'static str;
    /// What the handler takes beside the payload: a [`State`](crate::State), the
    /// [`JobContext`](crate::JobContext), or a tuple of such.
    type Args: FromContext;
    /// What it returns.
    type Output: IntoJobResult;

    /// Does the work.
    fn run(self, args: Self::Args) -> impl Future<Output = Self::Output> + Send;

    /// The payload as it may be logged; by default, not at all.
    fn redacted(&self) -> Option<String> {
        None
    }

    /// How it wants to be run; by default, as the environment says.
    #[must_use]
    fn configure(definition: JobDefinition) -> JobDefinition {
        definition
    }

    /// The job to be enqueued, to say how: when, where, how urgent.
    fn job(self) -> NewJob {
        self.into()
    }
}

/// A handler with its name and how it wants to be run.
///
/// `#[job]` makes one; by hand it is made of a [`Job`] with [`JobDefinition::of`].
#[derive(Clone)]
pub struct JobDefinition {
    pub(crate) name: String,
    pub(crate) queue: String,
    pub(crate) options: JobOptions,
    pub(crate) schedule: CodeSchedule,
    pub(crate) handler: Handler,
    pub(crate) needs: Needs,
    pub(crate) takes_payload: bool,
    pub(crate) redact: Redact,
    pub(crate) place: Place,
}

/// Renders a payload for the log.
pub(crate) type Redact = fn(&Payload) -> Option<String>;

/// Where a job is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    file: &'static str,
    line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a definition may say and the environment says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobOptions {
    pub(crate) attempts: Option<NonZeroU32>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) priority: Option<Priority>,
    pub(crate) backoff: Option<Backoff>,
}

/// How long to wait before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// Always so long.
    Fixed(Duration),
    /// So long after the first attempt, and twice as long after each further one, up to
    /// `JOBS_BACKOFF_MAX`.
    Exponential(Duration),
}

/// The schedule that stands beside a handler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CodeSchedule {
    /// `None`: there is none, whatever else is said of it.
    pub(crate) timing: Option<CodeTiming>,
    pub(crate) timezone: Option<String>,
    /// As RFC 3339 has it, not read yet.
    pub(crate) starts: Option<String>,
    pub(crate) ends: Option<String>,
    pub(crate) limit: Option<NonZeroU64>,
    pub(crate) jitter: Option<Duration>,
    pub(crate) overlap: Overlap,
    pub(crate) misfire: Misfire,
    pub(crate) misfire_within: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CodeTiming {
    Cron(String),
    Every(Duration),
}

impl JobDefinition {
    /// The definition of a [`Job`]. An error later names the line of this call.
    #[track_caller]
    pub fn of<J: Job>() -> Self {
        let place = std::panic::Location::caller();
        Self::of_at::<J>(place.file(), place.line())
    }

    #[doc(hidden)]
    pub fn of_at<J: Job>(file: &'static str, line: u32) -> Self {
        let handler = Handler::asynchronous(|payload: J, ctx| {
            let args = J::Args::from_context(ctx)?;
            Ok(payload.run(args))
        });
        let mut definition = Self::bare(J::NAME, handler, file, line);
        definition.redact = |payload| {
            serde_json::from_slice::<J>(payload.as_bytes()).ok().and_then(|job| job.redacted())
        };
        J::Args::needs(&mut definition.needs);
        // A unit struct is written as `null`, and so is what `trigger` gives where it is given
        // nothing: whether it decodes tells whether a payload is needed.
        definition.takes_payload = serde_json::from_str::<J>("null").is_err();
        J::configure(definition)
    }

    /// For `#[job]` on a function.
    pub(crate) fn of_function<P: DeserializeOwned>(
        name: &str,
        handler: Handler,
        needs: fn(&mut Needs),
        file: &'static str,
        line: u32,
    ) -> Self {
        let mut definition = Self::bare(name, handler, file, line);
        needs(&mut definition.needs);
        definition.takes_payload = serde_json::from_str::<P>("null").is_err();
        definition
    }

    fn bare(name: &str, handler: Handler, file: &'static str, line: u32) -> Self {
        Self {
            name: name.to_owned(),
            queue: DEFAULT_QUEUE.to_owned(),
            options: JobOptions::default(),
            schedule: CodeSchedule::default(),
            handler,
            needs: Needs::default(),
            takes_payload: true,
            redact: |_| None,
            place: Place { file, line },
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// In which queue its jobs wait, unless they say otherwise. Default: `default`.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// How many times a job runs at most. Default: `JOBS_ATTEMPTS`. Zero is one.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = Some(NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN));
        self
    }

    /// How long an attempt may take. Default: `JOBS_TIMEOUT`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Which jobs of its queue it goes ahead of. Default: normal.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = Some(priority);
        self
    }

    /// How long to wait before the next attempt. Default: as `JOBS_BACKOFF_TYPE` and
    /// `JOBS_BACKOFF_DELAY` say.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.options.backoff = Some(backoff);
        self
    }

    /// Enqueues it by a crontab(5) pattern, or six fields with seconds in front. The schedule's id
    /// is the job's name. `JOBS_<NAME>_SCHEDULE` and `JOBS_<NAME>_ENABLED` override it.
    #[must_use]
    pub fn cron(mut self, pattern: impl Into<String>) -> Self {
        self.schedule.timing = Some(CodeTiming::Cron(pattern.into()));
        self
    }

    /// Enqueues it at every whole multiple of `period` since its [start](Self::starts), or since
    /// the Unix epoch where it has none.
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.schedule.timing = Some(CodeTiming::Every(period));
        self
    }

    /// The IANA time zone of its cron pattern. Default: `JOBS_TIMEZONE`, which is UTC.
    #[must_use]
    pub fn timezone(mut self, timezone: impl Into<String>) -> Self {
        self.schedule.timezone = Some(timezone.into());
        self
    }

    /// No occurrence of its schedule is before this instant, as RFC 3339 has it:
    /// `2026-12-01T00:00:00Z`. Default: none is too early.
    #[must_use]
    pub fn starts(mut self, instant: impl Into<String>) -> Self {
        self.schedule.starts = Some(instant.into());
        self
    }

    /// No occurrence of its schedule is after this instant, as RFC 3339 has it. Default: none is too
    /// late.
    #[must_use]
    pub fn ends(mut self, instant: impl Into<String>) -> Self {
        self.schedule.ends = Some(instant.into());
        self
    }

    /// How many occurrences make a job; then there is no other. Zero is one. Default: however many
    /// there are.
    #[must_use]
    pub fn limit(mut self, runs: u64) -> Self {
        self.schedule.limit = Some(NonZeroU64::new(runs).unwrap_or(NonZeroU64::MIN));
        self
    }

    /// Lets each occurrence be due so much later at most, by chance and always the same: so that
    /// not all that is due at midnight begins at once. Less than two occurrences are apart. Default:
    /// each is due at its time.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.schedule.jitter = Some(jitter);
        self
    }

    /// What happens to an occurrence that comes while the previous run is not yet settled. Default:
    /// it is skipped.
    #[must_use]
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.schedule.overlap = overlap;
        self
    }

    /// What happens to occurrences noticed more than a minute late. Default: the latest of them
    /// makes one job. [`Misfire::All`] belongs beside [`Overlap::Allow`].
    #[must_use]
    pub fn misfire(mut self, misfire: Misfire) -> Self {
        self.schedule.misfire = misfire;
        self
    }

    /// How late an occurrence may be noticed and still make a job. Default: however late.
    #[must_use]
    pub fn misfire_within(mut self, window: Duration) -> Self {
        self.schedule.misfire_within = Some(window);
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn redact(mut self, redact: fn(&Payload) -> Option<String>) -> Self {
        self.redact = redact;
        self
    }
}

impl fmt::Debug for JobDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobDefinition")
            .field("name", &self.name)
            .field("queue", &self.queue)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// A definition that `#[job]` submits to `inventory`.
#[doc(hidden)]
pub struct Registration(pub fn() -> JobDefinition);

inventory::collect!(Registration);
