//! Cron patterns as crontab(5) has them, on top of the `cron` crate, whose dialect is another.
//!
//! Five fields: minute, hour, day of month, month, day of week; or six, with seconds in front.
//! Sunday is 0 and 7. Where both day fields are restricted, a day that matches either is one.
//! The nicknames from `@yearly` to `@hourly`.
//!
//! Occurrences are local times of a zone. Where clocks are set, a pattern with `*` or `*/n` as its
//! second, minute or hour comes at every real pass of what it says: an hour that is skipped brings
//! none, one that is there twice brings them twice. Any other comes once: what is skipped, at the
//! first instant after that; what is there twice, the first time.
//!
//! The crate wants seconds first, counts Sunday as 1, and takes a day only where both fields
//! match. So each field is read and checked here, and given to it as a list of numbers, or names
//! for weekdays; and where both day fields are restricted there are two schedules, one for each,
//! of which the earlier occurrence comes next.

use std::collections::BTreeSet;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use shiftwork_adapter::Timestamp;

use super::zone::{Local, Zone};

/// A cron pattern.
#[derive(Clone, Debug)]
pub(crate) struct CronExpr {
    /// What its fields stand for, for people.
    pub(super) fields: Fields,
    /// It comes at every real pass of what it says.
    is_interval: bool,
    by_day_of_month: Option<cron::Schedule>,
    by_day_of_week: Option<cron::Schedule>,
}

/// The values that the fields of a pattern stand for.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) seconds: BTreeSet<u8>,
    pub(super) minutes: BTreeSet<u8>,
    pub(super) hours: BTreeSet<u8>,
    /// `None`: the weekdays alone decide, or all days are.
    pub(super) days: Option<BTreeSet<u8>>,
    pub(super) months: BTreeSet<u8>,
    /// From 0, which is Sunday, to 6; `None`: the days of the month alone decide, or all days are.
    pub(super) weekdays: Option<BTreeSet<u8>>,
}

