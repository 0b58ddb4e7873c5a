//! What a handler may know of the attempt it is.

use std::any::{TypeId, type_name};
use std::borrow::Cow;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};

use shiftwork_adapter::{JobId, JobName, JobSpec, Provenance, QueueName, Scope, Timestamp};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::engine::Stop;
use crate::state::States;
use crate::{JobError, Jobs};

/// The attempt that a handler is: which job, which try, on whose behalf, and whether to stop.
/// Cloning is cheap.
///
/// ```
/// use shiftwork::prelude::*;
///
/// #[job]
/// async fn import(ctx: JobContext) -> Result<(), JobError> {
///     for part in 0..100 {
///         if ctx.is_shutting_down() {
///             return Err(JobError::interrupted()); // Handed back; costs no attempt.
///         }
///         println!("{part} %");
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct JobContext(Arc<Attempt>);

#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) number: u32,
    pub(crate) of: u32,
    pub(crate) crashes: u32,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) due_at: Timestamp,
    pub(crate) started_at: Timestamp,
    pub(crate) told: Told,
    pub(crate) surroundings: Arc<Surroundings>,
}

/// What all attempts of a worker have alike.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) queue: QueueName,
    pub(crate) shutting_down: CancellationToken,
    pub(crate) states: Arc<States>,
    pub(crate) jobs: Jobs,
}

/// What a running attempt is told. Most end without anybody asking, so the token by which they can
/// wait for it is made when it is first wanted.
#[derive(Debug, Default)]
pub(crate) struct Told {
    stop: OnceLock<Stop>,
    timed_out: OnceLock<()>,
    cancelled: OnceLock<CancellationToken>,
}

impl Told {
    fn is_cancelled(&self) -> bool {
        self.stop.get().is_some()
            || self.timed_out.get().is_some()
            || self.cancelled.get().is_some_and(CancellationToken::is_cancelled)
    }

    fn token(&self) -> &CancellationToken {
        let token = self.cancelled.get_or_init(CancellationToken::new);
        // Whoever tells it writes first and looks for the token then; here it is the other way
        // round. With a fence between, one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.stop.get().is_some() || self.timed_out.get().is_some() {
            token.cancel();
        }
        token
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if let Some(token) = self.cancelled.get() {
            token.cancel();
        }
    }
}

impl JobContext {
    pub(crate) fn new(attempt: Attempt) -> Self {
        Self(Arc::new(attempt))
    }

    /// The job's id: the same in every attempt.
    pub fn id(&self) -> JobId {
        self.0.spec.id
    }

    /// The job's name.
    pub fn name(&self) -> &JobName {
        &self.0.spec.name
    }

    /// The queue it came from.
    pub fn queue(&self) -> &QueueName {
        &self.0.surroundings.queue
    }

    /// Which attempt this is; the first is 1.
    pub fn attempt(&self) -> u32 {
        self.0.number
    }

    /// How many attempts the job has in all.
    pub fn attempts(&self) -> u32 {
        self.0.of
    }

    /// Whether a failure of this attempt makes the job a dead letter.
    pub fn is_last_attempt(&self) -> bool {
        self.0.number >= self.0.of
    }

    /// How often a worker vanished with the job: such a claim is no attempt.
    pub fn crashes(&self) -> u32 {
        self.0.crashes
    }

    /// When the store accepted the job, by the store's clock. It may say some milliseconds less, as
    /// [`JobRecord::enqueued_at`](crate::JobRecord::enqueued_at) tells.
    pub fn enqueued_at(&self) -> Timestamp {
        self.0.enqueued_at
    }

    /// What the job is for: a schedule's occurrence; else when it became due, by the store's
    /// clock.
    pub fn scheduled_at(&self) -> Timestamp {
        self.provenance()
            .and_then(|provenance| provenance.schedule.as_ref())
            .map_or(self.0.due_at, |scheduled| scheduled.occurrence)
    }

    /// When this attempt was started, by this process's clock.
    pub fn started_at(&self) -> Timestamp {
        self.0.started_at
    }

    /// Whose data the job is about.
    pub fn scope(&self) -> Option<&Scope> {
        self.provenance()?.scope.as_ref()
    }

    /// The tenant of the [`scope`](Self::scope).
    pub fn tenant(&self) -> Option<&str> {
        Some(&self.scope()?.tenant)
    }

    /// Who asked for the job; `system` for a schedule.
    pub fn actor(&self) -> Option<&str> {
        self.provenance()?.actor.as_deref()
    }

