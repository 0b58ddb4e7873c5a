//! When a schedule is due.

pub(crate) mod code;
mod cron;
mod expression;
mod new;
pub(crate) mod release;
pub(crate) mod remaining;
mod zone;

#[cfg(test)]
mod against_croner;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{Schedule, Timestamp, Timing};

use self::cron::CronExpr;
pub use self::expression::CronExpression;
pub use self::new::NewSchedule;
pub use self::release::Reconciliation;
pub(crate) use self::zone::Zone;

/// The occurrences of a schedule.
///
/// **Always:** strictly increasing, never before the instant asked from, and the same from
/// whichever of them one goes on.
#[derive(Clone, Debug)]
pub(crate) struct Occurrences {
    kind: Kind,
    starts: Option<Timestamp>,
    ends: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum Kind {
    Cron(Box<Cron>),
    Every(Every),
    Once(Timestamp),
}

/// A cron pattern in a zone.
#[derive(Clone, Debug)]
struct Cron {
    pattern: CronExpr,
    zone: Zone,
}

impl Cron {
    fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        self.pattern.after(instant, &self.zone)
    }
}

/// An interval, counted from an instant on.
#[derive(Clone, Copy, Debug)]
struct Every {
    anchor: Timestamp,
    period: Duration,
}

impl Every {
    fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        let period = i64::try_from(self.period.as_millis()).unwrap_or(i64::MAX);
        let since = instant.as_millis().checked_sub(self.anchor.as_millis())?;
        let passed = since.div_euclid(period);
        let next = passed.checked_add(1)?.checked_mul(period)?;
        next.checked_add(self.anchor.as_millis()).map(Timestamp::from_millis)
    }
}

impl Occurrences {
    /// Reads a schedule's timing and bounds.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(crate) fn of(schedule: &Schedule) -> Result<Self, String> {
        Self::read(&schedule.timing, schedule.starts, schedule.ends)
    }

    /// Reads a timing.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(crate) fn parse(timing: &Timing) -> Result<Self, String> {
        Self::read(timing, None, None)
    }

    fn read(
        timing: &Timing,
        starts: Option<Timestamp>,
        ends: Option<Timestamp>,
    ) -> Result<Self, String> {
        let kind = match timing {
            Timing::Cron { pattern, timezone } => {
                let (pattern, zone) = (CronExpr::parse(pattern)?, Zone::named(timezone)?);
                Kind::Cron(Box::new(Cron { pattern, zone }))
            }
            Timing::Every { period_ms: 0 } => {
                return Err("an interval of 0 never ends; use at least 1ms".into());
            }
            Timing::Every { period_ms } => Kind::Every(Every {
                anchor: starts.unwrap_or(Timestamp::EPOCH),
                period: Duration::from_millis(*period_ms),
            }),
            Timing::Once { at } => Kind::Once(*at),
            other => {
                return Err(format!(
                    "{other:?} is a kind of timing that this version does not know"
                ));
            }
        };
        Ok(Self { kind, starts, ends })
    }

    /// The first occurrence after `instant`; `None`: there is none.
    pub(crate) fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        let before_start = self.starts.map(|starts| starts - Duration::from_millis(1));
        let from = before_start.map_or(instant, |before| before.max(instant));
        let next = match &self.kind {
            Kind::Cron(cron) => cron.after(from),
            Kind::Every(every) => every.after(from),
            Kind::Once(at) => Some(*at).filter(|at| *at > from),
        };
        next.filter(|next| self.ends.is_none_or(|ends| *next <= ends))
    }

    /// The occurrence that a schedule has next that is defined at `now`. What is due once is due
    /// though its time is past.
    pub(crate) fn first(&self, now: Timestamp) -> Option<Timestamp> {
        match self.kind {
            Kind::Once(at) => Some(at),
            _ => self.after(now),
        }
    }

    /// The latest occurrences from `first`, which is one, up to `now`, at most `most` and at least
    /// one: the first of these, and how many there are before it. Counts no more than a million.
    pub(crate) fn latest(&self, first: Timestamp, now: Timestamp, most: usize) -> (Timestamp, u64) {
        let now = self.ends.map_or(now, |ends| ends.min(now));
        match &self.kind {
            Kind::Once(_) => (first, 0),
            Kind::Every(Every { period, .. }) => {
                let period = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
                let passed = u64::try_from(now.since(first).as_millis()).unwrap_or(u64::MAX);
                let most = u64::try_from(most.max(1)).unwrap_or(u64::MAX);
                let before = (passed / period + 1).saturating_sub(most);
                (first + Duration::from_millis(before.saturating_mul(period)), before)
            }
            Kind::Cron(cron) => {
                let start = tail(cron, first, now, most.max(1));
                (start, self.count(first, start))
            }
        }
    }

    /// How many occurrences there are from `first`, which is one, up to but not including `end`.
    /// Counts no more than a million.
    pub(crate) fn count(&self, first: Timestamp, end: Timestamp) -> u64 {
        const COUNTED: usize = 1_000_000;
        let all = std::iter::successors(Some(first), |&at| self.after(at));
        all.take_while(|&at| at < end).take(COUNTED).count() as u64
    }
}

