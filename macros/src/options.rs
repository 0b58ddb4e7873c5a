//! The options of `#[job(…)]`.
//!
//! 1. The tokens become settings: a key, and the expression behind its `=`.
//! 2. Each setting becomes a call on the `JobDefinition`, or a fault at the user's token.
//! 3. What holds between settings is checked: one timing at most, and no `timezone` without it.
//!
//! A fault does not stop the reading, and the options that are sound hold: one slip is one error.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, LitStr, Path, Token};

use crate::faults::Faults;
use crate::nearest::did_you_mean;
use crate::value;

/// Declares the keys in the order in which their calls are made: a timing comes before what
/// refines it.
macro_rules! keys {
    ($($key:ident = $name:literal, $example:literal;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Key { $($key),* }

        impl Key {
            const ALL: &[Self] = &[$(Self::$key),*];

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$key => $name),* }
            }

            /// What its value may look like.
            pub(crate) fn example(self) -> &'static str {
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
    Timezone = "timezone", "timezone = \"UTC\"";
    Starts = "starts", "starts = \"2026-12-01T00:00:00Z\"";
    Ends = "ends", "ends = \"2027-12-01T00:00:00Z\"";
    Limit = "limit", "limit = 10";
    Jitter = "jitter", "jitter = \"30s\"";
    Overlap = "overlap", "overlap = \"skip\"";
    Misfire = "misfire", "misfire = \"once\"";
    MisfireWithin = "misfire_within", "misfire_within = \"6h\"";
    Redact = "redact", "redact = without_address";
}

/// What schedules a job.
const TIMINGS: &[Key] = &[Key::Cron, Key::Every];

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
        let set = match key {
            Key::Name => value::name(key, value).map(|name| self.name = Some(name)),
            Key::Redact => value::path(key, value).map(|path| self.redact = Some(path)),
            _ => value::call(key, value).map(|call| drop(self.calls.insert(key, call))),
        };
        if let Err(fault) = set {
            faults.at(value, fault);
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
            (Key::Starts, TIMINGS),
            (Key::Ends, TIMINGS),
            (Key::Limit, TIMINGS),
            (Key::Jitter, TIMINGS),
            (Key::Overlap, TIMINGS),
            (Key::Misfire, TIMINGS),
            (Key::MisfireWithin, TIMINGS),
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
            return Err(input.error(format!("write `{key} = …`, without parentheses")));
        }
        let mut value = input.parse::<Option<Token![=]>>()?.map(|_| input.parse()).transpose()?;
        // A value that went through a `macro_rules!` macro is in a group of its own.
        while let Some(Expr::Group(group)) = value {
            value = Some(*group.expr);
        }
        Ok(Self { key, value })
    }
}
