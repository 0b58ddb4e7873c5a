//! Enqueueing what has been run, so that as many jobs wait as before.

use std::sync::Arc;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::clock::monotonic_ns;
use crate::produce::{Batches, Producer, job};
use crate::tally::Tally;
use crate::told::Produce;

/// Enqueues a batch whenever so many jobs have completed, until all that was told is enqueued.
///
/// # Errors
///
/// The first that the peer returns.
pub(crate) async fn replace<P: Producer>(
    told: Produce,
    producer: P,
    tally: Arc<Tally>,
) -> Result<()> {
    let Batches { of, .. } = producer.batches();
    let mut under_way: JoinSet<Result<()>> = JoinSet::new();
    let mut enqueued = 0;
    while enqueued < told.jobs {
        let batch = of.min(told.jobs - enqueued);
        tally.reach(enqueued + batch).await;
        while let Some(ended) = under_way.try_join_next() {
            ended??;
        }
        let numbers = told.first + enqueued..told.first + enqueued + batch;
        let jobs = numbers.map(|number| job(number, monotonic_ns(), told.at_ms)).collect();
        let producer = producer.clone();
        under_way.spawn(async move { producer.bulk(jobs).await });
        enqueued += batch;
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    Ok(())
}
