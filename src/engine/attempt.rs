//! One attempt: a handler under its timeout, in its span, its panics caught, its end reported.
//!
//! Told to stop, by its timeout or from outside, a handler has a second to come to an end by
//! itself. Then it is dropped at the await it is in. One that runs on the pool for blocking code,
//! or that blocks its thread, cannot be stopped by anyone: it is named in the log.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use shiftwork_adapter::{JobState, Outcome, Settlement, Timestamp};
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument, Span, debug, error, info, info_span, warn};

use super::Engine;
use super::backoff;
use super::ledger::{Claim, Ledger};
use super::settle::{Decision, End, Stop, decide, name};
use crate::handler::{HandlerFuture, HandlerResult, PayloadError, Runnable};
use crate::registry::Registered;
use crate::{JobContext, JobResult};

/// How long a handler that was told to stop has to come to an end by itself.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(1);

/// An attempt. Dropped, wherever it is by then, it tells the ledger that it ended.
pub(crate) struct Attempt {
    pub(crate) desk: Arc<Desk>,
    /// Under which the ledger knows it; `None`: not yet.
    pub(crate) entry: Option<usize>,
    pub(crate) claim: Claim,
    pub(crate) ctx: JobContext,
    /// `None`: this process has no handler of that name.
    pub(crate) job: Option<Arc<Registered>>,
    pub(crate) timeout: Duration,
    pub(crate) first_due: Timestamp,
    pub(crate) store_now: Timestamp,
    /// `None`: it has not ended, or is not ours to settle.
    pub(crate) settlement: Option<Settlement>,
}

/// What the attempts of a worker share.
pub(crate) struct Desk {
    pub(crate) engine: Arc<Engine>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            self.desk.ledger.end(entry, self.claim, self.settlement.take());
        }
    }
}

impl Attempt {
    /// Runs it in its span.
    pub(crate) fn run(self) -> impl Future<Output = ()> + Send {
        let span = self.span();
        self.run_to_its_end().instrument(span)
    }

    async fn run_to_its_end(mut self) {
        let began = Instant::now();
        let end = match &self.job {
            Some(job) => self.as_told(caught(pin!(self.execute(job))).await),
            None => self.unknown_name(),
        };
        let took = began.elapsed();
        // What an error says of itself is the application's code, and may panic.
        let settle = |end| catch_unwind(AssertUnwindSafe(|| self.settle(end, took)));
        let settlement = settle(end)
            .or_else(|panic| settle(End::Panicked(panic_message(&*panic))))
            .unwrap_or_default();
        self.settlement = settlement;
    }

    /// The handler under its timeout. A panic of it, wherever, is one of this future.
    async fn execute(&self, job: &Registered) -> End {
        let payload = &self.ctx.spec().payload;
        let mut running = match job.definition.handler.prepare(payload, self.ctx.clone()) {
            Runnable::Async(Err(error)) => return End::Undecodable(error.to_string()),
            Runnable::Async(Ok(handler)) => Running::Async(handler),
            Runnable::Blocking(run) => {
                Running::Blocking(Box::pin(on_blocking_pool(self.ctx.clone(), run)))
            }
        };
        // Begun only where the handler does not come to its end at once.
        let until_stopped = async {
            tokio::select! {
                () = self.ctx.cancelled() => false,
                () = sleep(self.timeout) => true,
            }
        };
        let timed_out = tokio::select! {
            biased;
            end = &mut running => return end,
            timed_out = until_stopped => timed_out,
        };
        self.ctx.time_out();
        match timeout(STOP_GRACE, running).await {
            // It was in time after all: done is done.
            Ok(end @ End::Returned(Ok(JobResult { success: true, .. }))) => return end,
            Ok(_) => {}
            Err(_) if job.definition.handler.is_blocking() => warn!(
                job.id = %self.ctx.id(),
                job.name = %self.ctx.name(),
                "a handler that was told to stop goes on: it runs on a thread and cannot be \
                 aborted; make it look at ctx.is_cancelled()"
            ),
            Err(_) => debug!("a handler that was told to stop was dropped at its await"),
        }
        match self.ctx.stopped() {
            Some(stop) if !timed_out => End::Stopped(stop),
            _ => End::TimedOut(self.timeout),
        }
    }

    /// What a handler came to, seen in the light of what it was told. One that leaves its work
    /// because it should, or because of a shutdown, spends no attempt.
    fn as_told(&self, end: End) -> End {
        match (end, self.ctx.stopped()) {
            (_, Some(Stop::LeaseLost)) => End::Stopped(Stop::LeaseLost),
            // Done is done; and whose time was over before it was told to stop has spent it.
            (end @ End::Returned(Ok(JobResult { success: true, .. })), _) => end,
            (end @ End::TimedOut(_), _) => end,
            (_, Some(stop)) => End::Stopped(stop),
            (End::Returned(Err(error)), None)
                if error.is_interrupted() && self.ctx.is_shutting_down() =>
            {
                End::Interrupted
            }
            (end, None) => end,
        }
    }

    fn unknown_name(&self) -> End {
        let known = self.desk.engine.unknown.seen(self.ctx.name(), self.ctx.queue());
        End::UnknownName {
            // An old job that this process meets for the first time has its time before it: a
            // backlog or a replay is no reason to give it up.
            waited: known.min(self.store_now.since(self.first_due)),
            limit: self.desk.engine.shared.settings.unknown_after,
        }
    }

