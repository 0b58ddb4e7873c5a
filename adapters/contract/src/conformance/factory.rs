//! What the suite needs of an adapter's tests: stores, handles on them, and a notion of time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{JobAdapter, StoreSettings, Timestamp};

/// Makes stores for the suite.
#[async_trait]
pub trait Factory: Send + Sync + 'static {
    /// How time passes for its stores.
    fn time(&self) -> Time;

    /// A fresh, empty store under `settings`, that nobody else uses. Called inside of the tokio
    /// runtime on which the case runs.
    async fn open(&self, settings: StoreSettings) -> Box<dyn Store>;
}

/// A store under test. Dropped when its case is over.
#[async_trait]
pub trait Store: Send + Sync {
    /// A handle on the store as another process would have it; for a store that serves only one
    /// process, the same again.
    async fn adapter(&self) -> Arc<dyn JobAdapter>;

    /// Sets the store's clock, where a test can; answers whether it did. Timers do not notice.
    fn set_clock(&self, _now: Timestamp) -> bool {
        false
    }
}

/// How time passes for a store under test. The suite states all times in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// By tokio's clock, which is paused: a unit is a second and costs nothing.
    Simulated,
    /// By the world's. A unit should be much longer than a call to the store takes, also on a
    /// busy machine; the whole suite sleeps for about a thousand, many cases at a time.
    Real {
        /// How long a unit is; 100 ms is a fair choice for a store on the same machine.
        unit: Duration,
    },
}

impl Time {
    /// How long a unit is.
    pub fn unit(self) -> Duration {
        match self {
            Self::Simulated => Duration::from_secs(1),
            Self::Real { unit } => unit,
        }
    }
}