    /// Ties together all that one request caused: as the enqueuer said, else the job's id.
    pub fn correlation_id(&self) -> Cow<'_, str> {
        match self.provenance().and_then(|provenance| provenance.correlation_id.as_deref()) {
            Some(correlation_id) => correlation_id.into(),
            None => self.id().to_string().into(),
        }
    }

    /// The span that enqueued the job, as a W3C `traceparent`.
    pub fn traceparent(&self) -> Option<&str> {
        self.provenance()?.traceparent.as_deref()
    }

    /// Whether this attempt should end: somebody cancelled the job, its timeout or the grace
    /// period of a shutdown is over, or its lease is lost. A second later it is stopped at its
    /// next await. What it returns until then counts only if it is a success.
    pub fn is_cancelled(&self) -> bool {
        self.0.told.is_cancelled()
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled).
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.0.told.token().cancelled()
    }

    /// The same as a token, to hand on. To cancel it is not to cancel the attempt.
    pub fn cancellation(&self) -> CancellationToken {
        self.0.told.token().child_token()
    }

    /// Tells the handler to stop, since its time is over.
    pub(crate) fn time_out(&self) {
        // It may have been said before.
        let _ = self.0.told.timed_out.set(());
        self.0.told.wake();
    }

    /// Whether the process is about to end: long work should come to a good place to stop. What
    /// has not ended after `JOBS_SHUTDOWN_GRACE` is cancelled and handed back.
    pub fn is_shutting_down(&self) -> bool {
        self.0.surroundings.shutting_down.is_cancelled()
    }

    /// Waits until [`is_shutting_down`](Self::is_shutting_down).
    pub fn shutting_down(&self) -> WaitForCancellationFuture<'_> {
        self.0.surroundings.shutting_down.cancelled()
    }

    /// To enqueue further work, which keeps this job's tenant, actor and correlation id unless
    /// it is given its own.
    pub fn jobs(&self) -> Jobs {
        let mut provenance = Provenance::default();
        provenance.scope = self.scope().cloned();
        provenance.actor = self.actor().map(Into::into);
        provenance.correlation_id = Some(self.correlation_id().into());
        provenance.traceparent = self.traceparent().map(Into::into);
        self.0.surroundings.jobs.caused_by(provenance)
    }

    /// Tells the handler to stop; the first reason counts.
    pub(crate) fn stop(&self, why: Stop) {
        // A reason that came first stays: `set` refuses this one.
        let _ = self.0.told.stop.set(why);
        self.0.told.wake();
    }

    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.0.told.stop.get().copied()
    }

    pub(crate) fn spec(&self) -> &Arc<JobSpec> {
        &self.0.spec
    }

    pub(crate) fn states(&self) -> &States {
        &self.0.surroundings.states
    }

    fn provenance(&self) -> Option<&Provenance> {
        self.0.spec.provenance.as_deref()
    }
}

/// What a handler can take as an argument beside its payload: a [`State`](crate::State), an `Option`
/// of one, the [`JobContext`], or a tuple of such.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a job's handler",
    note = "a handler takes one payload, and any number of `State<T>` and `JobContext`"
)]
pub trait FromContext: Sized + Send + 'static {
    /// Names the states that it takes.
    #[doc(hidden)]
    fn needs(needs: &mut Needs);

    /// Takes it.
    ///
    /// # Errors
    /// Where a state is not there.
    #[doc(hidden)]
    fn from_context(ctx: &JobContext) -> Result<Self, JobError>;
}

/// The types of state that a handler takes.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct Needs(pub(crate) Vec<(TypeId, &'static str)>);

impl Needs {
    pub(crate) fn add<T: 'static>(&mut self) {
        self.0.push((TypeId::of::<T>(), type_name::<T>()));
    }
}

impl FromContext for JobContext {
    fn needs(_: &mut Needs) {}

    fn from_context(ctx: &JobContext) -> Result<Self, JobError> {
        Ok(ctx.clone())
    }
}

macro_rules! tuples {
    ($(($($part:ident)*))*) => {$(
        impl<$($part: FromContext),*> FromContext for ($($part,)*) {
            fn needs(_needs: &mut Needs) {
                $($part::needs(_needs);)*
            }

            fn from_context(_ctx: &JobContext) -> Result<Self, JobError> {
                Ok(($($part::from_context(_ctx)?,)*))
            }
        }
    )*};
}

tuples! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }
