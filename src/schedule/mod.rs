//! When a schedule is due.

pub(crate) mod code;
mod cron;
mod new;

use std::time::Duration;

use shiftwork_adapter::{Timestamp, Timing};

use self::cron::CronExpr;
pub use self::new::NewSchedule;

/// The occurrences of a [`Timing`].
///
/// **Always:** strictly increasing, never before the instant asked from, and the same from
/// whichever of them one goes on.
#[derive(Clone, Debug)]
pub(crate) enum Occurrences {
    Cron(Box<CronExpr>),
    Every(Duration),
}

impl Occurrences {
    /// Reads a timing.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(crate) fn parse(timing: &Timing) -> Result<Self, String> {
        match timing {
            Timing::Cron { pattern, timezone } => {
                if !matches!(timezone.as_str(), "UTC" | "Etc/UTC") {
                    return Err(format!(
                        "the time zone {timezone:?} is not supported yet; use \"UTC\""
                    ));
                }
                CronExpr::parse(pattern).map(Box::new).map(Self::Cron)
            }
            Timing::Every { period_ms: 0 } => {
                Err("an interval of 0 never ends; use at least 1ms".into())
            }
            Timing::Every { period_ms } => Ok(Self::Every(Duration::from_millis(*period_ms))),
            other => Err(format!("{other:?} is a kind of timing that this version does not know")),
        }
    }

    /// The first occurrence after `instant`; `None`: there is none.
    pub(crate) fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.after(instant),
            Self::Every(period) => {
                let period = i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
                let passed = instant.as_millis().div_euclid(period);
                passed.checked_add(1)?.checked_mul(period).map(Timestamp::from_millis)
            }
        }
    }

    /// The latest occurrence from `first`, which is one, up to `now`, and how many there are
    /// before it. Counts no more than a million.
    pub(crate) fn latest(&self, first: Timestamp, now: Timestamp) -> (Timestamp, u64) {
        const MOST: u64 = 1_000_000;
        if let Self::Every(period) = self {
            let period = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
            let passed = u64::try_from(now.since(first).as_millis()).unwrap_or(u64::MAX) / period;
            return (first + Duration::from_millis(passed.saturating_mul(period)), passed);
        }
        let (mut latest, mut before) = (first, 0);
        while before < MOST {
            match self.after(latest).filter(|&next| next <= now) {
                Some(next) => (latest, before) = (next, before + 1),
                None => break,
            }
        }
        (latest, before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(ms: u64) -> Occurrences {
        Occurrences::parse(&Timing::Every { period_ms: ms }).unwrap()
    }

    #[test]
    fn an_interval_is_due_at_whole_multiples_since_the_epoch() {
        let at = Timestamp::from_millis;
        assert_eq!(every(1000).after(at(0)), Some(at(1000)));
        assert_eq!(every(1000).after(at(999)), Some(at(1000)));
        assert_eq!(every(1000).after(at(1000)), Some(at(2000)));
        assert_eq!(every(1000).after(at(-1)), Some(at(0)));
        assert_eq!(every(u64::MAX).after(at(1)), Some(Timestamp::MAX));
    }

    #[test]
    fn the_latest_of_many_missed_occurrences_is_found_at_once() {
        let (latest, before) =
            every(1000).latest(Timestamp::from_millis(1000), Timestamp::from_millis(3_600_500));
        assert_eq!((latest, before), (Timestamp::from_millis(3_600_000), 3599));
    }

    #[test]
    fn what_is_not_supported_yet_is_refused() {
        let berlin = Timing::Cron { pattern: "0 3 * * *".into(), timezone: "Europe/Berlin".into() };
        assert!(Occurrences::parse(&berlin).unwrap_err().contains("Europe/Berlin"));
        assert!(Occurrences::parse(&Timing::Every { period_ms: 0 }).is_err());
    }
}