/// What may stand in a field.
struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", min: 0, max: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", min: 0, max: 59, names: &[] };
const HOUR: Field = Field { name: "hour", min: 0, max: 23, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day of month", min: 1, max: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// From 0 to 7: Sunday is both.
const DAY_OF_WEEK: Field = Field {
    name: "day of week",
    min: 0,
    max: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The most days a month can have, February in a leap year.
const LONGEST: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl CronExpr {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence that names the field, and a line that points at it.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        Self::read(pattern).map_err(|fault| fault.told(pattern))
    }

    fn read(pattern: &str) -> Result<Self, Fault<'_>> {
        let trimmed = pattern.trim();
        let fault = |what: String| Fault { what, at: trimmed };
        if trimmed.eq_ignore_ascii_case("@reboot") {
            return Err(fault("@reboot is no time; run what a start needs where it starts".into()));
        }
        let nickname = NICKNAMES.iter().find(|(name, _)| trimmed.eq_ignore_ascii_case(name));
        if trimmed.starts_with('@') && nickname.is_none() {
            let names: Vec<_> = NICKNAMES.iter().map(|(name, _)| *name).collect();
            return Err(fault(format!("no such nickname; there are {}", names.join(", "))));
        }
        let fields: Vec<_> =
            nickname.map_or(trimmed, |(_, fields)| *fields).split_whitespace().collect();
        let [second, minute, hour, day, month, weekday] = match fields[..] {
            [minute, hour, day, month, weekday] => ["0", minute, hour, day, month, weekday],
            [second, minute, hour, day, month, weekday] => {
                [second, minute, hour, day, month, weekday]
            }
            _ => {
                return Err(fault(format!(
                    "it has {} fields; use five (minute, hour, day of month, month, day of week), \
                     or six with seconds in front",
                    fields.len()
                )));
            }
        };
        let time = [SECOND.read(second)?, MINUTE.read(minute)?, HOUR.read(hour)?];
        let months = MONTH.read(month)?;
        let days = DAY_OF_MONTH.read(day)?;
        let weekdays: BTreeSet<u8> =
            DAY_OF_WEEK.read(weekday)?.into_iter().map(|day| day % 7).collect();
        let (any_day, any_weekday) = (is_any(day), is_any(weekday));

        let [seconds, minutes, hours] = time.each_ref().map(list);
        let schedule = |days: &str, weekdays: &str| {
            let text = format!("{seconds} {minutes} {hours} {days} {} {weekdays}", list(&months));
            cron::Schedule::from_str(&text)
                .map_err(|error| fault(format!("it cannot be read: {error}")))
        };
        // A day of month that no month has leaves the weekdays, or nothing.
        let day_exists = months.iter().any(|&month| {
            days.first().is_some_and(|&first| first <= LONGEST[usize::from(month) - 1])
        });
        let names: Vec<_> =
            weekdays.iter().map(|&day| DAY_OF_WEEK.names[usize::from(day)]).collect();
        // Of five fields, the second is stated by nobody.
        let stated = if fields.len() == 6 { &[second, minute, hour][..] } else { &[minute, hour] };
        let by_days = (day_exists && (any_weekday || !any_day))
            .then(|| schedule(&list(&days), "*"))
            .transpose()?;
        let by_weekdays = (!any_weekday).then(|| schedule("*", &names.join(","))).transpose()?;
        if by_days.is_none() && by_weekdays.is_none() {
            let what = format!("it never comes: no month of {month:?} has a day {day:?}");
            return Err(Fault { what, at: day });
        }
        let [seconds, minutes, hours] = time;
        Ok(Self {
            fields: Fields {
                seconds,
                minutes,
                hours,
                days: (by_days.is_some() && !any_day).then_some(days),
                months,
                weekdays: (!any_weekday).then_some(weekdays),
            },
            is_interval: stated.iter().any(|field| field.starts_with('*')),
            by_day_of_month: by_days,
            by_day_of_week: by_weekdays,
        })
    }

    /// The first occurrence after `instant`, in a zone.
    pub(crate) fn after(&self, instant: Timestamp, zone: &Zone) -> Option<Timestamp> {
        if self.is_interval { self.next_pass(instant, zone) } else { self.next_once(instant, zone) }
    }

    /// Each stretch between two settings of the clocks is looked through as it is.
    fn next_pass(&self, instant: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let mut stretch = zone.stretch(instant)?;
        let mut from = stretch.local(instant);
        loop {
            if let Some(next) = stretch.instant(self.next(from)?) {
                return Some(next);
            }
            let begin = stretch.end?;
            stretch = zone.stretch(begin)?;
            // Its first instant counts.
            from = Local(stretch.local(begin).0 - 1);
        }
    }

    /// Later local times have no earlier first instants; several that are skipped have the same.
    fn next_once(&self, instant: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let mut from = zone.local(instant)?;
        loop {
            from = self.next(from)?;
            let first = zone.first(from)?;
            if first > instant {
                return Some(first);
            }
        }
    }

    /// The first local time after this one that the pattern says.
    fn next(&self, from: Local) -> Option<Local> {
        let from = DateTime::<Utc>::from_timestamp_millis(from.0)?;
        [&self.by_day_of_month, &self.by_day_of_week]
            .into_iter()
            .flatten()
            .filter_map(|schedule| schedule.after(&from).next())
            .min()
            .map(|next| Local(next.timestamp_millis()))
    }
}

