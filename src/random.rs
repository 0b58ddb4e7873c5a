//! Where jitter and ids get their chance from, so that a test can repeat it.

use std::sync::Mutex;

use shiftwork_adapter::{Incarnation, JobId, Timestamp};

/// A source of chance: not for secrets.
#[derive(Debug, Default)]
pub(crate) struct Random(Option<Mutex<fastrand::Rng>>);

impl Random {
    /// The same sequence for the same seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Some(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// From 0 up to but not including 1.
    pub(crate) fn fraction(&self) -> f64 {
        self.with(fastrand::Rng::f64)
    }

    pub(crate) fn job_id(&self, now: Timestamp) -> JobId {
        JobId::new(now, self.bytes())
    }

    /// The id of a run of a schedule by hand.
    pub(crate) fn by_hand(&self) -> JobId {
        JobId::by_hand(self.bytes())
    }

    /// A name for a process.
    pub(crate) fn process(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.bytes()))
    }

    pub(crate) fn incarnation(&self, now: Timestamp) -> Incarnation {
        Incarnation::new(now, self.bytes())
    }

    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.with(|rng| rng.fill(&mut bytes));
        bytes
    }

    fn with<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        match &self.0 {
            Some(seeded) => {
                draw(&mut seeded.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
            }
            None => {
                // Its seed differs by thread and process.
                thread_local!(static RNG: std::cell::RefCell<fastrand::Rng> = fastrand::Rng::new().into());
                RNG.with_borrow_mut(draw)
            }
        }
    }
}
