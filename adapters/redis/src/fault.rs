//! What can go wrong with a command, and what that says of its effect and of the connection.

use redis::{ErrorKind as RedisKind, RedisError, ServerErrorKind};
use shiftwork_adapter::{AdapterError, Effect, ErrorKind};

/// A command that failed.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) what: What,
    /// For people; says nothing secret.
    pub(crate) message: String,
}

/// What a failed command says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The connection is of no more use, and whether the command was executed is not known.
    Broken,
    /// No answer in time: as broken.
    Silent,
    /// The server executed nothing, and the connection leads to one that cannot: a replica, or a
    /// server that is loading.
    Unready,
    /// The server does not have the script.
    NoScript,
    /// The server executed nothing, for a while: it runs a long script.
    Busy,
    /// The server is out of memory, and executed nothing.
    Full,
    /// The user may not do this, or is none.
    Denied,
    /// Stored data is not what this program expects.
    Corrupt,
    /// The configuration can never work.
    Invalid,
}

impl Fault {
    pub(crate) fn new(what: What, message: impl Into<String>) -> Self {
        Self { what, message: message.into() }
    }

    /// The kind that a caller is told.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self.what {
            What::Broken | What::Unready | What::NoScript | What::Busy => ErrorKind::Unavailable,
            What::Silent => ErrorKind::Timeout,
            What::Full => ErrorKind::Capacity,
            What::Denied => ErrorKind::Denied,
            What::Corrupt => ErrorKind::Corrupt,
            What::Invalid => ErrorKind::Invalid,
        }
    }

    /// The error that a caller is told.
    pub(crate) fn into_error(self, operation: &'static str, effect: Effect) -> AdapterError {
        AdapterError::new(self.kind(), operation, self.message).with_effect(effect)
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let message = error.to_string();
        Self { what: what(&error, &message), message }
    }
}

/// Errors inside of a script come with the code in their text (up to 6.2), or as their code.
fn what(error: &RedisError, message: &str) -> What {
    let says = |code: &str| error.code() == Some(code) || message.contains(code);
    match error.kind() {
        RedisKind::AuthenticationFailed => What::Denied,
        RedisKind::InvalidClientConfig | RedisKind::RESP3NotSupported => What::Invalid,
        RedisKind::Server(ServerErrorKind::NoPerm) => What::Denied,
        _ if error.is_timeout() => What::Silent,
        _ if says("NOSCRIPT") => What::NoScript,
        _ if ["READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "MISCONF", "CLUSTERDOWN"]
            .iter()
            .any(|code| says(code)) =>
        {
            What::Unready
        }
        _ if ["NOPERM", "NOAUTH", "WRONGPASS", "ACL failure", "no permissions"]
            .iter()
            .any(|code| says(code)) =>
        {
            What::Denied
        }
        _ if says("OOM command not allowed") => What::Full,
        _ if says("BUSY") => What::Busy,
        RedisKind::Io | RedisKind::Parse => What::Broken,
        _ => What::Corrupt,
    }
}
