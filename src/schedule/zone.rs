//! Time zones: which instant a local time is, and which local time an instant.
//!
//! Local times are milliseconds as if they were UTC's: so they can be computed with like instants,
//! and nothing is missing or there twice among them. Where clocks are set, that is not so of real
//! ones, and [`Zone`] says what then.
//!
//! Zones are those of the system's database, or, where there is none, of the one that is built in.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use shiftwork_adapter::Timestamp;

use crate::nearest::did_you_mean;

/// A time zone, by its IANA name.
#[derive(Clone, Debug)]
pub(crate) struct Zone(TimeZone);

/// A local time, in milliseconds as if it were UTC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Local(pub(crate) i64);

/// A stretch in which clocks are not set.
pub(crate) struct Stretch {
    offset_ms: i64,
    /// The first instant after it; `None`: it never ends.
    pub(crate) end: Option<Timestamp>,
}

impl Zone {
    /// The zone of this name.
    ///
    /// # Errors
    /// That there is none, and what is meant, if that can be guessed.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        // Names of the database alone: no rules in POSIX form, and not the system's own zone, which
        // differs from machine to machine.
        match jiff::tz::db().get(name) {
            Ok(zone) => Ok(Self(zone)),
            Err(_) => {
                let all: Vec<_> =
                    jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
                Err(format!(
                    "there is no time zone {name:?}; use an IANA name such as Europe/Berlin or \
                     UTC{}",
                    did_you_mean(name, all.iter().map(String::as_str))
                ))
            }
        }
    }

    /// The local time at an instant.
    pub(crate) fn local(&self, at: Timestamp) -> Option<Local> {
        Some(self.stretch(at)?.local(at))
    }

    /// The first instant that has this local time; of one that is skipped, the first instant after
    /// what is skipped.
    pub(crate) fn first(&self, local: Local) -> Option<Timestamp> {
        let clock = civil(local)?;
        match self.0.to_ambiguous_timestamp(clock).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some(at_offset(local, offset)),
            AmbiguousOffset::Fold { before, .. } => Some(at_offset(local, before)),
            AmbiguousOffset::Gap { before, .. } => {
                // As late after the gap's begin as the local time is in it.
                let later = at_offset(local, before) + Duration::from_millis(1);
                let set = self.0.preceding(instant(later)?).next()?;
                Some(Timestamp::from_millis(set.timestamp().as_millisecond()))
            }
        }
    }

    /// The stretch in which an instant is.
    pub(crate) fn stretch(&self, at: Timestamp) -> Option<Stretch> {
        let at = instant(at)?;
        let end = self.0.following(at).next();
        let end = end.map(|set| Timestamp::from_millis(set.timestamp().as_millisecond()));
        Some(Stretch { offset_ms: ms(self.0.to_offset(at)), end })
    }
}

impl Stretch {
    /// The local time at an instant of it.
    pub(crate) fn local(&self, at: Timestamp) -> Local {
        Local(at.as_millis().saturating_add(self.offset_ms))
    }

    /// The instant of a local time, if that is in it.
    pub(crate) fn instant(&self, local: Local) -> Option<Timestamp> {
        let at = Timestamp::from_millis(local.0.saturating_sub(self.offset_ms));
        self.end.is_none_or(|end| at < end).then_some(at)
    }
}

fn ms(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * 1000
}

fn at_offset(local: Local, offset: Offset) -> Timestamp {
    Timestamp::from_millis(local.0.saturating_sub(ms(offset)))
}

/// Reads an instant, as RFC 3339 has it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_instant(text: &str) -> Result<Timestamp, String> {
    let instant: jiff::Timestamp = text.trim().parse().map_err(|_| {
        format!("is {text:?}, which is no instant; write it as in \"2026-12-01T00:00:00Z\"")
    })?;
    Ok(Timestamp::from_millis(instant.as_millisecond()))
}

fn instant(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(at.as_millis()).ok()
}

fn civil(local: Local) -> Option<DateTime> {
    let as_utc = jiff::Timestamp::from_millisecond(local.0).ok()?;
    Some(Offset::UTC.to_datetime(as_utc))
}

#[cfg(test)]
mod tests {
    use super::super::{Cron, cron::CronExpr};
    use super::*;

    /// The next two occurrences after an instant, of a pattern in a zone whose rules are those built
    /// in, whatever the machine has.
    fn next(zone: &str, pattern: &str, from: &str) -> [String; 2] {
        let zone = Zone(jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap());
        let cron = Cron { pattern: CronExpr::parse(pattern).unwrap(), zone };
        let from: jiff::Timestamp = from.parse().unwrap();
        let first = cron.after(Timestamp::from_millis(from.as_millisecond())).unwrap();
        let second = cron.after(first).unwrap();
        [first, second].map(|at| at.to_string().replace(":00.000Z", "Z"))
    }

