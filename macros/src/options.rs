//! The options of `#[job(…)]`.
//!
//! 1. The tokens become settings: a key, and the expression behind its `=`.
//! 2. Each setting becomes a call on the `JobDefinition`, or a fault at the user's token.
//! 3. What holds between settings is checked: one timing at most, and no `timezone` without it.
//!
//! Reading never stops at a fault: the options that are sound hold, so that one slip is one error.

use std::collections::BTreeMap;
use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, Ident, Lit, LitStr, Path, Token};

use crate::duration;
use crate::faults::Faults;
use crate::nearest::did_you_mean;

/// Declares the keys in the order in which their calls are made: a timing comes before what
/// refines it.
macro_rules! keys {
    ($($key:ident = $name:literal, $example:literal;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        enum Key { $($key),* }

        impl Key {
            const ALL: &[Self] = &[$(Self::$key),*];

            fn name(self) -> &'static str {
                match self { $(Self::$key => $name),* }
            }

            /// What its value may look like.
            fn example(self) -> &'static str {
                match self { $(Self::$key => $example),* }
            }
        }
    };
}

keys! {
    Name = "name", "name = \"welcome_email\"";
    Queue = "queue", "queue = \"notifications\"";
    Attempts = "attempts", "attempts = 5";
    Timeout = "timeout", "timeout = \"30s\"";
    Priority = "priority", "priority = \"high\"";
    Backoff = "backoff", "backoff = \"exponential(500ms)\"";
    Cron = "cron", "cron = \"0 3 * * *\"";
    Every = "every", "every = \"10m\"";
    Timezone = "timezone", "timezone = \"Europe/Berlin\"";
    Overlap = "overlap", "overlap = \"skip\"";
    Misfire = "misfire", "misfire = \"once\"";
    Redact = "redact", "redact = without_address";
}

const PRIORITIES: &[(&str, &str)] = &[
    ("critical", "Critical"),
    ("high", "High"),
    ("normal", "Normal"),
    ("low", "Low"),
    ("bulk", "Bulk"),
];
const OVERLAPS: &[(&str, &str)] = &[("allow", "Allow"), ("skip", "Skip")];
const MISFIRES: &[(&str, &str)] = &[("skip", "Skip"), ("once", "Once")];

/// What was said of a job.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) redact: Option<Path>,
    /// The keys as the user wrote them.
    written: BTreeMap<Key, Ident>,
    /// The calls on the definition.
    calls: BTreeMap<Key, TokenStream>,
}

impl Options {
    /// Reads the tokens between the parentheses of `#[job(…)]`.
    pub(crate) fn read(tokens: TokenStream, faults: &mut Faults) -> Self {
        let mut options = Self::default();
        match Punctuated::<Setting, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(settings) => settings.into_iter().for_each(|setting| options.add(setting, faults)),
            Err(error) => faults.add(error),
        }
        options.check_schedule(faults);
        options
    }

    /// The calls on a `JobDefinition`: `.queue("mail").attempts(5)`.
    pub(crate) fn calls(&self) -> TokenStream {
        self.calls.values().cloned().collect()
    }

    /// The key that schedules the job.
    pub(crate) fn timing(&self) -> Option<&Ident> {
        self.written.get(&Key::Cron).or_else(|| self.written.get(&Key::Every))
    }

    /// The keys that became calls.
    pub(crate) fn called(&self) -> impl Iterator<Item = &Ident> {
        self.calls.keys().filter_map(|key| self.written.get(key))
    }

    /// The key `redact` as it was written.
    pub(crate) fn redact_key(&self) -> Option<&Ident> {
        self.written.get(&Key::Redact)
    }

    /// The key `name` as it was written.
    pub(crate) fn name_key(&self) -> Option<&Ident> {
        self.written.get(&Key::Name)
    }

    fn add(&mut self, setting: Setting, faults: &mut Faults) {
        let written = setting.key.unraw().to_string();
        let Some(&key) = Key::ALL.iter().find(|key| key.name() == written) else {
            let names = Key::ALL.iter().map(|key| key.name());
            let all = names.clone().collect::<Vec<_>>().join(", ");
            let hint = did_you_mean(&written, names);
            faults.at(
                &setting.key,
                format!("#[job] has no option `{written}`{hint}\nthere are: {all}"),
            );
            return;
        };
        if self.written.contains_key(&key) {
            faults.at(&setting.key, format!("`{written}` is given twice; keep one of them"));
            return;
        }
        self.written.insert(key, setting.key.clone());
        match setting.value {
            Some(value) => self.set(key, &value, faults),
            None => faults
                .at(&setting.key, format!("`{written}` needs a value, such as {}", key.example())),
        }
    }

    fn set(&mut self, key: Key, value: &Expr, faults: &mut Faults) {
        match key {
            Key::Name => self.name = name(key, value, faults),
            Key::Redact => self.redact = path(key, value, faults),
            _ => {
                if let Some(call) = call(key, value, faults) {
                    self.calls.insert(key, call);
                }
            }
        }
    }

    fn check_schedule(&self, faults: &mut Faults) {
        if let (Some(_), Some(every)) =
            (self.written.get(&Key::Cron), self.written.get(&Key::Every))
        {
            faults.at(every, "a job has one timing: keep either `cron` or `every`");
        }
        for (key, needs) in [
            (Key::Timezone, &[Key::Cron][..]),
            (Key::Overlap, &[Key::Cron, Key::Every]),
            (Key::Misfire, &[Key::Cron, Key::Every]),
        ] {
            let Some(ident) = self.written.get(&key) else { continue };
            if !needs.iter().any(|need| self.written.contains_key(need)) {
                let examples = needs.iter().map(|need| need.example()).collect::<Vec<_>>();
                faults.at(
                    ident,
                    format!(
                        "`{}` is for a scheduled job; add {}",
                        key.name(),
                        examples.join(" or ")
                    ),
                );
            }
        }
    }
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

