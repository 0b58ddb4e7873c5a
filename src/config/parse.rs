//! The kinds of value that a variable can have. Each says what is allowed where it is not.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::nearest::did_you_mean;

/// A kind of value: the value, or what is allowed.
pub(crate) type Parsed<T> = Result<T, String>;

pub(crate) fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("use true or false".into()),
    }
}

pub(crate) fn whole(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<u64> {
    move |text| {
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("use a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A length of time with its unit. A bare number is refused: whether it means seconds or
/// milliseconds is guessed wrong by half of all people. Zero needs no unit.
pub(crate) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        let parsed = if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) };
        parsed.ok().filter(|duration| range.contains(duration)).ok_or_else(|| {
            let [least, most] = [range.start(), range.end()].map(|d| humantime::format_duration(*d));
            let bare = text.parse::<f64>().is_ok();
            let unit = if bare { ", with its unit" } else { "" };
            format!("use a length of time such as 500ms, 30s, 15m or 1h 30m{unit}, from {least} to {most}")
        })
    }
}

/// As [`duration`], but a bare number is milliseconds.
pub(crate) fn duration_or_ms(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        let parsed = match text.parse::<u64>() {
            Ok(ms) => duration(range.clone())(&format!("{ms}ms")),
            Err(_) => duration(range.clone())(text),
        };
        parsed.map_err(|allowed| format!("{allowed}; a bare number is milliseconds"))
    }
}

pub(crate) fn bytes(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<u64> {
    move |text| {
        let folded = text.to_ascii_lowercase();
        let units = [("kib", 1 << 10), ("mib", 1 << 20), ("b", 1)];
        let unit = units.iter().find_map(|(unit, size)| Some((folded.strip_suffix(unit)?, *size)));
        let (number, size) = unit.unwrap_or((&folded, 1));
        let bytes = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(size));
        bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
            format!(
                "use a number of bytes such as 65536, 64KiB or 1MiB, from {} to {}",
                range.start(),
                range.end()
            )
        })
    }
}

pub(crate) fn choice<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        let folded = text.to_ascii_lowercase();
        let chosen = choices.iter().find(|(name, _)| *name == folded);
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let (last, others) = names.split_last().unwrap_or((&"nothing", &[]));
            format!(
                "use {} or {last}{}",
                others.join(", "),
                did_you_mean(&folded, names.iter().copied())
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn lengths_of_time_have_units() {
        let parse = duration(Duration::ZERO..=DAY);
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(
            parse("30").unwrap_err(),
            "use a length of time such as 500ms, 30s, 15m or 1h 30m, with its unit, from 0s to 1day"
        );
        assert!(parse("2days").is_err());
        assert!(parse("-1s").is_err());
        assert!(parse("soon").is_err());
        assert_eq!(duration_or_ms(Duration::ZERO..=DAY)("2000"), Ok(Duration::from_secs(2)));
        assert!(duration_or_ms(Duration::ZERO..=DAY)("99999999999999999999").is_err());
    }

    #[test]
    fn sizes_have_units_or_are_bytes() {
        let parse = bytes(1..=64 << 20);
        assert_eq!(parse("1MiB"), Ok(1 << 20));
        assert_eq!(parse("64 kib"), Ok(64 << 10));
        assert_eq!(parse("100"), Ok(100));
        assert!(parse("0").is_err());
        assert!(parse("1GB").is_err());
        assert!(parse("99999999999999999MiB").is_err());
    }

    #[test]
    fn a_choice_names_all_there_are_and_the_nearest() {
        let parse = choice(&[("web", 1), ("worker", 2), ("cron", 3)]);
        assert_eq!(parse("Worker"), Ok(2));
        assert_eq!(
            parse("workr").unwrap_err(),
            "use web, worker or cron; did you mean \"worker\"?"
        );
        assert_eq!(parse("x").unwrap_err(), "use web, worker or cron");
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(whole(1..=10)("10"), Ok(10));
        for text in ["0", "11", "-1", "1.5", "a", "99999999999999999999"] {
            assert_eq!(whole(1..=10)(text).unwrap_err(), "use a whole number from 1 to 10");
        }
    }
}