impl Field {
    /// The values that a field stands for.
    fn read<'a>(&self, text: &'a str) -> Result<BTreeSet<u8>, Fault<'a>> {
        let mut values = BTreeSet::new();
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(step)),
                None => (part, None),
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (self.min, self.max),
                Some((first, last)) => (self.value(first, text)?, self.value(last, text)?),
                None if step.is_some() => {
                    let why = "a step follows * or a range, as in */15 or 8-18/2";
                    return Err(self.fault(text, part, why));
                }
                None => {
                    let value = self.value(range, text)?;
                    (value, value)
                }
            };
            if first > last {
                let why = "a range goes from the smaller to the larger value";
                return Err(self.fault(text, range, why));
            }
            let size = match step.map(str::parse::<u8>) {
                None => 1,
                Some(Ok(size @ 1..)) => size,
                Some(_) => {
                    let why = "a step is a number of at least 1";
                    return Err(self.fault(text, step.unwrap_or(part), why));
                }
            };
            values.extend((first..=last).step_by(size.into()));
        }
        Ok(values)
    }

    fn value<'a>(&self, text: &'a str, whole: &str) -> Result<u8, Fault<'a>> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        // Names count from the smallest value.
        let value = match named {
            Some(position) => u8::try_from(position).ok().map(|position| position + self.min),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            None => None,
        };
        value
            .filter(|value| (self.min..=self.max).contains(value))
            .ok_or_else(|| self.fault(whole, text, &format!("{text:?} is none")))
    }

    fn fault<'a>(&self, text: &str, at: &'a str, why: &str) -> Fault<'a> {
        let Self { name, min, max, names } = self;
        let names = match names {
            [first, .., last] => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        let what = format!(
            "{name} is {text:?}, and {why}; use {min} to {max}{names}, *, ranges, lists, steps"
        );
        Fault { what, at }
    }
}

/// What is wrong with a pattern, and the part of it that is.
struct Fault<'a> {
    what: String,
    at: &'a str,
}

impl Fault<'_> {
    /// In a sentence, and in two lines that point at the place.
    fn told(&self, pattern: &str) -> String {
        let what = format!("the cron pattern {pattern:?}: {}", self.what);
        // The part is one of the pattern, but where a nickname stands for it.
        let begin = (self.at.as_ptr() as usize).wrapping_sub(pattern.as_ptr() as usize);
        let Some(before) = pattern.get(..begin) else { return what };
        let shown: String = pattern.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let carets = "^".repeat(self.at.chars().count().max(1));
        format!(
            "{what}\n    {}\n    {}{carets}",
            shown.trim_end(),
            " ".repeat(before.chars().count())
        )
    }
}

/// Whether a day field leaves the choice of days to the other. crontab(5) says "aren't *"; of a
/// stepped `*/2`, programs differ: here it restricts, as it reads.
fn is_any(field: &str) -> bool {
    field == "*"
}