    #[test]
    fn occurrences_where_clocks_are_set_are_those_counted_by_hand() {
        for (zone, pattern, from, expected) in [
            // On 8 March 2026 at 2:00, an hour is skipped; on 1 November at 2:00, one comes twice.
            (
                "America/New_York",
                "30 2 * * *",
                "2026-03-07T12:00:00Z",
                ["2026-03-08T07:00Z", "2026-03-09T06:30Z"],
            ),
            (
                "America/New_York",
                "*/30 2 * * *",
                "2026-03-07T12:00:00Z",
                ["2026-03-09T06:00Z", "2026-03-09T06:30Z"],
            ),
            (
                "America/New_York",
                "30 1 * * *",
                "2026-11-01T00:00:00Z",
                ["2026-11-01T05:30Z", "2026-11-02T06:30Z"],
            ),
            (
                "America/New_York",
                "0 * * * *",
                "2026-11-01T04:30:00Z",
                ["2026-11-01T05:00Z", "2026-11-01T06:00Z"],
            ),
            // In the second of the two hours, the first is over.
            (
                "America/New_York",
                "30 1 * * *",
                "2026-11-01T06:10:00Z",
                ["2026-11-02T06:30Z", "2026-11-03T06:30Z"],
            ),
            // 29 March at 2:00, and 25 October at 3:00.
            (
                "Europe/Berlin",
                "30 2 * * *",
                "2026-03-28T12:00:00Z",
                ["2026-03-29T01:00Z", "2026-03-30T00:30Z"],
            ),
            // What is skipped together comes together, and that is once.
            (
                "Europe/Berlin",
                "15,45 2 * * *",
                "2026-03-28T12:00:00Z",
                ["2026-03-29T01:00Z", "2026-03-30T00:15Z"],
            ),
            (
                "Europe/Berlin",
                "30 2 * * *",
                "2026-10-24T12:00:00Z",
                ["2026-10-25T00:30Z", "2026-10-26T01:30Z"],
            ),
            // 6 September at 0:00: midnight is skipped; 5 April at 0:00: the hour before comes twice.
            (
                "America/Santiago",
                "0 0 * * *",
                "2026-09-05T12:00:00Z",
                ["2026-09-06T04:00Z", "2026-09-07T03:00Z"],
            ),
            (
                "America/Santiago",
                "30 23 * * *",
                "2026-04-04T12:00:00Z",
                ["2026-04-05T02:30Z", "2026-04-06T03:30Z"],
            ),
            // Half an hour: 4 October at 2:00, and 5 April at 2:00.
            (
                "Australia/Lord_Howe",
                "15 2 * * *",
                "2026-10-03T12:00:00Z",
                ["2026-10-03T15:30Z", "2026-10-04T15:15Z"],
            ),
            (
                "Australia/Lord_Howe",
                "45 1 * * *",
                "2026-04-04T12:00:00Z",
                ["2026-04-04T14:45Z", "2026-04-05T15:15Z"],
            ),
            (
                "Australia/Lord_Howe",
                "*/15 * * * *",
                "2026-04-04T14:50:00Z",
                ["2026-04-04T15:00Z", "2026-04-04T15:15Z"],
            ),
            // There was no 30 December 2011.
            (
                "Pacific/Apia",
                "0 12 * * *",
                "2011-12-29T22:00:00Z",
                ["2011-12-30T10:00Z", "2011-12-30T22:00Z"],
            ),
            // Where winter is said to be the time that is set, and summer the one that is usual.
            (
                "Europe/Dublin",
                "30 1 * * *",
                "2026-03-28T12:00:00Z",
                ["2026-03-29T01:00Z", "2026-03-30T00:30Z"],
            ),
            (
                "Europe/Dublin",
                "30 1 * * *",
                "2026-10-24T12:00:00Z",
                ["2026-10-25T00:30Z", "2026-10-26T01:30Z"],
            ),
        ] {
            assert_eq!(next(zone, pattern, from), expected, "{pattern} in {zone} after {from}");
        }
    }

    #[test]
    fn a_zone_is_known_by_its_name_alone() {
        for name in ["UTC", "Etc/UTC", "Europe/Berlin", "america/new_york"] {
            assert!(Zone::named(name).is_ok(), "{name}");
        }
        for name in ["", "Berlin", "CEST-1", "Europe", "EST5EDT4", "+02:00", "local"] {
            let told = Zone::named(name).unwrap_err();
            assert!(told.contains("IANA"), "{told}");
        }
        assert!(Zone::named("Europe/Berlni").unwrap_err().contains("mean \"Europe/Berlin\"?"));
    }
}
