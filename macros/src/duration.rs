//! Durations as people write them: `30s`, `1h 30m`.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;

/// What a message says is allowed.
pub(crate) const FORM: &str =
    "a number with a unit, ms, s, m, h or d, such as \"30s\" or \"1h 30m\"";

/// Reads a duration of more than nothing.
///
/// # Errors
/// What is wrong with `text`; the caller adds what it belongs to.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(format!("is empty; write {FORM}"));
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, behind) = split_while(rest, |c| c.is_ascii_digit());
        let (unit, behind) = split_while(behind.trim_start(), char::is_alphabetic);
        if number.is_empty() {
            return Err(format!("is {text:?}; write {FORM}"));
        }
        let Some(unit_ms) = milliseconds(unit) else {
            return Err(if unit.is_empty() {
                format!("is {text:?}, where {number:?} has no unit; write {FORM}")
            } else {
                format!("is {text:?}, and {unit:?} is no unit; write {FORM}")
            });
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
        total = part
            .and_then(|part| total.checked_add(Duration::from_millis(part)))
            .ok_or_else(|| format!("is {text:?}, which is longer than can be counted"))?;
        rest = behind.trim_start();
    }
    if total.is_zero() {
        return Err("is zero; write more than nothing, or leave it out".to_owned());
    }
    Ok(total)
}

/// The duration as an expression.
pub(crate) fn tokens(duration: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanoseconds))
}

fn milliseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    })
}

fn split_while(text: &str, accept: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !accept(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        for (text, ms) in [
            ("30s", 30_000),
            ("250ms", 250),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            (" 2 d ", 172_800_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        for (text, why) in [
            ("", "is empty"),
            ("30", "\"30\" has no unit"),
            ("1h 30", "\"30\" has no unit"),
            ("30 sec", "\"sec\" is no unit"),
            ("5M", "\"M\" is no unit"),
            ("soon", "write a number with a unit"),
            ("1.5s", "\"1\" has no unit"),
            ("-1s", "write a number with a unit"),
            ("0s", "is zero"),
            ("99999999999999999999s", "longer than can be counted"),
            ("99999999999999999d", "longer than can be counted"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(why), "{text:?}: {message}");
        }
    }
}
