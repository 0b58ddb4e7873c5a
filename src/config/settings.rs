//! The settings of a process: checked, so that nothing later can find them wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use shiftwork_adapter::{AppName, Namespace, QueueName, ScheduleId, StoreSettings};

use crate::Backoff;

/// What the environment says, with what holds where it says nothing.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `JOBS_ENABLED`.
    pub(crate) enabled: bool,
    /// `WORKER_ROLE`, or what holds where it is not set.
    pub(crate) role: Role,
    /// Why that role.
    pub(crate) role_reason: RoleReason,
    /// `JOBS_QUEUES`.
    pub(crate) serves: QueueSelection,
    /// `JOBS_NAMESPACE`.
    pub(crate) namespace: Namespace,
    /// `JOBS_APP`.
    pub(crate) app: AppName,
    /// `JOBS_LAZY`.
    pub(crate) lazy: bool,
    /// `JOBS_TIMEZONE`, a zone that there is.
    pub(crate) timezone: String,
    /// `JOBS_ATTEMPTS`.
    pub(crate) attempts: NonZeroU32,
    /// `JOBS_BACKOFF_TYPE` and `JOBS_BACKOFF_DELAY`.
    pub(crate) backoff: Backoff,
    /// `JOBS_BACKOFF_MAX`.
    pub(crate) backoff_max: Duration,
    /// `JOBS_BACKOFF_JITTER`.
    pub(crate) backoff_jitter: bool,
    /// `JOBS_CONCURRENCY`.
    pub(crate) concurrency: usize,
    /// `JOBS_QUEUE_<NAME>_…`.
    pub(crate) queues: BTreeMap<QueueName, QueueSettings>,
    /// `JOBS_TIMEOUT`.
    pub(crate) timeout: Duration,
    /// `JOBS_SHUTDOWN_GRACE`.
    pub(crate) shutdown_grace: Duration,
    /// `JOBS_MAX_PAYLOAD`, in bytes.
    pub(crate) max_payload: usize,
    /// `JOBS_UNKNOWN_AFTER`.
    pub(crate) unknown_after: Duration,
    /// `JOBS_CONNECT_TIMEOUT`, `JOBS_LEASE`, `JOBS_MAX_CRASHES`, `JOBS_KEEP_…`.
    pub(crate) store: StoreSettings,
    /// `JOBS_<ID>_SCHEDULE` and `JOBS_<ID>_ENABLED`.
    pub(crate) schedules: BTreeMap<ScheduleId, ScheduleOverride>,
}

impl Settings {
    /// What was said of a queue.
    pub(crate) fn queue(&self, queue: &QueueName) -> QueueSettings {
        self.queues.get(queue).copied().unwrap_or_default()
    }
}

/// What was said of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueSettings {
    /// `JOBS_QUEUE_<NAME>_CONCURRENCY`: in this process; `None`: as many as the process has.
    pub(crate) concurrency: Option<usize>,
    /// `JOBS_QUEUE_<NAME>_WEIGHT`: its share of contended slots.
    pub(crate) weight: u32,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { concurrency: None, weight: 1 }
    }
}

/// What was said of one schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScheduleOverride {
    /// Instead of the pattern in code.
    pub(crate) pattern: Option<String>,
    /// Whether it fires.
    pub(crate) enabled: Option<bool>,
}

/// What a process does (`WORKER_ROLE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Enqueues, and neither runs jobs nor fires schedules.
    Web,
    /// Runs jobs and fires schedules.
    Worker,
    /// Fires schedules only.
    Cron,
    /// Runs jobs only.
    Async,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Web, Self::Worker, Self::Cron, Self::Async];

    /// As `WORKER_ROLE` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Worker => "worker",
            Self::Cron => "cron",
            Self::Async => "async",
        }
    }

    /// Whether it runs jobs.
    pub const fn runs_jobs(self) -> bool {
        matches!(self, Self::Worker | Self::Async)
    }

    /// Whether it fires schedules.
    pub const fn fires_schedules(self) -> bool {
        matches!(self, Self::Worker | Self::Cron)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a process has its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoleReason {
    /// It was said.
    Set,
    /// Nothing was said: a web process must never start processing by accident.
    Default,
    /// Nothing was said, and under this provider nobody else could run the jobs.
    InProcess,
}

impl fmt::Display for RoleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set => "WORKER_ROLE says so",
            Self::Default => "WORKER_ROLE is not set",
            Self::InProcess => "WORKER_ROLE is not set, and no other process could run the jobs",
        })
    }
}

/// Which queues a process serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum QueueSelection {
    /// All.
    #[default]
    All,
    /// All but these.
    AllBut(Vec<QueueName>),
    /// Only these.
    Only(Vec<QueueName>),
}

impl QueueSelection {
    pub(crate) fn includes(&self, queue: &QueueName) -> bool {
        match self {
            Self::All => true,
            Self::AllBut(others) => !others.contains(queue),
            Self::Only(these) => these.contains(queue),
        }
    }

    /// The queues that it names.
    pub(crate) fn named(&self) -> &[QueueName] {
        match self {
            Self::All => &[],
            Self::AllBut(named) | Self::Only(named) => named,
        }
    }
}

/// How our examples and binaries log (`JOBS_LOG`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
