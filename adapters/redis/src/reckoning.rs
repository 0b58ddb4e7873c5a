//! What time it is for the server, reckoned from what it said last.
//!
//! A job is stored as it comes where its sender knew the time well, which is a third of the work of
//! an enqueue. The server has the last word: it compares with its own clock, and writes that where
//! the reckoning is off, be it by a slow network, a suspended machine or a clock that was set.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shiftwork_adapter::Timestamp;

/// The last time that the server said, and when that was heard.
#[derive(Default)]
pub(crate) struct Reckoning(Mutex<Option<(Timestamp, Instant)>>);

impl Reckoning {
    /// The server said so just now.
    pub(crate) fn heard(&self, said: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((said, Instant::now()));
    }

    /// What time it is for the server, or a little earlier: an answer takes its time to come. Nothing
    /// where it has said none yet.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|(said, at)| said + whole_millis(at.elapsed()))
    }
}

/// Rounded down, so that a reckoning is never ahead.
fn whole_millis(elapsed: Duration) -> Duration {
    Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
