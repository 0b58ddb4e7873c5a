//! Durations as people write them, `30s` or `1h 30m`: the same as in the environment.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;

const FORM: &str = "write a length of time with its unit, such as \"500ms\", \"30s\" or \"1h 30m\"";

/// Reads a duration of a millisecond or more.
///
/// # Errors
/// What is wrong with `text`; the caller adds what it belongs to.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= Duration::from_millis(1) => Ok(duration),
        Ok(_) => Err(format!("is {text:?}, which is less than a millisecond; {FORM}")),
        Err(_) => Err(format!("is {text:?}; {FORM}")),
    }
}

/// The duration as an expression.
pub(crate) fn tokens(duration: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        for (text, ms) in [("30s", 30_000), ("250ms", 250), ("1h 30m", 5_400_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        for text in ["", "30", "0", "0s", "10us", "soon", "-1s", "99999999999999999999s"] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(text) && message.contains("\"30s\""), "{message}");
        }
    }
}
