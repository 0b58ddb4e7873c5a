//! Whether this process does what it is for: judged by progress, not by a pulse.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shiftwork_adapter::{AdapterError, JobName, QueueName, ServerHealth};
use tokio::time::Instant;
use tracing::{info, warn};

/// How this process is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether it does what it is for.
    pub healthy: bool,
    /// What keeps it from that, in sentences.
    pub problems: Vec<String>,
    /// What `JOBS_PROVIDER` chose.
    pub provider: &'static str,
    /// The servers of the store, as this process sees them; none where it keeps jobs by itself. One
    /// that is away is a problem of its own only where it keeps this process from its work.
    pub servers: Vec<ServerHealth>,
    /// What `WORKER_ROLE` says.
    pub role: crate::Role,
    /// The queues whose jobs it runs.
    pub queues: Vec<QueueHealth>,
    /// Jobs that it met and has no handler for. No problem of its own during a rollout; for
    /// longer, a job was renamed or its crate is not linked.
    pub unknown_jobs: Vec<UnknownJob>,
}

/// How the worker of one queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueHealth {
    /// The queue.
    pub queue: QueueName,
    /// How many of its jobs this process runs.
    pub running: usize,
    /// For how long its worker has not got round, where that is three leases or more.
    pub stalled_for: Option<Duration>,
}

/// A job name that this process has no handler for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownJob {
    /// The name.
    pub name: JobName,
    /// Where it was met.
    pub queue: QueueName,
    /// How many claims were handed back.
    pub handed_back: u64,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.healthy {
            return f.write_str("healthy");
        }
        write!(f, "unhealthy: {}", self.problems.join("; "))
    }
}

/// The names that were met and not known. Bounded: a flood of names is not kept.
#[derive(Debug, Default)]
pub(crate) struct UnknownNames(Mutex<BTreeMap<(JobName, QueueName), Met>>);

#[derive(Clone, Copy, Debug)]
struct Met {
    first: Instant,
    times: u64,
}

impl UnknownNames {
    const MOST: usize = 100;

    /// Counts one, and tells for how long this process has known that it does not know the name.
    pub(crate) fn seen(&self, name: &JobName, queue: &QueueName) -> Duration {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.clone(), queue.clone());
        let now = Instant::now();
        if let Some(met) = names.get_mut(&key) {
            met.times += 1;
            return now - met.first;
        }
        if names.len() < Self::MOST {
            warn!(job.name = %name, job.queue = %queue,
                "no handler of this name in this program: the job is handed back for others; is \
                 the crate that defines it named in code (`use its_crate as _;`)?");
            names.insert(key, Met { first: now, times: 1 });
            return Duration::ZERO;
        }
        // Of a name that is not kept, nothing is known but the job's own wait.
        Duration::MAX
    }

    pub(crate) fn list(&self) -> Vec<UnknownJob> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names
            .iter()
            .map(|((name, queue), met)| UnknownJob {
                name: name.clone(),
                queue: queue.clone(),
                handed_back: met.times,
            })
            .collect()
    }
}

/// Whether the store answers, each loop that asks it.
#[derive(Debug)]
pub(crate) struct StoreHealth {
    /// There is something to tell.
    failing: AtomicBool,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// The store has not answered yet, and what is known of why.
    silent: Option<String>,
    /// By loop.
    messages: BTreeMap<String, String>,
}

impl StoreHealth {
    /// Of a store that has answered.
    pub(crate) fn answering() -> Self {
        Self { failing: AtomicBool::new(false), told: Mutex::default() }
    }

    /// Of a store that has not answered yet: it failed so, or was not asked.
    pub(crate) fn silent(error: Option<&AdapterError>) -> Self {
        let why = error.map_or_else(String::new, |error| format!(": {error}"));
        let silent = Some(format!("the store has not answered yet{why}"));
        let told = Mutex::new(Told { silent, messages: BTreeMap::new() });
        Self { failing: AtomicBool::new(true), told }
    }

    /// Called at every answer: cheap while all is well.
    pub(crate) fn answered(&self, who: &str) {
        if !self.failing.load(Ordering::Relaxed) {
            return;
        }
        let mut told = self.told();
        let silent = told.silent.take().is_some();
        let failed = told.messages.remove(who).is_some();
        self.failing.store(!told.messages.is_empty(), Ordering::Relaxed);
        if silent {
            info!(who, "the store answers");
        } else if failed {
            info!(who, "the store answers again");
        }
    }

    /// One that failed has nothing to ask any more.
    pub(crate) fn rests(&self, who: &str) {
        if self.failing.load(Ordering::Relaxed) {
            let mut told = self.told();
            told.messages.remove(who);
            let failing = told.silent.is_some() || !told.messages.is_empty();
            self.failing.store(failing, Ordering::Relaxed);
        }
    }

    /// Says so with growing silence: at the 1st, 2nd, 4th, 8th … failure in a row.
    pub(crate) fn failed(&self, who: &str, error: &AdapterError, in_a_row: u32) {
        if in_a_row.is_power_of_two() {
            warn!(who, %error, in_a_row, "the store failed; it is asked again");
        }
        let mut told = self.told();
        told.messages.insert(who.into(), error.to_string());
        self.failing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let told = self.told();
        let of_loop = |(who, message)| format!("the store failed the {who}: {message}");
        told.silent.iter().cloned().chain(told.messages.iter().map(of_loop)).collect()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
