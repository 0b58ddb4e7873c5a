//! What every handle of one [`Jobs`](crate::Jobs) shares.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use shiftwork_adapter::{Clock, JobAdapter};

use crate::config::Settings;
use crate::engine::Engine;
use crate::random::Random;
use crate::registry::Registry;

/// See the [module](self).
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) adapter: Arc<dyn JobAdapter>,
    /// Whoever made the adapter also shuts it down.
    pub(crate) lent: bool,
    pub(crate) registry: Registry,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    /// The engine holds this struct too; a shutdown takes it out, and so ends the circle.
    engine: Mutex<Option<Arc<Engine>>>,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        (adapter, lent): (Arc<dyn JobAdapter>, bool),
        registry: Registry,
        clock: Arc<dyn Clock>,
        random: Random,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            adapter,
            lent,
            registry,
            clock,
            random,
            engine: Mutex::new(None),
        })
    }

    pub(crate) fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_engine(&self, engine: Option<Arc<Engine>>) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = engine;
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("provider", &self.adapter.provider())
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
