//! What becomes of a job whose attempt ended: decided here, from what is known, without a clock,
//! a store or chance.

use std::fmt;
use std::time::Duration;

use shiftwork_adapter::{Failure, FailureKind, Outcome};

use crate::JobResult;
use crate::handler::HandlerResult;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The handler came to its end.
    Returned(HandlerResult),
    /// The handler left its work, since the process shuts down.
    Interrupted,
    /// The handler panicked, with this message.
    Panicked(String),
    /// The payload is not what the handler takes.
    Undecodable(String),
    /// It took longer than this.
    TimedOut(Duration),
    /// It was told to stop, and did or was stopped.
    Stopped(Stop),
    /// This process has no handler of that name.
    UnknownName {
        /// How long the job has been due, as far as this process has met its name.
        waited: Duration,
        /// After how long nobody will come.
        limit: Duration,
    },
}

/// Why a running attempt is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody cancelled the job.
    Cancelled,
    /// The process shuts down and the grace period is over.
    Shutdown,
    /// The lease is lost: the job is another worker's.
    LeaseLost,
}

/// What becomes of the job, and how the attempt went.
#[derive(Debug)]
pub(crate) struct Decision {
    /// `None`: it is not ours to settle.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) result: JobResult,
}

/// Decides. `attempt` is the one that ended, of `attempts`; `backoff` tells the delay before the
/// next, and is asked only where there is one.
pub(crate) fn decide(
    end: End,
    attempt: u32,
    attempts: u32,
    backoff: impl FnOnce() -> Duration,
) -> Decision {
    let failure = match end {
        End::Returned(Ok(result)) if result.success => {
            return Decision { outcome: Some(Outcome::Complete), result };
        }
        End::Returned(Ok(mut result)) => {
            let message = result.message.clone().unwrap_or_else(|| "the handler failed".into());
            let failure = result.error.take();
            let failure = failure.unwrap_or_else(|| Failure::new(FailureKind::Error, [message]));
            return failed(failure, result, attempt, attempts, backoff);
        }
        End::Interrupted => {
            return Decision {
                outcome: Some(Outcome::Release(Duration::ZERO)),
                result: JobResult::default(),
            };
        }
        End::Returned(Err(error)) => error.failure(),
        End::Panicked(message) => {
            Failure::new(FailureKind::Panic, [format!("panicked: {message}")])
        }
        End::Undecodable(message) => Failure::new(FailureKind::Payload, [message]),
        End::TimedOut(limit) => Failure::new(
            FailureKind::Timeout,
            [format!("ran for longer than its timeout of {limit:?}")],
        ),
        End::UnknownName { waited, limit } if waited >= limit => Failure::new(
            FailureKind::UnknownName,
            [format!(
                "no worker had a handler of this name for {waited:.0?} (JOBS_UNKNOWN_AFTER is {limit:?})"
            )],
        ),
        End::UnknownName { waited, .. } => {
            return Decision {
                outcome: Some(Outcome::Release(unknown_name_delay(waited))),
                result: JobResult::default(),
            };
        }
        End::Stopped(stop) => {
            let outcome = match stop {
                Stop::Cancelled => Some(Outcome::Cancel),
                Stop::Shutdown => Some(Outcome::Release(Duration::ZERO)),
                Stop::LeaseLost => None,
            };
            let mut result = JobResult::default();
            if stop == Stop::Cancelled {
                result.error = Some(Failure::new(FailureKind::Cancelled, ["cancelled".into()]));
            }
            return Decision { outcome, result };
        }
    };
    failed(failure, JobResult::default(), attempt, attempts, backoff)
}

fn failed(
    failure: Failure,
    result: JobResult,
    attempt: u32,
    attempts: u32,
    backoff: impl FnOnce() -> Duration,
) -> Decision {
    let hopeless = matches!(
        failure.kind,
        FailureKind::Permanent | FailureKind::Payload | FailureKind::UnknownName
    );
    let outcome =
        if hopeless || attempt >= attempts { Outcome::Dead } else { Outcome::Retry(backoff()) };
    Decision { outcome: Some(outcome), result: JobResult { error: Some(failure), ..result } }
}

/// How long a job of an unknown name is left to others: as long again as it has waited, from a
/// second to a minute. So a rollout's first worker finds it soon, and a typo costs little.
fn unknown_name_delay(waited: Duration) -> Duration {
    waited.clamp(Duration::from_secs(1), Duration::from_secs(60))
}

/// The outcome's name, as in logs and metrics.
pub(crate) fn name(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Complete) => "completed",
        Some(Outcome::Retry(_)) => "retry",
        Some(Outcome::Dead) => "dead",
        Some(Outcome::Cancel) => "cancelled",
        Some(Outcome::Release(_)) => "released",
        Some(_) => "other",
        None => "lost",
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::Shutdown => "shutdown",
            Self::LeaseLost => "lease lost",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobError;

    const SECOND: Duration = Duration::from_secs(1);

    fn outcome(end: End, attempt: u32) -> Option<Outcome> {
        decide(end, attempt, 3, || SECOND).outcome
    }

    fn error() -> End {
        End::Returned(Err(JobError::new("closed")))
    }

    #[test]
    fn an_error_is_tried_again_until_the_attempts_are_used_up() {
        assert_eq!(outcome(error(), 1), Some(Outcome::Retry(SECOND)));
        assert_eq!(outcome(error(), 2), Some(Outcome::Retry(SECOND)));
        assert_eq!(outcome(error(), 3), Some(Outcome::Dead));
    }

    #[test]
    fn failure_without_an_err_is_a_failure() {
        let closed = || End::Returned(Ok(JobResult::failure("closed")));
        assert_eq!(outcome(closed(), 1), Some(Outcome::Retry(SECOND)));
        let decision = decide(closed(), 3, 3, || SECOND);
        assert_eq!(decision.outcome, Some(Outcome::Dead));
        assert_eq!(decision.result.error.unwrap().chain, ["closed"]);
    }

    #[test]
    fn what_another_attempt_would_meet_again_is_dead_at_once() {
        let permanent = End::Returned(Err(JobError::permanent("gone")));
        assert_eq!(outcome(permanent, 1), Some(Outcome::Dead));
        assert_eq!(outcome(End::Undecodable("not a number".into()), 1), Some(Outcome::Dead));
    }

    #[test]
    fn a_panic_and_a_timeout_are_tried_again() {
        assert_eq!(outcome(End::Panicked("oops".into()), 1), Some(Outcome::Retry(SECOND)));
        assert_eq!(outcome(End::TimedOut(SECOND), 1), Some(Outcome::Retry(SECOND)));
    }

    #[test]
    fn what_is_stopped_by_a_shutdown_is_handed_back_even_in_its_last_attempt() {
        let released = Some(Outcome::Release(Duration::ZERO));
        assert_eq!(outcome(End::Stopped(Stop::Shutdown), 3), released);
    }

    #[test]
    fn what_is_lost_is_not_ours_to_settle() {
        assert_eq!(outcome(End::Stopped(Stop::LeaseLost), 1), None);
    }

    #[test]
    fn an_unknown_name_is_handed_back_for_longer_and_longer_and_then_dead() {
        let day = Duration::from_secs(24 * 3600);
        let after = |waited| outcome(End::UnknownName { waited, limit: day }, 1);
        assert_eq!(after(Duration::ZERO), Some(Outcome::Release(SECOND)));
        assert_eq!(after(10 * SECOND), Some(Outcome::Release(10 * SECOND)));
        assert_eq!(after(3600 * SECOND), Some(Outcome::Release(60 * SECOND)));
        assert_eq!(after(day), Some(Outcome::Dead));
    }
}
