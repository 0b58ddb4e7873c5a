//! Enqueues that are acknowledged only once replicas have them too.
//!
//! Replication is asynchronous: a failover loses what the old primary had answered and not passed
//! on. An enqueue that must not be lost waits until so many replicas have confirmed it (`WAIT`). That
//! blocks its connection, so enqueues have one of their own then.
//!
//! A batch that too few confirm in time is stored all the same, and perhaps on no replica: its
//! callers are told that it is not known whether their jobs are there. Enqueued again under the same
//! ids they are the same jobs, and are confirmed as such.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use shiftwork_adapter::{AdapterError, Effect, ErrorKind, Result, Variable};
use tokio::time::Instant;

use crate::envelope::millis;
use crate::links::{Links, Listener, Target};
use crate::server::Server;
use crate::slot::Slot;

/// The variable, by which a connection's is found.
pub(crate) const WAIT: Variable = Variable {
    name: "JOBS_REDIS_WAIT_REPLICAS",
    fallbacks: &[],
    required: false,
    default: Some("0"),
    secret: false,
    doc: "how many replicas must have an enqueued job before it is acknowledged, 0 to 100. With \
          too few of them, an enqueue fails with the effect unknown: its jobs are stored, and a \
          failover may lose them",
    check: |text| read(Some(text)).map(drop),
};

/// What the variable says.
///
/// # Errors
/// What is allowed.
pub(crate) fn read(text: Option<&str>) -> Result<usize, String> {
    let Some(text) = text else { return Ok(0) };
    text.trim().parse().ok().filter(|count| *count <= 100).ok_or_else(|| {
        format!("{text:?} is no number of replicas; use a whole number from 0 to 100")
    })
}

/// The connections for enqueues that wait for replicas.
pub(crate) struct Confirmed {
    pub(crate) links: Links,
    replicas: usize,
    /// For how long.
    patience: Duration,
}

/// Nothing is pushed on these connections.
struct Deaf;

impl Listener for Deaf {
    fn message(&self, _: &[u8], _: &[u8]) {}

    fn missed(&self, _: &dyn Fn(Slot) -> bool) {}
}

impl Confirmed {
    /// Starts connecting. Needs a tokio runtime.
    pub(crate) fn new(server: Arc<Server>, replicas: usize, patience: Duration) -> Self {
        let links = Links::new(server, " (for enqueues)", patience, Arc::new(Deaf));
        // Half of what an answer may take.
        Self { links, replicas, patience: patience / 5 }
    }

    /// Sends a command until it is answered and enough replicas have what it did.
    pub(crate) async fn call_until(
        &self,
        operation: &'static str,
        target: Target<'_>,
        cmd: &Cmd,
        deadline: Instant,
    ) -> Result<Value> {
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.replicas).arg(millis(self.patience));
        let (value, confirmed) =
            self.links.call_confirmed(operation, target, cmd, &wait, deadline).await?;
        if confirmed >= self.replicas {
            return Ok(value);
        }
        let message = format!(
            "stored, and {confirmed} of {} replicas have it so far (JOBS_REDIS_WAIT_REPLICAS): a \
             failover may lose it; enqueue it again under the same id to be sure, which makes no \
             second job",
            self.replicas
        );
        let error = AdapterError::new(ErrorKind::Unavailable, operation, message);
        Err(error.with_effect(Effect::Unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_replicas_is_read_or_refused_with_what_is_allowed() {
        assert_eq!(read(None), Ok(0));
        assert_eq!(read(Some("2")), Ok(2));
        for text in ["-1", "101", "all", ""] {
            assert!(read(Some(text)).unwrap_err().contains("from 0 to 100"));
        }
    }
}
