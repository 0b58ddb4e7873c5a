//! Cron patterns for programs to look at: what one means, in words, and when it comes.

use std::collections::BTreeSet;
use std::fmt;

use shiftwork_adapter::Timestamp;

use super::cron::{CronExpr, Fields};
use super::{Cron, Zone};
use crate::error::{Error, Result};

/// A cron pattern, to look at before it is used: what it means, and when it comes.
///
/// Schedules take patterns as text. This is for what shows them to people, or asks people for one.
///
/// # Example
/// ```
/// use shiftwork::{CronExpression, Timestamp};
///
/// let nightly = CronExpression::new("30 2 * * mon-fri")?.timezone("Europe/Berlin")?;
/// assert_eq!(nightly.to_string(), "at 02:30 on Monday to Friday (Europe/Berlin)");
/// let next: Vec<_> = nightly.after(Timestamp::EPOCH).take(2).collect();
/// assert_eq!(next[0].to_string(), "1970-01-01T01:30:00.000Z");
///
/// let wrong = CronExpression::new("0 25 * * *").unwrap_err().to_string();
/// assert!(wrong.ends_with("    0 25 * * *\n      ^^"));
/// # Ok::<_, shiftwork::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CronExpression {
    cron: Cron,
    zone: String,
}

impl CronExpression {
    /// Reads a pattern of five fields as in crontab(5), of six with seconds in front, or a nickname
    /// such as `@daily`. In UTC.
    ///
    /// # Errors
    /// What is wrong with it is [`Invalid`](crate::ErrorKind::Invalid), with the field, what is
    /// allowed there, and a line that points at the place.
    pub fn new(pattern: &str) -> Result<Self> {
        let pattern = CronExpr::parse(pattern).map_err(Error::invalid)?;
        let zone = Zone::named("UTC").map_err(Error::invalid)?;
        Ok(Self { cron: Cron { pattern, zone }, zone: "UTC".into() })
    }

    /// The same in another time zone, by its IANA name.
    ///
    /// # Errors
    /// A zone that there is not is [`Invalid`](crate::ErrorKind::Invalid).
    pub fn timezone(mut self, name: &str) -> Result<Self> {
        self.cron.zone = Zone::named(name).map_err(Error::invalid)?;
        self.zone = name.to_owned();
        Ok(self)
    }

    /// Its occurrences after an instant, strictly increasing. From each of them, the same follow.
    pub fn after(&self, instant: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.cron.after(instant), |at| self.cron.after(*at))
    }
}

/// What it means, in words: `every 15 minutes (UTC)`.
impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", describe(&self.cron.pattern.fields), self.zone)
    }
}

/// How many times of a day are listed one by one.
const LISTED: usize = 6;

fn describe(fields: &Fields) -> String {
    let Fields { seconds, minutes, hours, days, months, weekdays } = fields;
    let times = seconds.len() * minutes.len() * hours.len();
    let is_listed = times <= LISTED;
    let mut text = if is_listed {
        let mut all = Vec::new();
        for hour in hours {
            for minute in minutes {
                for second in seconds {
                    let second = if *seconds == BTreeSet::from([0]) {
                        String::new()
                    } else {
                        format!(":{second:02}")
                    };
                    all.push(format!("{hour:02}:{minute:02}{second}"));
                }
            }
        }
        format!("at {}", joined(&all))
    } else {
        passing(seconds, minutes, hours)
    };
    let all_months = months.len() == 12;
    let days = days.as_ref().map(|days| {
        let days = numbers(days, 1);
        let of = if all_months { " of every month" } else { "" };
        format!("on day{} {days}{of}", if days.contains(' ') { "s" } else { "" })
    });
    let weekdays = weekdays.as_ref().map(|days| format!("on {}", names_of_days(days)));
    match (days, weekdays) {
        (Some(days), Some(weekdays)) => text += &format!(" {days} and {weekdays}"),
        (Some(one), None) | (None, Some(one)) => text += &format!(" {one}"),
        (None, None) if is_listed => text += " every day",
        (None, None) => {}
    }
    if !all_months {
        let names: Vec<_> =
            months.iter().map(|month| MONTHS[usize::from(*month) - 1].to_owned()).collect();
        text += &format!(" in {}", joined(&names));
    }
    text
}