    fn settle(&self, end: End, took: Duration) -> Option<Settlement> {
        let settings = &self.desk.engine.shared.settings;
        let own = self.job.as_ref().and_then(|job| job.definition.options.backoff);
        let attempt = self.ctx.attempt();
        let Decision { outcome, result } = decide(end, attempt, self.ctx.attempts(), || {
            let jitter = settings.backoff_jitter.then(|| self.desk.engine.shared.random.fraction());
            backoff::delay(own.unwrap_or(settings.backoff), settings.backoff_max, attempt, jitter)
        });
        self.log(outcome, &result, took);
        let outcome = outcome?;
        let (job, generation) = self.claim;
        let report = self.is_kept(outcome).then(|| {
            let started_at = self.ctx.started_at();
            result.into_report(started_at, self.desk.engine.shared.clock.now())
        });
        Some(Settlement::new(job, generation, outcome).with_report(report))
    }

    /// A report of a job that is about to be forgotten is not worth its making.
    fn is_kept(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Complete | Outcome::Cancel => {
                self.ctx.spec().keep_result.is_some()
                    || !self.desk.engine.shared.settings.store.keep_completed.age.is_zero()
            }
            Outcome::Release(_) => false,
            _ => true,
        }
    }

    fn span(&self) -> Span {
        info_span!(
            "job",
            job.id = %self.ctx.id(),
            job.name = %self.ctx.name(),
            job.queue = %self.ctx.queue(),
            job.attempt = self.ctx.attempt(),
        )
    }

    /// The one event of a settled attempt.
    fn log(&self, outcome: Option<Outcome>, result: &JobResult, took: Duration) {
        let ctx = &self.ctx;
        let redact = || {
            let job = self.job.as_ref()?;
            let rendered = || (job.definition.redact)(&ctx.spec().payload);
            catch_unwind(AssertUnwindSafe(rendered)).ok().flatten()
        };
        macro_rules! event {
            ($level:ident) => {
                $level!(
                    job.id = %ctx.id(),
                    job.name = %ctx.name(),
                    job.queue = %ctx.queue(),
                    job.attempt = ctx.attempt(),
                    job.attempts = ctx.attempts(),
                    duration_ms = took.as_millis() as u64,
                    outcome = name(outcome),
                    retry_in_ms = match outcome {
                        Some(Outcome::Retry(delay)) => Some(delay.as_millis() as u64),
                        _ => None,
                    },
                    error = result.error.as_ref().map(tracing::field::display),
                    error.kind = result.error.as_ref().map(|error| error.kind.as_str()),
                    correlation_id = %ctx.correlation_id(),
                    tenant = ctx.tenant(),
                    actor = ctx.actor(),
                    payload = redact(),
                    "attempt settled"
                )
            };
        }
        match outcome {
            Some(Outcome::Dead) => event!(error),
            Some(Outcome::Retry(_)) | None => event!(warn),
            Some(Outcome::Release(_)) if self.job.is_none() => event!(debug),
            _ => event!(info),
        }
    }
}

/// A handler under way.
enum Running {
    Async(HandlerFuture),
    Blocking(Pin<Box<dyn Future<Output = End> + Send>>),
}

impl Future for Running {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End> {
        match &mut *self {
            Self::Async(handler) => handler.as_mut().poll(context).map(End::Returned),
            Self::Blocking(run) => run.as_mut().poll(context),
        }
    }
}

/// An attempt, its panics caught at the poll that they come from.
async fn caught(mut attempt: Pin<&mut (impl Future<Output = End> + Send)>) -> End {
    let polled = std::future::poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(context)))
            .unwrap_or_else(|panic| Poll::Ready(End::Panicked(panic_message(&*panic))))
    });
    polled.await
}

/// Runs a handler that may block. One that was told to stop before the pool had a thread for it is
/// not begun: by then its job may be another worker's.
async fn on_blocking_pool(
    ctx: JobContext,
    run: Box<dyn FnOnce() -> Result<HandlerResult, PayloadError> + Send>,
) -> End {
    let span = Span::current();
    let begin = move || (!ctx.is_cancelled()).then(|| span.in_scope(run));
    let ended = match tokio::task::spawn_blocking(begin).await {
        Ok(None) => return End::Interrupted,
        Ok(Some(ended)) => Ok(ended),
        Err(error) => Err(error),
    };
    match ended {
        Ok(Ok(result)) => End::Returned(result),
        Ok(Err(error)) => End::Undecodable(error.to_string()),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => End::Panicked(panic_message(&*panic)),
            // The pool takes no more work: the runtime is about to end.
            Err(_) => End::Interrupted,
        },
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with something that is no text")
        .to_owned()
}

/// For the log: what recovery did with a job.
pub(crate) fn log_recovered(recovered: &shiftwork_adapter::Recovered, queue: &str) {
    let (id, job) = (recovered.spec.id, &recovered.spec.name);
    let crashes = recovered.crashes;
    match recovered.state {
        JobState::Dead => error!(job.id = %id, job.name = %job, job.queue = queue, crashes,
            "a job is dead: its worker vanished too often"),
        state => warn!(job.id = %id, job.name = %job, job.queue = queue, crashes, %state,
            "a job was taken back from a worker that vanished"),
    }
}
