//! Renewing leases. There is no connection that could be busy: a heart of this store is the store.

use std::sync::Arc;

use async_trait::async_trait;
use shiftwork_adapter::{Beat, BeatReply, Heart, Result};

use crate::store::Store;

/// A way to renew leases.
pub(crate) struct MemoryHeart(pub(crate) Arc<Store>);

#[async_trait]
impl Heart for MemoryHeart {
    async fn beat(&mut self, beats: &[Beat]) -> Result<Vec<BeatReply>> {
        let Self(store) = self;
        store.check_open("beat")?;
        let beat = |beat: &Beat| match store.known_queue(&beat.queue) {
            Some(queue) => store.step(&queue, |queue, now| queue.beat(beat.incarnation, now)),
            None => BeatReply::Expired,
        };
        Ok(beats.iter().map(beat).collect())
    }
}
