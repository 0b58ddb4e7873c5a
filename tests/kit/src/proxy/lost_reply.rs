//! Requests whose replies are to be lost.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type IsIt = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// A reply that is lost once its request comes. By [`Proxy::lose_next_reply`](super::Proxy::lose_next_reply).
#[derive(Clone, Debug, Default)]
pub struct LostReply {
    happened: Arc<(Mutex<bool>, Condvar)>,
}

impl LostReply {
    /// Whether the request was executed and its reply is lost. It is so before the client sees its
    /// connection end.
    pub fn happened(&self) -> bool {
        *self.lock()
    }

    /// Waits until it has happened, at most for `timeout`. Says whether it has.
    pub fn wait(&self, timeout: Duration) -> bool {
        let (_, changed) = &*self.happened;
        let waited = changed.wait_timeout_while(self.lock(), timeout, |happened| !*happened);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn happen(&self) {
        *self.lock() = true;
        self.happened.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.happened.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The replies that a proxy is yet to lose.
#[derive(Default)]
pub(super) struct Losses {
    expected: Mutex<Vec<(IsIt, LostReply)>>,
}

impl Losses {
    pub(super) fn expect(&self, is_it: IsIt) -> LostReply {
        let lost = LostReply::default();
        self.lock().push((is_it, lost.clone()));
        lost
    }

    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// The loss that this request was to meet. It is met once.
    pub(super) fn claim(&self, request: &[u8]) -> Option<LostReply> {
        let mut expected = self.lock();
        let found = expected.iter().position(|(is_it, _)| is_it(request))?;
        Some(expected.remove(found).1)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(IsIt, LostReply)>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
