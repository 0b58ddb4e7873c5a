//! How many jobs the store may hold: the process's memory is its disk, and a program must not
//! die of a queue that nobody works off.

use std::sync::atomic::{AtomicUsize, Ordering};

use shiftwork_adapter::{AdapterError, Connection, ErrorKind, QueueName, Result, Variable};

/// The environment variable that states the capacity.
pub(crate) const VARIABLE: Variable = Variable {
    name: NAME,
    fallbacks: &[],
    required: false,
    // About half a gigabyte of small jobs.
    default: Some("1000000"),
    secret: false,
    doc: "how many jobs are held at most, in all states and queues together; 1 to 100000000",
    check: |text| read(text).map(drop),
};

const NAME: &str = "JOBS_MEMORY_CAPACITY";
const DEFAULT: usize = 1_000_000;
const MAX: usize = 100_000_000;

/// Room for jobs, over all queues.
pub(crate) struct Capacity {
    limit: usize,
    stored: AtomicUsize,
}

impl Capacity {
    /// What the connection's variables say.
    pub(crate) fn from_variables(connection: &Connection) -> Result<Self> {
        let limit = match connection.variables.get(NAME) {
            None => DEFAULT,
            Some(text) => read(text).map_err(|allowed| invalid(text, &allowed))?,
        };
        Ok(Self { limit, stored: AtomicUsize::new(0) })
    }

    /// Takes room for `jobs`, all of it or none.
    pub(crate) fn reserve(&self, jobs: usize) -> bool {
        let take = |stored: usize| stored.checked_add(jobs).filter(|&sum| sum <= self.limit);
        self.stored.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Gives room back.
    pub(crate) fn release(&self, jobs: usize) {
        self.stored.fetch_sub(jobs, Ordering::Relaxed);
    }

    /// Why `jobs` were refused.
    pub(crate) fn exceeded(
        &self,
        operation: &'static str,
        queue: &QueueName,
        jobs: usize,
    ) -> AdapterError {
        let stored = self.stored.load(Ordering::Relaxed);
        let message = format!(
            "no room for {jobs} more: the memory store holds {stored} jobs of at most {} \
             ({NAME}); wait for workers to catch up, keep finished jobs for less long, raise \
             {NAME}, or choose a store that is not this process's memory",
            self.limit
        );
        AdapterError::new(ErrorKind::Capacity, operation, message).with_context("queue", queue)
    }
}

/// The capacity that a text states, or what to use instead.
fn read(text: &str) -> Result<usize, String> {
    text.trim().parse().ok().filter(|limit| (1..=MAX).contains(limit)).ok_or_else(|| {
        format!(
            "use a whole number from 1 to {MAX}: how many jobs are held at most, in all states and \
             queues together"
        )
    })
}

fn invalid(seen: &str, allowed: &str) -> AdapterError {
    // A hostile value is shown, but never at any length.
    let seen: String = seen.chars().take(64).collect();
    let message = format!("{NAME} is {seen:?}; {allowed}");
    AdapterError::new(ErrorKind::Invalid, "connect", message)
}
