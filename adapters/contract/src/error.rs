//! What can go wrong between the engine and a store, told to three readers: a kind for programs
//! to branch on, whether the store may have acted and whether trying again can help, and
//! operation, context and source for people.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of asking a store.
pub type Result<T, E = AdapterError> = std::result::Result<T, E>;

/// Why a store did not do, or may not have done, what it was asked.
#[derive(Clone)]
pub struct AdapterError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    effect: Effect,
    operation: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of error, to branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store cannot be reached, or is starting, or is failing over.
    Unavailable,
    /// The store did not answer in time.
    Timeout,
    /// The store is full.
    Capacity,
    /// What was asked can never be done: a mistake of the caller's, or of its configuration.
    Invalid,
    /// The store refuses this user the operation.
    Denied,
    /// What is stored cannot be understood.
    Corrupt,
    /// The adapter was shut down.
    Closed,
    /// The store behaved as no store should.
    Internal,
}

impl ErrorKind {
    /// Whether the same call can succeed later without anybody changing anything.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Timeout | Self::Capacity)
    }
}

/// What is known of the call's effect on the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It had none.
    None,
    /// It had its effect; what came after failed.
    Stored,
    /// The call was sent and its answer lost: it may have had its effect. Sending it again,
    /// unchanged, is safe.
    Unknown,
}

impl AdapterError {
    /// An error of `operation`, a method of the adapter, that had no effect on the store.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            effect: Effect::None,
            operation,
            message: message.into(),
            context: Vec::new(),
            source: None,
        }))
    }

    /// The same, with what is known of its effect.
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.0.effect = effect;
        self
    }

    /// The same, with something that helps to find the cause. Never a secret, never a payload.
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// The same, with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the call may have changed the store.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Whether trying again can help.
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// The method of the adapter that failed.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { effect, operation, message, context, .. } = &*self.0;
        write!(f, "{operation}: {message}")?;
        for (position, (key, value)) in context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if position == 0 { " (" } else { ", " })?;
        }
        if !context.is_empty() {
            f.write_str(")")?;
        }
        match effect {
            Effect::None => Ok(()),
            Effect::Stored => f.write_str("; what was asked is done nevertheless"),
            Effect::Unknown => f.write_str("; whether it is done is not known"),
        }
    }
}

impl fmt::Debug for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, effect, operation, message, context, source } = &*self.0;
        f.debug_struct("AdapterError")
            .field("kind", kind)
            .field("effect", effect)
            .field("operation", operation)
            .field("message", message)
            .field("context", context)
            .field("source", source)
            .finish()
    }
}

impl StdError for AdapterError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_done_to_what_and_what_is_known() {
        let error = AdapterError::new(ErrorKind::Timeout, "enqueue", "no answer within 5s")
            .with_context("queue", "mail")
            .with_context("jobs", 3)
            .with_effect(Effect::Unknown);
        assert_eq!(
            error.to_string(),
            "enqueue: no answer within 5s (queue: mail, jobs: 3); whether it is done is not known"
        );
        assert!(error.is_retryable());
    }
}