/// `key = value`, as far as it is there.
struct Setting {
    key: Ident,
    value: Option<Expr>,
}

impl Parse for Setting {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any).map_err(|error| {
            syn::Error::new(error.span(), "expected an option, such as queue = \"notifications\"")
        })?;
        if input.peek(syn::token::Paren) {
            // `queue("mail")`: the group is read, so that the options behind it are too.
            let group: proc_macro2::TokenTree = input.parse()?;
            return Err(syn::Error::new(
                group.span(),
                format!("write `{key} = …`, without parentheses"),
            ));
        }
        let mut value = input.parse::<Option<Token![=]>>()?.map(|_| input.parse()).transpose()?;
        // A value that went through a `macro_rules!` macro is in a group of its own.
        while let Some(Expr::Group(group)) = value {
            value = Some(*group.expr);
        }
        Ok(Self { key, value })
    }
}

/// The call of one option, where its value is sound.
fn call(key: Key, value: &Expr, faults: &mut Faults) -> Option<TokenStream> {
    if key == Key::Attempts {
        let attempts = attempts(value, faults)?;
        return Some(quote!(.attempts(#attempts)));
    }
    if key == Key::Queue {
        let queue = name(key, value, faults)?;
        return Some(quote!(.queue(#queue)));
    }
    let literal = string(key, value, faults)?;
    let text = literal.value();
    let call =
        match key {
            Key::Timeout => duration_of(&text).map(|timeout| quote!(.timeout(#timeout))),
            Key::Priority => variant(&text, PRIORITIES)
                .map(|variant| quote!(.priority(::shiftwork::Priority::#variant))),
            Key::Backoff => backoff(&text).map(|backoff| quote!(.backoff(#backoff))),
            Key::Cron => not_empty(&text).map(|()| quote!(.cron(#literal))),
            Key::Every => duration_of(&text).map(|period| quote!(.every(#period))),
            Key::Timezone => not_empty(&text).map(|()| quote!(.timezone(#literal))),
            Key::Overlap => variant(&text, OVERLAPS)
                .map(|variant| quote!(.overlap(::shiftwork::Overlap::#variant))),
            Key::Misfire => variant(&text, MISFIRES)
                .map(|variant| quote!(.misfire(::shiftwork::Misfire::#variant))),
            Key::Name | Key::Queue | Key::Attempts | Key::Redact => return None,
        };
    call.map_err(|fault| faults.at(&literal, format!("`{}` {fault}", key.name()))).ok()
}

fn string(key: Key, value: &Expr, faults: &mut Faults) -> Option<LitStr> {
    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value {
        return Some(text.clone());
    }
    faults.at(value, format!("`{}` is a string literal: {}", key.name(), key.example()));
    None
}

fn name(key: Key, value: &Expr, faults: &mut Faults) -> Option<LitStr> {
    let text = string(key, value, faults)?;
    let what = if key == Key::Queue { "queue" } else { "job" };
    match invalid_name(what, &text.value()) {
        Some(fault) => {
            faults.at(text, fault);
            None
        }
        None => Some(text),
    }
}

fn path(key: Key, value: &Expr, faults: &mut Faults) -> Option<Path> {
    if let Expr::Path(path) = value {
        return Some(path.path.clone());
    }
    faults.at(
        value,
        format!(
            "`{}` is the name of a function that takes a reference to the payload and returns \
             a String: {}",
            key.name(),
            key.example()
        ),
    );
    None
}

fn attempts(value: &Expr, faults: &mut Faults) -> Option<u32> {
    let number = match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse::<u32>().ok(),
        _ => None,
    };
    let number = number.filter(|number| *number > 0);
    if number.is_none() {
        faults.at(
            value,
            "`attempts` is a whole number, 1 or more: attempts = 5 runs a job five times at most",
        );
    }
    number
}

fn duration_of(text: &str) -> Result<TokenStream, String> {
    duration::parse(text).map(duration::tokens)
}

fn backoff(text: &str) -> Result<TokenStream, String> {
    let form = "write \"fixed(2s)\" for always the same wait, or \"exponential(500ms)\" for one \
                that doubles";
    let parts = text.trim().strip_suffix(')').and_then(|text| text.split_once('('));
    let Some((kind, wait)) = parts else { return Err(format!("is {text:?}; {form}")) };
    let wait: Duration =
        duration::parse(wait).map_err(|fault| format!("is {text:?}, whose duration {fault}"))?;
    let wait = duration::tokens(wait);
    match kind.trim() {
        "fixed" => Ok(quote!(::shiftwork::Backoff::Fixed(#wait))),
        "exponential" => Ok(quote!(::shiftwork::Backoff::Exponential(#wait))),
        other => Err(format!("cannot be {other:?}; {form}")),
    }
}

fn variant(text: &str, variants: &[(&str, &str)]) -> Result<Ident, String> {
    match variants.iter().find(|(name, _)| *name == text) {
        Some((_, variant)) => Ok(Ident::new(variant, proc_macro2::Span::call_site())),
        None => {
            let names = variants.iter().map(|(name, _)| *name);
            let all = names.clone().collect::<Vec<_>>().join(", ");
            let hint = did_you_mean(text, names);
            Err(format!("cannot be {text:?}; it is one of {all}{hint}"))
        }
    }
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("is empty".to_owned()) } else { Ok(()) }
}
