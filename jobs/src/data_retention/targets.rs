//! The targets that an application has.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::RetentionTarget;
use super::purge::Purge;

/// The places that the job `data-retention` purges; given to it with
/// [`.state(…)`](shiftwork::JobsBuilder::state), once and with all of them. Cloning is cheap.
#[derive(Clone, Default)]
pub struct RetentionTargets {
    targets: Vec<Arc<dyn Purge>>,
    limit: Option<NonZeroU32>,
}

impl RetentionTargets {
    /// A batch of so many takes most stores well below a second, and locks no table for long.
    const LIMIT: NonZeroU32 = NonZeroU32::new(1000).expect("it is not zero");

    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    #[must_use]
    pub fn with(mut self, target: impl RetentionTarget) -> Self {
        self.targets.push(Arc::new(target));
        self
    }

    /// How many items are deleted at most before the run looks whether to stop. Default: 1000.
    /// Zero is one.
    #[must_use]
    pub fn batch_size(mut self, limit: u32) -> Self {
        self.limit = Some(NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN));
        self
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.unwrap_or(Self::LIMIT).get()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn Purge> {
        self.targets.iter().map(|target| &**target)
    }
}

impl fmt::Debug for RetentionTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Purge::name)).finish()
    }
}
