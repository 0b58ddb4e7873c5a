//! Tasks that run attempts, each of them one after another.
//!
//! An attempt has a task for itself while it runs, so that it can await, block its thread or panic
//! as it likes. To make a task for each would be most of what a short one costs, so a task whose
//! attempt has ended waits for the next. There come to be as many tasks as attempts have run at
//! once.
//!
//! **When a task goes away**, with its runtime, an attempt that it was given is dropped, and so
//! tells the ledger that it ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use super::attempt::Attempt;

/// No more tasks than this wait for attempts, at less than a kilobyte each.
const MOST_IDLE: usize = 1000;

/// The tasks of one worker. Dropped, it lets them end as soon as they have nothing to run.
#[derive(Default)]
pub(crate) struct Runners {
    idle: Mutex<Vec<Arc<Inbox>>>,
}

/// Where a task finds its next attempt.
#[derive(Default)]
struct Inbox(Mutex<Next>);

#[derive(Default)]
struct Next {
    attempt: Option<Attempt>,
    /// None will come any more.
    end: bool,
    /// Of the task, while it waits.
    waker: Option<Waker>,
}

impl Runners {
    /// Runs it on a task that waits, or on a new one.
    pub(crate) fn run(self: &Arc<Self>, attempt: Attempt) {
        let idle = self.idle().pop();
        match idle {
            Some(inbox) => inbox.put(|next| next.attempt = Some(attempt)),
            None => drop(tokio::spawn(run(Arc::downgrade(self), attempt))),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Arc<Inbox>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Runners {
    fn drop(&mut self) {
        for inbox in self.idle().drain(..) {
            inbox.put(|next| next.end = true);
        }
    }
}

/// A task's life.
async fn run(runners: Weak<Runners>, first: Attempt) {
    first.run().await;
    let inbox = Arc::new(Inbox::default());
    loop {
        // Held no longer than this, so that it can be dropped while its tasks wait.
        match runners.upgrade() {
            Some(runners) if runners.idle().len() < MOST_IDLE => {
                runners.idle().push(inbox.clone());
            }
            _ => return,
        }
        let Some(next) = std::future::poll_fn(|context| inbox.poll_take(context)).await else {
            return;
        };
        next.run().await;
    }
}

impl Inbox {
    /// Puts something in, and wakes the task.
    fn put(&self, put: impl FnOnce(&mut Next)) {
        let mut next = self.next();
        put(&mut next);
        let waker = next.waker.take();
        drop(next);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next attempt; `None`: there is none to come.
    fn poll_take(&self, context: &Context<'_>) -> Poll<Option<Attempt>> {
        let mut next = self.next();
        match next.attempt.take() {
            Some(attempt) => Poll::Ready(Some(attempt)),
            None if next.end => Poll::Ready(None),
            None => {
                next.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
