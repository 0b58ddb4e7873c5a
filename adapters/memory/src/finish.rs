//! Waiting for one job's end.
//!
//! Who waits leaves a bell under the job's id for as long as it waits; the step that ends the job
//! notes it, and it is rung once the queue is unlocked. Where nobody waits, an end costs one look
//! at an empty tree.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{JobId, JobRecord, QueueName, Result};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::store::{QueueLock, Store};

/// Who waits for the end of which jobs of a queue.
#[derive(Default)]
pub(crate) struct Awaited {
    bells: BTreeMap<(JobId, u64), Arc<Notify>>,
    waiters: u64,
    to_ring: Vec<Arc<Notify>>,
}

impl Awaited {
    /// Takes note that a job ended.
    pub(crate) fn end(&mut self, job: JobId) {
        if !self.bells.is_empty() {
            let bells = self.bells.range((job, 0)..=(job, u64::MAX));
            self.to_ring.extend(bells.map(|(_, bell)| bell.clone()));
        }
    }

    /// Makes everyone look again.
    pub(crate) fn end_all(&mut self) {
        self.to_ring.extend(self.bells.values().cloned());
    }

    /// The bells to ring once the queue is unlocked.
    pub(crate) fn take_bells(&mut self) -> Vec<Arc<Notify>> {
        std::mem::take(&mut self.to_ring)
    }
}

impl Store {
    pub(crate) async fn await_finish(
        &self,
        queue: &QueueName,
        job: JobId,
        within: Duration,
    ) -> Result<Option<JobRecord>> {
        self.check_open("await_finish")?;
        let Some(queue) = self.known_queue(queue) else { return Ok(None) };
        let look = || self.step(&queue, |queue, now| queue.job(job, now));
        let ended =
            |record: &Option<JobRecord>| record.as_ref().is_none_or(|job| job.state.is_finished());
        let waiter = Waiter::new(&queue, job);
        let until_ended = async {
            loop {
                let mut bell = pin!(waiter.bell.notified());
                // Armed before the look: a job that ends after the look rings it.
                bell.as_mut().enable();
                self.check_open("await_finish")?;
                let record = look();
                if ended(&record) {
                    return Ok(record);
                }
                bell.await;
            }
        };
        match timeout(within, until_ended).await {
            Ok(ended) => ended,
            Err(_) => Ok(look()),
        }
    }
}

/// A bell under a job's id, for as long as its owner waits.
struct Waiter<'a> {
    queue: &'a QueueLock,
    key: (JobId, u64),
    bell: Arc<Notify>,
}

impl<'a> Waiter<'a> {
    fn new(queue: &'a QueueLock, job: JobId) -> Self {
        let bell = Arc::new(Notify::new());
        let mut locked = queue.lock();
        let awaited = &mut locked.jobs.awaited;
        awaited.waiters += 1;
        let key = (job, awaited.waiters);
        awaited.bells.insert(key, bell.clone());
        drop(locked);
        Self { queue, key, bell }
    }
}

impl Drop for Waiter<'_> {
    /// Leaves nothing behind, however the wait ended.
    fn drop(&mut self) {
        self.queue.lock().jobs.awaited.bells.remove(&self.key);
    }
}
