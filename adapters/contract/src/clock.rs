//! Where a process gets its time from, so that a test can give it another.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Timestamp;

/// A source of wall-clock time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now. May go backward, where somebody sets the clock.
    fn now(&self) -> Timestamp;

    /// How long one may sleep at most before looking at [`now`](Clock::now) anew: timers do not
    /// notice that a machine slept or that its clock was set. `None`: they cannot disagree.
    fn longest_sleep(&self) -> Option<Duration>;

    /// Whether time is made up, and only passes for who sleeps by tokio's timers on the runtime
    /// of the test. Whoever would run on a thread of its own then runs on that runtime.
    fn is_simulated(&self) -> bool {
        false
    }
}

/// Sleeps until `clock` says `at` or later.
///
/// # Cancellation
/// Nothing is lost when the future is dropped.
#[expect(clippy::disallowed_methods, reason = "this is how one sleeps by a clock")]
pub async fn sleep_until(clock: &dyn Clock, at: Timestamp) {
    loop {
        let left = at.since(clock.now());
        if left.is_zero() {
            return;
        }
        sleep(clock.longest_sleep().map_or(left, |longest| left.min(longest))).await;
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// A laptop that wakes from a night's sleep notices within this.
    fn longest_sleep(&self) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }
}

/// A clock that goes with tokio's: paused when that is paused, advanced when that is advanced;
/// and can be set.
#[derive(Debug)]
pub struct TestClock {
    started: Instant,
    offset_ms: AtomicI64,
}

impl TestClock {
    /// A clock that now says `now`.
    ///
    /// # Panics
    /// Outside of a tokio runtime whose time is enabled.
    pub fn new(now: Timestamp) -> Self {
        Self { started: Instant::now(), offset_ms: AtomicI64::new(now.as_millis()) }
    }

    /// Sets the clock: what a suspended laptop, or an administrator, does to it. No timer notices.
    pub fn set(&self, now: Timestamp) {
        self.offset_ms.store(now.as_millis() - self.elapsed_ms(), Ordering::SeqCst);
    }

    fn elapsed_ms(&self) -> i64 {
        self.started.elapsed().as_millis().try_into().unwrap_or(i64::MAX)
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.elapsed_ms() + self.offset_ms.load(Ordering::SeqCst))
    }

    fn longest_sleep(&self) -> Option<Duration> {
        None
    }

    fn is_simulated(&self) -> bool {
        true
    }
}
