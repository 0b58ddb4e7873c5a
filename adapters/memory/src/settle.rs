//! What becomes of a job: decided by its state, the outcome and the time, without touching
//! anything.

use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{
    AttemptReport, Failure, FailureKind, JobState, Outcome, Settlement, Timestamp,
};

/// A transition that was decided on.
pub(crate) struct Change {
    /// How many attempts it adds.
    pub(crate) attempts: u32,
    /// How many crashes it adds.
    pub(crate) crashes: u32,
    /// How the attempt went; without one, an earlier report stays.
    pub(crate) report: Option<Arc<AttemptReport>>,
    pub(crate) to: To,
}

/// Where a transition leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// Waits ahead of all others of its priority, due as before.
    Front,
    /// Waits behind all others of its priority, due as before.
    Back,
    /// Waits behind all others of its priority, due now.
    BackDueNow,
    /// Is delayed.
    Later(Timestamp),
    /// Has ended.
    End(JobState),
}

impl Change {
    /// A transition that counts nothing.
    pub(crate) fn to(to: To) -> Self {
        Self { attempts: 0, crashes: 0, report: None, to }
    }
}

/// The end of an attempt.
pub(crate) fn settle(settlement: &Settlement, cancel_requested: bool, now: Timestamp) -> Change {
    let cancelled = To::End(JobState::Cancelled);
    let to = match settlement.outcome {
        Outcome::Complete => To::End(JobState::Completed),
        Outcome::Dead => To::End(JobState::Dead),
        Outcome::Cancel => cancelled,
        Outcome::Retry(_) | Outcome::Release(_) if cancel_requested => cancelled,
        Outcome::Retry(Duration::ZERO) => To::BackDueNow,
        Outcome::Retry(delay) | Outcome::Release(delay) if !delay.is_zero() => {
            To::Later(now + delay)
        }
        // A release without delay; and what a later contract may add, since to hand a job back
        // loses nothing.
        _ => To::Front,
    };
    let counts = matches!(
        settlement.outcome,
        Outcome::Complete | Outcome::Retry(_) | Outcome::Dead | Outcome::Cancel
    );
    Change { attempts: counts.into(), crashes: 0, report: settlement.report.clone(), to }
}

/// The end of a claim whose worker vanished; `crashes` counts those before it.
pub(crate) fn crash(
    crashes: u32,
    solo: bool,
    cancel_requested: bool,
    max_crashes: u32,
    now: Timestamp,
) -> Change {
    let crashes = crashes.saturating_add(1);
    let to = if cancel_requested {
        To::End(JobState::Cancelled)
    } else if solo && crashes >= max_crashes {
        To::End(JobState::Dead)
    } else {
        To::Front
    };
    let report = (to == To::End(JobState::Dead)).then(|| crash_report(crashes, now));
    Change { attempts: 0, crashes: 1, report, to }
}

fn crash_report(crashes: u32, now: Timestamp) -> Arc<AttemptReport> {
    let times = if crashes == 1 { "once".into() } else { format!("{crashes} times") };
    let mut report = AttemptReport::new(now, now);
    report.failure = Some(Failure::new(
        FailureKind::Crash,
        [
            format!(
                "its worker vanished {times} while it ran; the last time, nothing ran beside it"
            ),
            "the process was killed, ran out of memory, or could not renew its lease while this \
             job blocked it"
                .into(),
        ],
    ));
    report.into()
}

#[cfg(test)]
mod tests {
    use shiftwork_adapter::JobId;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn settled(outcome: Outcome, cancel_requested: bool) -> (u32, To) {
        let settlement = Settlement::new(JobId::from_bytes([0; 16]), 0, outcome);
        let change = settle(&settlement, cancel_requested, NOW);
        (change.attempts, change.to)
    }

    #[test]
    fn each_outcome_leads_where_the_contract_says() {
        let second = Duration::from_secs(1);
        let later = To::Later(NOW + second);
        for (outcome, attempts, to) in [
            (Outcome::Complete, 1, To::End(JobState::Completed)),
            (Outcome::Dead, 1, To::End(JobState::Dead)),
            (Outcome::Cancel, 1, To::End(JobState::Cancelled)),
            (Outcome::Retry(second), 1, later),
            (Outcome::Retry(Duration::ZERO), 1, To::BackDueNow),
            (Outcome::Release(second), 0, later),
            (Outcome::Release(Duration::ZERO), 0, To::Front),
        ] {
            assert_eq!(settled(outcome, false), (attempts, to), "{outcome:?}");
        }
    }

    #[test]
    fn a_cancel_request_ends_only_what_would_run_again() {
        let cancelled = To::End(JobState::Cancelled);
        assert_eq!(settled(Outcome::Complete, true), (1, To::End(JobState::Completed)));
        assert_eq!(settled(Outcome::Dead, true), (1, To::End(JobState::Dead)));
        assert_eq!(settled(Outcome::Retry(Duration::ZERO), true), (1, cancelled));
        assert_eq!(settled(Outcome::Release(Duration::from_secs(1)), true), (0, cancelled));
    }

    #[test]
    fn only_a_crash_while_alone_is_deadly() {
        assert_eq!(crash(2, true, false, 3, NOW).to, To::End(JobState::Dead));
        assert_eq!(crash(2, false, false, 3, NOW).to, To::Front);
        assert_eq!(crash(1, true, false, 3, NOW).to, To::Front);
        assert_eq!(crash(2, true, true, 3, NOW).to, To::End(JobState::Cancelled));
    }

    #[test]
    fn a_job_dead_by_crashes_says_so() {
        let report = crash(2, true, false, 3, NOW).report.unwrap();
        let failure = report.failure.as_ref().unwrap();
        assert_eq!(failure.kind, FailureKind::Crash);
        assert!(failure.to_string().starts_with("its worker vanished 3 times while it ran"));
    }
}
