//! Wake-ups: what the server pushes to this process, and who in it waits for that.
//!
//! Who waits has a ticket: how often a bell had rung before it sent the command whose answer it has
//! seen. So what is pushed while the answer is under way is not missed. What is pushed while there
//! is no connection is; therefore every new connection rings all bells, and a slow poll stands
//! behind that.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shiftwork_adapter::{AdapterError, ErrorKind, JobId, Result, Ticket, Watch};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::slot::Slot;
use crate::store::Store;

/// How many polls apart that is looked at which changes less often than there is work.
const SELDOM: u32 = 5;

/// A bell, and how often it has rung.
#[derive(Default)]
pub(crate) struct Bell {
    rung: AtomicU64,
    notify: Notify,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// Who has this ticket is woken by the next ring.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.rung.load(Ordering::SeqCst))
    }
}

/// What is told of a queue.
#[derive(Default)]
pub(crate) struct Wakeups {
    /// There may be jobs to claim.
    pub(crate) work: Bell,
    /// A sweep may be needed earlier than was said.
    pub(crate) sweep: Bell,
    /// A job has ended that somebody here waits for.
    finished: Mutex<HashMap<JobId, Vec<Arc<Notify>>>>,
}

impl Wakeups {
    /// A message came on the queue's channel.
    pub(crate) fn message(&self, payload: &[u8]) {
        match payload.split_first() {
            Some((b'w', _)) => self.work.ring(),
            Some((b's', _)) => self.sweep.ring(),
            Some((b'f', id)) => {
                if let Ok(id) = <[u8; 16]>::try_from(id) {
                    let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
                    let waiting = finished.get(&JobId::from_bytes(id));
                    waiting.into_iter().flatten().for_each(|bell| bell.notify_one());
                }
            }
            // Of a newer version: whatever it is, to look does not harm.
            _ => self.ring_all(),
        }
    }

    /// Whatever happened, somebody may have missed it.
    pub(crate) fn ring_all(&self) {
        self.work.ring();
        self.sweep.ring();
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.values().flatten().for_each(|bell| bell.notify_one());
    }

    /// A bell that rings when the job has ended, for as long as it is kept.
    pub(crate) fn await_end(&self, job: JobId) -> Awaiting<'_> {
        let bell = Arc::new(Notify::new());
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.entry(job).or_default().push(bell.clone());
        drop(finished);
        Awaiting { wakeups: self, job, bell }
    }
}

/// Somebody waits for a job to end.
pub(crate) struct Awaiting<'a> {
    wakeups: &'a Wakeups,
    job: JobId,
    pub(crate) bell: Arc<Notify>,
}

impl Drop for Awaiting<'_> {
    /// Leaves nothing behind, however the wait ended.
    fn drop(&mut self) {
        let mut finished = self.wakeups.finished.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bells) = finished.get_mut(&self.job) {
            bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
            if bells.is_empty() {
                finished.remove(&self.job);
            }
        }
    }
}

impl Store {
    pub(crate) async fn wait(&self, watch: Watch) -> Result<()> {
        match watch {
            Watch::Work(name, seen) => {
                let queue = self.queue(&name);
                self.wait_or_look(&queue.wakeups.work, seen, queue.slot, 1).await
            }
            // Who claims lets wait what is due, too.
            Watch::Sweep(name, seen) => {
                let queue = self.queue(&name);
                self.wait_or_look(&queue.wakeups.sweep, seen, queue.slot, SELDOM).await
            }
            Watch::Schedules(seen) => {
                self.wait_or_look(&self.local.schedules, seen, self.local.home, SELDOM).await
            }
            unknown => {
                let message = format!("the redis store cannot wait for {unknown:?}");
                Err(AdapterError::new(ErrorKind::Invalid, "wait", message))
            }
        }
    }

    /// Waits, where nobody tells for so many polls at most: then it is as if somebody had.
    async fn wait_or_look(&self, bell: &Bell, seen: Ticket, slot: Slot, polls: u32) -> Result<()> {
        let rung = self.wait_until(bell, seen);
        if !self.links.is_deaf(slot) {
            return rung.await;
        }
        let told = timeout(self.server.poll() * polls, rung).await;
        told.unwrap_or_else(|_| {
            bell.ring();
            Ok(())
        })
    }

    async fn wait_until(&self, bell: &Bell, seen: Ticket) -> Result<()> {
        loop {
            let mut rung = pin!(bell.notify.notified());
            rung.as_mut().enable();
            self.check_open("wait")?;
            if bell.ticket() != seen {
                return Ok(());
            }
            rung.await;
        }
    }
}
