//! What [`Jobs`](crate::Jobs) tells its caller when something cannot be done.

use std::fmt;

use shiftwork_adapter::{AdapterError, Effect, ErrorKind as AdapterErrorKind};

/// The result of asking [`Jobs`](crate::Jobs) for something.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why it could not be done, and what to do.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<AdapterError>,
}

/// The kinds of error, to branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The environment, the configuration file or the set of jobs is wrong. Nothing was started.
    Config,
    /// The call itself is wrong: an unknown job or queue, a payload that is too large, a missing
    /// payload, a bad pattern, a cursor that is none. The same call fails again.
    Invalid,
    /// This process cannot do it, as it is configured: another could.
    Refused,
    /// The store did not do it, or may not have: see [`Error::effect`] and
    /// [`Error::is_retryable`].
    Store,
    /// The process no longer works as it should: one of its own tasks failed more than once.
    Engine,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// The store could not do it, told in other words than usual.
    pub(crate) fn store(message: impl Into<String>, source: AdapterError) -> Self {
        let (kind, message) = (ErrorKind::Store, message.into());
        Self(Box::new(Inner { kind, message, source: Some(source) }))
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call can succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        self.0.source.as_ref().is_some_and(AdapterError::is_retryable)
    }

    /// Whether what was asked may have been done all the same: a lost reply leaves that unknown.
    pub fn effect(&self) -> Effect {
        self.0.source.as_ref().map_or(Effect::None, AdapterError::effect)
    }
}

impl From<AdapterError> for Error {
    fn from(error: AdapterError) -> Self {
        let kind = match error.kind() {
            // Not the store's fault: the same call fails again.
            AdapterErrorKind::Invalid => ErrorKind::Invalid,
            _ => ErrorKind::Store,
        };
        Self(Box::new(Inner {
            kind,
            message: "the store could not do it".into(),
            source: Some(error),
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        // The cause belongs to the sentence: callers often print nothing else.
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    /// The cause of the store's error; the store's error itself is part of the message.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().and_then(|source| source.source())
    }
}

/// Several things that are wrong at once, reported together.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    pub(crate) fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    pub(crate) fn into_result(self) -> Result<()> {
        match self.0.as_slice() {
            [] => Ok(()),
            [problem] => Err(Error::new(ErrorKind::Config, problem.clone())),
            problems => Err(Error::new(
                ErrorKind::Config,
                format!("{} things are wrong:\n  - {}", problems.len(), problems.join("\n  - ")),
            )),
        }
    }
}