/// Checks a schedule that somebody defines at `now`.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(crate) fn check(schedule: &Schedule, now: Timestamp) -> Result<Occurrences, String> {
    let occurrences = Occurrences::of(schedule)?;
    let Schedule { starts, ends, jitter, .. } = schedule;
    if let Timing::Once { .. } = schedule.timing
        && (starts.is_some() || ends.is_some() || schedule.limit.is_some())
    {
        return Err("it is due once: it can have neither start, end nor limit".into());
    }
    if let (Some(starts), Some(ends)) = (starts, ends)
        && starts > ends
    {
        return Err(format!("it ends at {ends}, before it starts, at {starts}"));
    }
    let origin = starts.map_or(Timestamp::EPOCH, |starts| starts - Duration::from_millis(1));
    if occurrences.first(origin).is_none() {
        return Err(match (starts, ends) {
            (Some(starts), Some(ends)) => {
                format!("it has no occurrence from its start, {starts}, to its end, {ends}")
            }
            (None, Some(ends)) => format!("it has no occurrence up to its end, {ends}"),
            _ => "it has no occurrence".to_owned(),
        });
    }
    if let Some(jitter) = jitter {
        // Of a pattern that is as irregular as can be, the hours of a day are among so many.
        const LOOKED_AT: usize = 100;
        let mut all = std::iter::successors(occurrences.after(now), |&at| occurrences.after(at));
        let mut before = all.next();
        for next in all.take(LOOKED_AT) {
            let apart = before.map_or(Duration::MAX, |before| next.since(before));
            if *jitter >= apart {
                return Err(format!(
                    "its jitter of {jitter:?} is no less than the {apart:?} between two \
                     occurrences; make it less, so that they stay in their order"
                ));
            }
            before = Some(next);
        }
    }
    Ok(occurrences)
}

/// Occurrences of schedules that were read before, those of equal timings once.
#[derive(Debug, Default)]
pub(crate) struct Cadences(HashMap<Cadence, Arc<Occurrences>>);

type Cadence = (Timing, Option<Timestamp>, Option<Timestamp>);

impl Cadences {
    /// So many are remembered: those of a program that has its schedules in code, and a page of
    /// what people have made.
    const REMEMBERED: usize = 1000;

    /// The occurrences of a schedule.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(crate) fn of(&mut self, schedule: &Schedule) -> Result<Arc<Occurrences>, String> {
        let cadence = (schedule.timing.clone(), schedule.starts, schedule.ends);
        if let Some(known) = self.0.get(&cadence) {
            return Ok(known.clone());
        }
        let occurrences = Arc::new(Occurrences::of(schedule)?);
        if self.0.len() >= Self::REMEMBERED {
            self.0.clear();
        }
        self.0.insert(cadence, occurrences.clone());
        Ok(occurrences)
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

