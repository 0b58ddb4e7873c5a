//! The value of one option: sound, or refused with what is allowed.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Expr, ExprLit, Ident, Lit, LitStr, Path};

use crate::duration;
use crate::nearest::did_you_mean;
use crate::options::Key;

const PRIORITIES: &[(&str, &str)] = &[
    ("critical", "Critical"),
    ("high", "High"),
    ("normal", "Normal"),
    ("low", "Low"),
    ("bulk", "Bulk"),
];
const OVERLAPS: &[(&str, &str)] = &[("allow", "Allow"), ("skip", "Skip"), ("queue", "Queue")];
const MISFIRES: &[(&str, &str)] = &[("skip", "Skip"), ("once", "Once"), ("all", "All")];

/// The call on a `JobDefinition` that one option stands for.
///
/// # Errors
/// As with all functions here: what is wrong with the value, and what is allowed.
pub(crate) fn call(key: Key, value: &Expr) -> Result<TokenStream, String> {
    Ok(match key {
        Key::Queue => {
            let queue = name(key, value)?;
            quote!(.queue(#queue))
        }
        Key::Attempts => {
            let example = "attempts = 5 runs a job five times at most";
            let attempts: u32 = positive(key, value, example)?;
            quote!(.attempts(#attempts))
        }
        Key::Timeout => {
            let timeout = duration(key, value)?;
            quote!(.timeout(#timeout))
        }
        Key::Priority => {
            let priority = variant(key, value, PRIORITIES)?;
            quote!(.priority(::shiftwork::Priority::#priority))
        }
        Key::Backoff => {
            let backoff = backoff(&string(key, value)?.value())?;
            quote!(.backoff(#backoff))
        }
        Key::Cron => {
            let pattern = not_empty(key, value)?;
            quote!(.cron(#pattern))
        }
        Key::Every => {
            let period = duration(key, value)?;
            quote!(.every(#period))
        }
        Key::Timezone => {
            let timezone = not_empty(key, value)?;
            quote!(.timezone(#timezone))
        }
        Key::Starts => {
            let instant = not_empty(key, value)?;
            quote!(.starts(#instant))
        }
        Key::Ends => {
            let instant = not_empty(key, value)?;
            quote!(.ends(#instant))
        }
        Key::Limit => {
            let runs: u64 = positive(key, value, "limit = 10 makes ten jobs at most")?;
            quote!(.limit(#runs))
        }
        Key::Jitter => {
            let jitter = duration(key, value)?;
            quote!(.jitter(#jitter))
        }
        Key::MisfireWithin => {
            let window = duration(key, value)?;
            quote!(.misfire_within(#window))
        }
        Key::Overlap => {
            let overlap = variant(key, value, OVERLAPS)?;
            quote!(.overlap(::shiftwork::Overlap::#overlap))
        }
        Key::Misfire => {
            let misfire = variant(key, value, MISFIRES)?;
            quote!(.misfire(::shiftwork::Misfire::#misfire))
        }
        // What is made of these depends on the item.
        Key::Name | Key::Redact => TokenStream::new(),
    })
}

/// A name of a job or queue.
pub(crate) fn name(key: Key, value: &Expr) -> Result<LitStr, String> {
    let text = string(key, value)?;
    let what = if key == Key::Queue { "queue" } else { "job" };
    invalid_name(what, &text.value()).map_or(Ok(text), Err)
}

/// The path of a function.
pub(crate) fn path(key: Key, value: &Expr) -> Result<Path, String> {
    if let Expr::Path(path) = value {
        return Ok(path.path.clone());
    }
    Err(format!(
        "`{}` is the name of a function that takes a reference to the payload and returns a \
         String: {}",
        key.name(),
        key.example()
    ))
}

fn string(key: Key, value: &Expr) -> Result<LitStr, String> {
    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value {
        return Ok(text.clone());
    }
    Err(format!("`{}` is a string literal: {}", key.name(), key.example()))
}

fn not_empty(key: Key, value: &Expr) -> Result<LitStr, String> {
    let text = string(key, value)?;
    if text.value().trim().is_empty() {
        return Err(format!("`{}` is empty; write one as in {}", key.name(), key.example()));
    }
    Ok(text)
}

fn positive<N>(key: Key, value: &Expr, example: &str) -> Result<N, String>
where
    N: std::str::FromStr<Err: std::fmt::Display> + Default + PartialEq,
{
    let number = match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => {
            number.base10_parse().unwrap_or_default()
        }
        _ => N::default(),
    };
    if number == N::default() {
        return Err(format!("`{}` is a whole number, 1 or more: {example}", key.name()));
    }
    Ok(number)
}

fn duration(key: Key, value: &Expr) -> Result<TokenStream, String> {
    duration::parse(&string(key, value)?.value())
        .map(duration::tokens)
        .map_err(|fault| format!("`{}` {fault}", key.name()))
}

fn backoff(text: &str) -> Result<TokenStream, String> {
    let form = "write \"fixed(2s)\" for always the same wait, or \"exponential(500ms)\" for one \
                that doubles";
    let parts = text.trim().strip_suffix(')').and_then(|text| text.split_once('('));
    let Some((kind, wait)) = parts else { return Err(format!("`backoff` is {text:?}; {form}")) };
    let wait = duration::parse(wait)
        .map(duration::tokens)
        .map_err(|fault| format!("`backoff` is {text:?}, whose wait {fault}"))?;
    match kind.trim() {
        "fixed" => Ok(quote!(::shiftwork::Backoff::Fixed(#wait))),
        "exponential" => Ok(quote!(::shiftwork::Backoff::Exponential(#wait))),
        other => Err(format!("`backoff` cannot be {other:?}; {form}")),
    }
}

fn variant(key: Key, value: &Expr, variants: &[(&str, &str)]) -> Result<Ident, String> {
    let text = string(key, value)?.value();
    if let Some((_, variant)) = variants.iter().find(|(name, _)| *name == text) {
        return Ok(Ident::new(variant, Span::call_site()));
    }
    let names = variants.iter().map(|(name, _)| *name);
    let all = names.clone().collect::<Vec<_>>().join(", ");
    let hint = did_you_mean(&text, names);
    Err(format!("`{}` cannot be {text:?}; it is one of {all}{hint}", key.name()))
}

/// What is wrong with a name of a job or queue: the rule of `shiftwork`'s own names.
pub(crate) fn invalid_name(what: &str, name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fault = if name.is_empty() {
        "it is empty".to_owned()
    } else if let Some(other) = name.chars().find(|c| !plain(*c)) {
        format!("it contains {other:?}")
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        format!("it starts with {:?}", &name[..1])
    } else if name.len() > 100 {
        format!("it has {} letters", name.len())
    } else {
        return None;
    };
    Some(format!(
        "{name:?} is not a valid {what} name: {fault}; use 1 to 100 ASCII letters, digits, '-', \
         '_' and '.', with a letter or digit first"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_of_all_names() {
        for name in ["a", "welcome_email", "data-retention", "v2.report", "7zip", &"x".repeat(100)]
        {
            assert_eq!(invalid_name("job", name), None);
        }
        for (name, why) in [
            ("", "it is empty"),
            ("a b", "it contains ' '"),
            ("grüße", "it contains 'ü'"),
            (".hidden", "it starts with \".\""),
            (&"x".repeat(101), "it has 101 letters"),
        ] {
            let fault = invalid_name("job", name).unwrap();
            assert!(fault.contains(why), "{fault}");
        }
    }

    #[test]
    fn a_backoff_is_a_kind_and_a_wait() {
        for text in ["fixed(2s)", "exponential(500ms)", " fixed ( 1m 30s ) "] {
            assert!(backoff(text).is_ok(), "{text}");
        }
        for text in ["", "fixed", "2s", "fixed()", "fixed(2)", "linear(2s)", "fixed(2s) twice"] {
            assert!(backoff(text).is_err(), "{text}");
        }
    }
}
