//! How a store's servers are, as one process sees them.

use std::fmt;
use std::time::Duration;

/// How one server of a store is, as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerHealth {
    /// Where it is, without anything secret.
    pub server: String,
    /// How the connection to it is.
    pub state: ServerState,
    /// For how long it has been so.
    pub since: Duration,
}

/// How a connection to a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerState {
    /// It is there.
    Connected {
        /// Whether the server wakes this process; one that does not is asked from time to time.
        wakes: bool,
    },
    /// There is none, and one is tried for.
    Connecting {
        /// Why there is none, where that is known.
        why: Option<String>,
    },
    /// The server refuses this process, for a reason that time does not cure. It is tried on.
    Refused {
        /// Why.
        why: String,
    },
}

impl ServerHealth {
    /// How a server is.
    pub fn new(server: impl Into<String>, state: ServerState, since: Duration) -> Self {
        Self { server: server.into(), state, since }
    }
}

/// `redis://10.0.0.1:6379/0: connecting for 3s (connection refused)`
impl fmt::Display for ServerHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, state, since } = self;
        match state {
            ServerState::Connected { wakes: true } => {
                write!(f, "{server}: connected for {since:.0?}")
            }
            ServerState::Connected { wakes: false } => {
                write!(f, "{server}: connected for {since:.0?}, wakes nobody")
            }
            ServerState::Connecting { why: None } => {
                write!(f, "{server}: connecting for {since:.0?}")
            }
            ServerState::Connecting { why: Some(why) } => {
                write!(f, "{server}: connecting for {since:.0?} ({why})")
            }
            ServerState::Refused { why } => write!(f, "{server}: refused for {since:.0?} ({why})"),
        }
    }
}
