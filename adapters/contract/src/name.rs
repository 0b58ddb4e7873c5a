//! Names that people choose: of jobs, queues, schedules, namespaces, applications.
//!
//! They become parts of keys, environment variables, metrics and log lines, so all of them are
//! held to one plain alphabet and a length, once, where they are made. A name that exists is
//! valid; nothing later needs to escape it.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest name, in bytes.
pub const MAX_NAME_LEN: usize = 100;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// 1 to 100 ASCII letters, digits, `-`, `_` and `.`, with a letter or digit first.
        /// Cloning is cheap.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `name`.
            ///
            /// # Errors
            /// [`InvalidName`] with the value, what is wrong with it and the rule.
            pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
                check($what, name.as_ref()).map(|()| Self(name.as_ref().into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;

            fn try_from(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<&Self> for $name {
            type Error = InvalidName;

            fn try_from(name: &Self) -> Result<Self, InvalidName> {
                Ok(name.clone())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(name).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

names! {
    /// Says which handler runs a job.
    JobName = "job name";
    /// Names a queue: where jobs wait.
    QueueName = "queue name";
    /// Says which schedule.
    ScheduleId = "schedule id";
    /// Keeps the jobs of separate systems apart in one store.
    Namespace = "namespace";
    /// Says which application owns a schedule that stands in code.
    AppName = "application name";
}

/// A text that is no valid name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName {
    what: &'static str,
    seen: String,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Empty,
    TooLong(usize),
    FirstCharacter(char),
    Character(char),
}

fn check(what: &'static str, name: &str) -> Result<(), InvalidName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fault = if name.len() > MAX_NAME_LEN {
        Some(Fault::TooLong(name.len()))
    } else if let Some(c) = name.chars().find(|&c| !allowed(c)) {
        Some(Fault::Character(c))
    } else {
        match name.chars().next() {
            None => Some(Fault::Empty),
            Some(c) if !c.is_ascii_alphanumeric() => Some(Fault::FirstCharacter(c)),
            Some(_) => None,
        }
    };
    match fault {
        None => Ok(()),
        // A hostile value is shown, but never at any length.
        Some(fault) => {
            Err(InvalidName { what, seen: name.chars().take(MAX_NAME_LEN).collect(), fault })
        }
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, seen, fault } = self;
        write!(f, "{seen:?} is not a valid {what}: ")?;
        match fault {
            Fault::Empty => f.write_str("it is empty")?,
            Fault::TooLong(len) => write!(f, "it has {len} bytes")?,
            Fault::FirstCharacter(c) => write!(f, "it starts with {c:?}")?,
            Fault::Character(c) => write!(f, "it contains {c:?}")?,
        }
        write!(
            f,
            "; use 1 to {MAX_NAME_LEN} ASCII letters, digits, '-', '_' and '.', starting with a \
             letter or digit"
        )
    }
}

impl std::error::Error for InvalidName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_plain_alphabet_are_accepted() {
        for name in ["a", "welcome_email", "data-retention", "v2.report", "7zip", &"x".repeat(100)]
        {
            assert_eq!(QueueName::new(name).unwrap(), *name);
        }
    }

    #[test]
    fn names_that_could_forge_a_key_are_refused() {
        for name in ["", "a:b", "{a}", "a b", "a\n", "ä", "*", ".a", "-a", "_a", &"x".repeat(101)]
        {
            assert!(JobName::new(name).is_err(), "{name:?} was accepted");
        }
    }

    #[test]
    fn a_refusal_says_what_was_seen_and_what_is_allowed() {
        assert_eq!(
            QueueName::new("mail:out").unwrap_err().to_string(),
            "\"mail:out\" is not a valid queue name: it contains ':'; use 1 to 100 ASCII letters, \
             digits, '-', '_' and '.', starting with a letter or digit"
        );
    }

    #[test]
    fn a_refusal_of_an_endless_name_is_short() {
        let error = QueueName::new("{".repeat(1_000_000)).unwrap_err();
        assert!(error.to_string().len() < 400);
    }

    #[test]
    fn stored_names_are_checked_when_they_are_read() {
        assert!(serde_json::from_str::<ScheduleId>("\"a:b\"").is_err());
        assert_eq!(serde_json::from_str::<ScheduleId>("\"a.b\"").unwrap(), "a.b");
    }
}
