//! When a row was deleted, as its column says it.

use shiftwork::Timestamp;

use super::value::Value;

/// How a column holds a point in time: SQLite has no type for one.
///
/// Of each only what is between 1973-03-03T09:46:40Z and 5138-11-16T09:46:40Z, the hundred
/// millionth and the hundred thousand millionth second since 1970, is taken for a time. So seconds
/// that are read as milliseconds are no times, and are not taken for data of 1970; neither is a 0
/// or a year 1 that stands for "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeFormat {
    /// Seconds since 1970-01-01T00:00:00Z, a whole number or one with a fraction: what
    /// `unixepoch()` gives.
    UnixSeconds,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    UnixMillis,
    /// A date and a time as text, `2026-05-27 10:00:00` as `datetime()` and `CURRENT_TIMESTAMP`
    /// give it or `2026-05-27T10:00:00Z` as in RFC 3339, with or without a fraction of the second.
    /// Without an offset such as `+02:00` it is UTC. Both may stand in one column.
    Text,
}

impl TimeFormat {
    /// The condition that a column holds a time. It may be NULL where it does not.
    pub(super) fn readable(self, column: &str) -> String {
        match self {
            Self::UnixSeconds => number(column, "100000000", "100000000000"),
            Self::UnixMillis => number(column, "100000000000", "100000000000000"),
            // What strftime reads besides is no point in time, or not the one that is meant: a
            // date alone, a time alone, which would be of the year 2000, a bare number, which would
            // be a Julian day, and "now".
            Self::Text => format!(
                "typeof({column}) = 'text' AND {column} GLOB \
                 '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][ T][0-9][0-9]:[0-9][0-9]*' \
                 AND {utc} >= '1973-03-03T09:46:40.000Z' AND {utc} < '5138-11-16T09:46:40.000Z'",
                utc = utc(column)
            ),
        }
    }

    /// The condition that a column holds a time before that of [`parameter`](Self::parameter),
    /// bound as `?1`.
    ///
    /// It compares the column as it is, for an index on it to be of use. Texts of several forms are
    /// not in the order of time, but the local times of one instant are less than a day apart: what
    /// is before `?1` is as text before that of a day later.
    pub(super) fn before(self, column: &str) -> String {
        let readable = self.readable(column);
        match self {
            Self::UnixSeconds | Self::UnixMillis => format!("{column} < ?1 AND {readable}"),
            Self::Text => format!(
                "{column} < strftime('{RFC_3339}', ?1, '+1 day') AND {readable} AND {} < ?1",
                utc(column)
            ),
        }
    }

    pub(super) fn parameter(self, time: Timestamp) -> Value {
        match self {
            // A whole second is exact in it, and no fraction comes near one.
            Self::UnixSeconds => Value::Real(time.as_millis() as f64 / 1000.0),
            Self::UnixMillis => Value::Integer(time.as_millis()),
            Self::Text => Value::Text(time.to_string()),
        }
    }

    /// What a column that holds none should hold, for people.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::UnixSeconds => "a number of seconds since 1970, between the years 1973 and 5138",
            Self::UnixMillis => {
                "a number of milliseconds since 1970, between the years 1973 and 5138"
            }
            Self::Text => {
                "a date and a time as text, such as 2026-05-27T10:00:00Z, between the years 1973 \
                 and 5138"
            }
        }
    }
}

/// What [`Timestamp`] prints.
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%fZ";

/// A text as [`Timestamp`] prints it, or NULL. These are in the order of time.
fn utc(column: &str) -> String {
    format!("strftime('{RFC_3339}', {column})")
}

/// The type is asked for because texts are greater than any number, and because in a column of
/// texts a number is compared as text.
fn number(column: &str, from: &str, to: &str) -> String {
    format!("{column} >= {from} AND {column} < {to} AND typeof({column}) IN ('integer', 'real')")
}