fn list(values: &BTreeSet<u8>) -> String {
    values.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc() -> Zone {
        Zone::named("UTC").unwrap()
    }

    fn next(pattern: &str, from: &str) -> Vec<String> {
        let expr = CronExpr::parse(pattern).unwrap();
        let from: DateTime<Utc> = from.parse().unwrap();
        let mut instant = Timestamp::from_millis(from.timestamp_millis());
        (0..3)
            .map_while(|_| {
                instant = expr.after(instant, &utc())?;
                Some(instant.to_string().replace(":00.000Z", ""))
            })
            .collect()
    }

    // 2026-11-22 is a Sunday.
    const FROM: &str = "2026-11-22T05:28:53Z";

    #[test]
    fn five_fields_mean_what_crontab_says() {
        for (pattern, expected) in [
            ("0 2 * * *", ["2026-11-23T02:00", "2026-11-24T02:00", "2026-11-25T02:00"]),
            ("0 */6 * * *", ["2026-11-22T06:00", "2026-11-22T12:00", "2026-11-22T18:00"]),
            ("*/15 * * * *", ["2026-11-22T05:30", "2026-11-22T05:45", "2026-11-22T06:00"]),
            ("0 0 * * 0", ["2026-11-29T00:00", "2026-12-06T00:00", "2026-12-13T00:00"]),
            ("0 0 * * 7", ["2026-11-29T00:00", "2026-12-06T00:00", "2026-12-13T00:00"]),
            ("0 0 * * 5-7", ["2026-11-27T00:00", "2026-11-28T00:00", "2026-11-29T00:00"]),
            ("0 0 * * mon", ["2026-11-23T00:00", "2026-11-30T00:00", "2026-12-07T00:00"]),
            ("0 9 1 JAN,jul *", ["2027-01-01T09:00", "2027-07-01T09:00", "2028-01-01T09:00"]),
            ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]),
            ("@weekly", ["2026-11-29T00:00", "2026-12-06T00:00", "2026-12-13T00:00"]),
            ("0 8-18/5 * * *", ["2026-11-22T08:00", "2026-11-22T13:00", "2026-11-22T18:00"]),
        ] {
            assert_eq!(next(pattern, FROM), expected, "{pattern}");
        }
    }

    #[test]
    fn a_day_that_matches_either_day_field_is_one() {
        assert_eq!(
            next("0 0 13 * 5", FROM),
            ["2026-11-27T00:00", "2026-12-04T00:00", "2026-12-11T00:00"]
        );
        assert_eq!(
            next("0 0 13 * 5", "2026-12-11T12:00:00Z"),
            ["2026-12-13T00:00", "2026-12-18T00:00", "2026-12-25T00:00"]
        );
    }

    #[test]
    fn six_fields_have_seconds_in_front() {
        let expr = CronExpr::parse("*/20 * * * * *").unwrap();
        let first = expr.after(Timestamp::from_millis(1_000), &utc()).unwrap();
        assert_eq!(first, Timestamp::from_millis(20_000));
        assert_eq!(expr.after(first, &utc()), Some(Timestamp::from_millis(40_000)));
    }

    #[test]
    fn a_refusal_names_the_field_what_was_seen_and_what_is_allowed() {
        assert_eq!(
            CronExpr::parse("0 25 * * *").unwrap_err(),
            "the cron pattern \"0 25 * * *\": hour is \"25\", and \"25\" is none; use 0 to 23, *, \
             ranges, lists, steps\n    0 25 * * *\n      ^^"
        );
    }

    #[test]
    fn a_refusal_points_at_what_is_wrong() {
        for (pattern, carets) in [
            ("0 25 * * *", "  ^^"),
            ("  5,61 * * * *", "    ^^"),
            ("0 0 * * mon,fry", "            ^^^"),
            ("0 18-8 * * *", "  ^^^^"),
            ("*/0 * * * *", "  ^"),
            ("0 5/15 * * *", "  ^^^^"),
            ("1, * * * *", "  ^"),
            ("0 0 30 2 *", "    ^^"),
            ("* * * *", "^^^^^^^"),
            ("@reboot", "^^^^^^^"),
        ] {
            let told = CronExpr::parse(pattern).unwrap_err();
            let lines: Vec<_> = told.lines().skip(1).collect();
            assert_eq!(lines, [format!("    {pattern}"), format!("    {carets}")], "{told}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in [
            "",
            "* * * *",
            "* * * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 0 *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "*/ * * * *",
            "5-1 * * * *",
            "1, * * * *",
            ", * * * *",
            "5/15 * * * *",
            "a * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "* * * foo *",
            "@reboot",
            "@fortnightly",
            "0 0 30 2 *",
            "0 0 31 2,4,6 *",
            "L * * * *",
            "? * * * *",
            "* * L * *",
            "* * * * 5#2",
            "99999999999 * * * *",
        ] {
            assert!(CronExpr::parse(pattern).is_err(), "{pattern:?} was accepted");
        }
    }

    #[test]
    fn a_day_that_never_comes_leaves_the_weekday() {
        assert_eq!(
            next("0 0 30 2 1", FROM),
            ["2027-02-01T00:00", "2027-02-08T00:00", "2027-02-15T00:00"]
        );
    }
}
