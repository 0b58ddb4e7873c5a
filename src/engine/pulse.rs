//! Whether a loop still gets round.
//!
//! A loop that waits for something to do may wait for a year, and one that hangs does so too. To
//! tell them apart it is asked: one that waits answers at once.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// The pulse of one loop.
#[derive(Debug)]
pub(crate) struct Pulse {
    what: String,
    round: Mutex<Instant>,
    asked: Notify,
}

impl Pulse {
    /// Of a loop that is called so in messages.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), round: Mutex::new(Instant::now()), asked: Notify::new() }
    }

    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The loop got round.
    pub(crate) fn round(&self) {
        *self.round.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When it last did.
    pub(crate) fn last_round(&self) -> Instant {
        *self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it to get round.
    pub(crate) fn probe(&self) {
        self.asked.notify_one();
    }

    /// Waits for `something`, and answers whenever it is asked meanwhile.
    pub(crate) async fn answering<T>(&self, something: impl Future<Output = T>) -> T {
        tokio::pin!(something);
        loop {
            self.round();
            tokio::select! {
                output = &mut something => {
                    self.round();
                    return output;
                }
                () = self.asked.notified() => {}
            }
        }
    }
}