/// Of times that are too many to list.
fn passing(seconds: &BTreeSet<u8>, minutes: &BTreeSet<u8>, hours: &BTreeSet<u8>) -> String {
    let zero = BTreeSet::from([0]);
    let of_hours = match every(hours, 24) {
        Some(1) => String::new(),
        Some(step) => format!(" of every {} hour", nth(step)),
        None if hours.len() == 1 => format!(" of the hour {}", numbers(hours, 2)),
        None => format!(" of the hours {}", numbers(hours, 2)),
    };
    let of_minutes = match every(minutes, 60) {
        Some(1) => of_hours.clone(),
        Some(step) => format!(" of every {} minute{of_hours}", nth(step)),
        None => format!(" of minute {}{}", numbers(minutes, 1), or_every_hour(&of_hours)),
    };
    if *seconds != zero {
        return match every(seconds, 60) {
            Some(1) => format!("every second{of_minutes}"),
            Some(step) => format!("every {step} seconds{of_minutes}"),
            None => {
                let of = if of_minutes.is_empty() { " of every minute" } else { &of_minutes };
                format!("at second {}{of}", numbers(seconds, 1))
            }
        };
    }
    match every(minutes, 60) {
        Some(1) => format!("every minute{of_hours}"),
        Some(step) => format!("every {step} minutes{of_hours}"),
        None if *minutes == zero => match every(hours, 24) {
            Some(1) => "every hour".into(),
            Some(step) => format!("every {step} hours"),
            None => format!("at minute 0{of_hours}"),
        },
        None => format!("at minute {}{}", numbers(minutes, 1), or_every_hour(&of_hours)),
    }
}

fn or_every_hour(of_hours: &str) -> &str {
    if of_hours.is_empty() { " of every hour" } else { of_hours }
}

/// How far apart they are, if that is the same all around: from 0 on, and over the end.
fn every(values: &BTreeSet<u8>, all: u8) -> Option<u8> {
    let step = all / u8::try_from(values.len()).ok()?;
    let is_even = step < all && all.is_multiple_of(step) && values.len() == usize::from(all / step);
    (is_even && values.iter().all(|value| value.is_multiple_of(step))).then_some(step)
}

fn nth(step: u8) -> String {
    let ending = match step {
        2 => "nd",
        3 => "rd",
        _ => "th",
    };
    format!("{step}{ending}")
}

/// A list, or a range where there are three in a row or more.
fn numbers(values: &BTreeSet<u8>, digits: usize) -> String {
    let shown = |value: &u8| format!("{value:0digits$}");
    match (values.first(), values.last()) {
        (Some(first), Some(last)) if values.len() > 2 && is_range(values) => {
            format!("{} to {}", shown(first), shown(last))
        }
        _ => joined(&values.iter().map(shown).collect::<Vec<_>>()),
    }
}

fn names_of_days(days: &BTreeSet<u8>) -> String {
    // The week begins on Monday, so that a weekend is one piece.
    let days: BTreeSet<u8> = days.iter().map(|day| (day + 6) % 7).collect();
    let name = |day: &u8| DAYS[usize::from(*day)].to_owned();
    match (days.first(), days.last()) {
        (Some(first), Some(last)) if days.len() > 2 && is_range(&days) => {
            format!("{} to {}", name(first), name(last))
        }
        _ => joined(&days.iter().map(name).collect::<Vec<_>>()),
    }
}

fn is_range(values: &BTreeSet<u8>) -> bool {
    values.iter().zip(values.iter().skip(1)).all(|(one, next)| one + 1 == *next)
}

fn joined(all: &[String]) -> String {
    match all {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_told_in_words() {
        for (pattern, words) in [
            ("0 2 * * *", "at 02:00 every day"),
            ("0 */6 * * *", "at 00:00, 06:00, 12:00 and 18:00 every day"),
            ("0 */2 * * *", "every 2 hours"),
            ("0 0 * * 0", "at 00:00 on Sunday"),
            ("*/15 * * * *", "every 15 minutes"),
            ("* * * * *", "every minute"),
            ("@hourly", "every hour"),
            ("@yearly", "at 00:00 on day 1 in January"),
            ("5 * * * *", "at minute 5 of every hour"),
            ("*/7 * * * *", "at minute 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
            ("*/10 9-17 * * 1-5", "every 10 minutes of the hours 09 to 17 on Monday to Friday"),
            ("0 9-17 * * *", "at minute 0 of the hours 09 to 17"),
            ("30 8,12 1,15 * *", "at 08:30 and 12:30 on days 1 and 15 of every month"),
            ("0 0 13 * 5", "at 00:00 on day 13 of every month and on Friday"),
            ("0 0 * 6-8 6,7", "at 00:00 on Saturday and Sunday in June, July and August"),
            ("*/20 * * * * *", "every 20 seconds"),
            ("30 0 2 * * *", "at 02:00:30 every day"),
            ("* * 3 * * *", "every second of the hour 03"),
            ("5 */15 * * * *", "at second 5 of every 15th minute"),
        ] {
            let told = CronExpression::new(pattern).unwrap().to_string();
            assert_eq!(told, format!("{words} (UTC)"), "{pattern}");
        }
    }
}
