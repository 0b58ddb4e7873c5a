//! When a schedule is due.

pub(crate) mod code;
mod cron;
mod expression;
mod new;
mod zone;

#[cfg(test)]
mod against_croner;

use std::collections::VecDeque;
use std::time::Duration;

use shiftwork_adapter::{Timestamp, Timing};

use self::cron::CronExpr;
pub use self::expression::CronExpression;
pub use self::new::NewSchedule;
pub(crate) use self::zone::Zone;

/// The occurrences of a [`Timing`].
///
/// **Always:** strictly increasing, never before the instant asked from, and the same from
/// whichever of them one goes on.
#[derive(Clone, Debug)]
pub(crate) enum Occurrences {
    Cron(Box<Cron>),
    Every(Duration),
}

/// A cron pattern in a zone.
#[derive(Clone, Debug)]
pub(crate) struct Cron {
    pattern: CronExpr,
    zone: Zone,
}

impl Cron {
    fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        self.pattern.after(instant, &self.zone)
    }
}

impl Occurrences {
    /// Reads a timing.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(crate) fn parse(timing: &Timing) -> Result<Self, String> {
        match timing {
            Timing::Cron { pattern, timezone } => {
                let (pattern, zone) = (CronExpr::parse(pattern)?, Zone::named(timezone)?);
                Ok(Self::Cron(Box::new(Cron { pattern, zone })))
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

    /// The latest occurrences from `first`, which is one, up to `now`, at most `most` and at least
    /// one: the first of these, and how many there are before it. Counts no more than a million.
    pub(crate) fn latest(&self, first: Timestamp, now: Timestamp, most: usize) -> (Timestamp, u64) {
        match self {
            Self::Every(period) => {
                let period = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
                let passed = u64::try_from(now.since(first).as_millis()).unwrap_or(u64::MAX);
                let most = u64::try_from(most.max(1)).unwrap_or(u64::MAX);
                let before = (passed / period + 1).saturating_sub(most);
                (first + Duration::from_millis(before.saturating_mul(period)), before)
            }
            Self::Cron(cron) => {
                const COUNTED: usize = 1_000_000;
                let start = tail(cron, first, now, most.max(1));
                let all = std::iter::successors(Some(first), |&at| cron.after(at));
                (start, all.take_while(|&at| at < start).take(COUNTED).count() as u64)
            }
        }
    }
}

/// The first of the latest `most` occurrences from `first` to `now`. Looks back from `now`, further
/// each time, so that it does not matter how many there are before.
fn tail(cron: &Cron, first: Timestamp, now: Timestamp, most: usize) -> Timestamp {
    let mut back = Duration::from_secs(3600);
    loop {
        let from = now - back;
        let begin = if from < first { Some(first) } else { cron.after(from) };
        let mut latest = VecDeque::with_capacity(most);
        let all = std::iter::successors(begin, |&at| cron.after(at));
        for at in all.take_while(|&at| at <= now) {
            if latest.len() == most {
                latest.pop_front();
            }
            latest.push_back(at);
        }
        if from < first || latest.len() == most {
            return latest.front().copied().unwrap_or(first);
        }
        back = back.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(ms: u64) -> Occurrences {
        Occurrences::parse(&Timing::Every { period_ms: ms }).unwrap()
    }

    fn cron(pattern: &str) -> Occurrences {
        let timing = Timing::Cron { pattern: pattern.into(), timezone: "UTC".into() };
        Occurrences::parse(&timing).unwrap()
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
        let at = Timestamp::from_millis;
        for occurrences in [every(1000), cron("* * * * * *")] {
            for (most, latest, before) in
                [(1, 3_600_000, 3599), (2, 3_599_000, 3598), (3600, 1000, 0), (9999, 1000, 0)]
            {
                let found = occurrences.latest(at(1000), at(3_600_500), most);
                assert_eq!(found, (at(latest), before), "{most} of {occurrences:?}");
            }
            assert_eq!(occurrences.latest(at(1000), at(1000), 1), (at(1000), 0));
        }
        // 1971-01-01 to 2026-01-01: rarer than any stretch that is looked at first.
        let (first, now) = (at(31_536_000_000), at(1_767_225_600_000));
        let yearly = cron("@yearly");
        assert_eq!(yearly.latest(first, now, 1), (now, 55));
        assert_eq!(yearly.latest(first, now, 2), (at(1_735_689_600_000), 54));
        assert_eq!(yearly.latest(first, now, 1000), (first, 0));
    }

    #[test]
    fn the_latest_is_found_however_many_there_are_before_it_of_which_a_million_are_counted() {
        let at = Timestamp::from_millis;
        let now = at(20 * 24 * 3_600_000);
        let found = cron("* * * * * *").latest(at(1000), now, 1000);
        assert_eq!(found, (now - Duration::from_secs(999), 1_000_000));
    }

    #[test]
    fn what_no_schedule_can_have_is_refused() {
        let pattern = "0 3 * * *".to_owned();
        let nowhere = Timing::Cron { pattern, timezone: "Europe/Berlni".into() };
        let told = Occurrences::parse(&nowhere).unwrap_err();
        assert!(told.contains("Europe/Berlni") && told.contains("Europe/Berlin"), "{told}");
        assert!(Occurrences::parse(&Timing::Every { period_ms: 0 }).is_err());
    }
}
