//! Wake-ups, none of which is ever lost.
//!
//! Who waits has a ticket: the count of what it has seen. It arms itself first and looks at the
//! count then, so that what happens before the look shows in the count, and what happens after it
//! wakes. A step notices under the lock that a count has risen and wakes all who wait once the
//! lock is free: one of them may be about to be dropped, and a wake-up given to it alone would be
//! lost.

use std::pin::pin;

use shiftwork_adapter::{AdapterError, ErrorKind, Result, Watch};
use tokio::sync::Notify;

use crate::store::Store;

impl Store {
    pub(crate) async fn wait(&self, watch: Watch) -> Result<()> {
        match watch {
            Watch::Work(queue, seen) => {
                let queue = self.queue(&queue);
                // Jobs that come to wait in a paused queue are no work.
                let any = || {
                    let queue = queue.lock();
                    !queue.paused && queue.jobs.ticket() != seen
                };
                self.wait_until(&queue.work, any).await
            }
            Watch::Sweep(queue, seen) => {
                let queue = self.queue(&queue);
                self.wait_until(&queue.sweep, || queue.lock().sweep_ticket() != seen.0).await
            }
            Watch::Schedules(seen) => {
                let changed = || self.schedules.ticket() != seen;
                self.wait_until(&self.schedules.changed, changed).await
            }
            unknown => {
                let message = format!("the memory store cannot wait for {unknown:?}");
                Err(AdapterError::new(ErrorKind::Invalid, "wait", message))
            }
        }
    }

    async fn wait_until(&self, bell: &Notify, any: impl Fn() -> bool) -> Result<()> {
        loop {
            let mut rung = pin!(bell.notified());
            rung.as_mut().enable();
            self.check_open("wait")?;
            if any() {
                return Ok(());
            }
            rung.await;
        }
    }
}