    fn schedule(timing: Timing) -> Schedule {
        let template = shiftwork_adapter::JobTemplate::new(
            shiftwork_adapter::JobName::new("job").unwrap(),
            shiftwork_adapter::Payload::none(),
        );
        let id = shiftwork_adapter::ScheduleId::new("id").unwrap();
        let queue = shiftwork_adapter::QueueName::new("queue").unwrap();
        Schedule::new(id, queue, timing, template)
    }

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
        assert_eq!(every(u64::MAX).after(at(i64::MAX)), None);
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
    fn an_interval_with_a_start_counts_from_there() {
        let at = Timestamp::from_millis;
        let mut schedule = schedule(Timing::Every { period_ms: 1000 });
        schedule.starts = Some(at(12_345));
        let occurrences = check(&schedule, at(0)).unwrap();
        assert_eq!(occurrences.after(at(-9_000_000)), Some(at(12_345)));
        assert_eq!(occurrences.after(at(12_344)), Some(at(12_345)));
        assert_eq!(occurrences.after(at(12_345)), Some(at(13_345)));
        assert_eq!(occurrences.latest(at(12_345), at(15_400), 1), (at(15_345), 3));
    }

    #[test]
    fn no_occurrence_is_before_the_start_or_after_the_end() {
        let hour = |hour: i64| Timestamp::from_millis(hour * 3_600_000);
        let pattern = Timing::Cron { pattern: "0 * * * *".into(), timezone: "UTC".into() };
        let mut schedule = schedule(pattern);
        schedule.starts = Some(hour(10));
        schedule.ends = Some(hour(12));
        let occurrences = check(&schedule, hour(0)).unwrap();
        let all = |from| {
            let all = std::iter::successors(occurrences.after(from), |&at| occurrences.after(at));
            all.collect::<Vec<_>>()
        };
        assert_eq!(all(hour(0)), [hour(10), hour(11), hour(12)]);
        assert_eq!(all(hour(10)), [hour(11), hour(12)]);
        assert_eq!(all(hour(12)), []);
        assert_eq!(occurrences.latest(hour(10), hour(99), 1), (hour(12), 2));
        assert_eq!(occurrences.latest(hour(10), hour(99), 5), (hour(10), 0));
    }

    #[test]
    fn what_is_due_once_has_one_occurrence_whenever_it_is_asked_for() {
        let at = Timestamp::from_millis;
        let occurrences = check(&schedule(Timing::Once { at: at(5000) }), at(0)).unwrap();
        assert_eq!(occurrences.first(at(0)), Some(at(5000)));
        assert_eq!(occurrences.first(at(9000)), Some(at(5000)), "past");
        assert_eq!(
            (occurrences.after(at(4999)), occurrences.after(at(5000))),
            (Some(at(5000)), None)
        );
        assert_eq!(occurrences.latest(at(5000), at(99_000), 7), (at(5000), 0));
    }

    #[test]
    fn a_schedule_that_cannot_be_meant_is_refused() {
        let at = Timestamp::from_millis;
        let refused = |change: &dyn Fn(&mut Schedule)| {
            let mut schedule = schedule(Timing::Every { period_ms: 60_000 });
            change(&mut schedule);
            check(&schedule, at(1_764_201_600_000)).expect_err("it is refused")
        };
        let told = refused(&|s| (s.starts, s.ends) = (Some(at(9000)), Some(at(5000))));
        assert!(told.contains("before it starts"), "{told}");
        let told = refused(&|s| {
            s.timing = Timing::Cron { pattern: "0 0 * * *".into(), timezone: "UTC".into() };
            (s.starts, s.ends) = (Some(at(9000)), Some(at(10_000)));
        });
        assert!(told.contains("no occurrence from its start, 1970-01-01T00:00:09"), "{told}");
        let told = refused(&|s| {
            s.timing = Timing::Once { at: at(1) };
            s.limit = std::num::NonZeroU64::new(1);
        });
        assert!(told.contains("due once"), "{told}");
        for ms in [60_000, 90_000] {
            let told = refused(&|s| s.jitter = Some(Duration::from_millis(ms)));
            assert!(told.contains("no less than the 60s between"), "{told}");
        }
        let told = refused(&|s| {
            let pattern = "0,10 3 * * *".into();
            s.timing = Timing::Cron { pattern, timezone: "Europe/Berlin".into() };
            s.jitter = Some(Duration::from_secs(900));
        });
        assert!(told.contains("900s is no less than the 600s"), "{told}");
        let mut fine = schedule(Timing::Every { period_ms: 60_000 });
        fine.jitter = Some(Duration::from_millis(59_999));
        assert!(check(&fine, at(0)).is_ok());
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
