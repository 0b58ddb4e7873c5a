//! Looking into queues and operating them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{JobName, JobRecord, JobState, Timestamp};

/// What became of one enqueued job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enqueued {
    /// It is in its queue.
    New,
    /// A job of that id is known already, and stays as it is.
    Existing,
}

/// How many jobs of a queue are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// [`JobState::Waiting`].
    pub waiting: u64,
    /// [`JobState::Delayed`].
    pub delayed: u64,
    /// [`JobState::Active`].
    pub active: u64,
    /// [`JobState::Completed`] and kept.
    pub completed: u64,
    /// [`JobState::Dead`] and kept.
    pub dead: u64,
    /// [`JobState::Cancelled`] and kept.
    pub cancelled: u64,
    /// Whether the queue is paused.
    pub paused: bool,
}

impl Counts {
    /// The count of one state.
    pub fn of(&self, state: JobState) -> u64 {
        match state {
            JobState::Waiting => self.waiting,
            JobState::Delayed => self.delayed,
            JobState::Active => self.active,
            JobState::Completed => self.completed,
            JobState::Dead => self.dead,
            JobState::Cancelled => self.cancelled,
        }
    }

    /// The count of one state, to be changed.
    pub fn of_mut(&mut self, state: JobState) -> &mut u64 {
        match state {
            JobState::Waiting => &mut self.waiting,
            JobState::Delayed => &mut self.delayed,
            JobState::Active => &mut self.active,
            JobState::Completed => &mut self.completed,
            JobState::Dead => &mut self.dead,
            JobState::Cancelled => &mut self.cancelled,
        }
    }

    /// All jobs of the queue.
    pub fn total(&self) -> u64 {
        JobState::ALL.iter().map(|&state| self.of(state)).sum()
    }
}

/// Which jobs of a queue to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Find {
    /// In one of these states; empty: in any.
    pub states: Vec<JobState>,
    /// With this name.
    pub name: Option<JobName>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Where to go on: [`next`](Found::next) of the page before, which asked for the same.
    pub after: Option<Cursor>,
    /// At most so many a page, at least 1; a store may answer fewer.
    pub limit: usize,
}

impl Find {
    /// Any job, a hundred a page.
    pub fn new() -> Self {
        Self { limit: 100, ..Self::default() }
    }

    /// Those in one of `states`.
    #[must_use]
    pub fn states(mut self, states: impl Into<Vec<JobState>>) -> Self {
        self.states = states.into();
        self
    }

    /// Those of one name.
    #[must_use]
    pub fn name(mut self, name: JobName) -> Self {
        self.name = Some(name);
        self
    }

    /// Those of one tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Those after a page, from its [`next`](Found::next) on.
    #[must_use]
    pub fn after(mut self, next: Cursor) -> Self {
        self.after = Some(next);
        self
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Whether `job` is one of them, its place in the order apart.
    pub fn matches(&self, job: &JobRecord) -> bool {
        let tenant = || Some(job.spec.provenance.as_ref()?.scope.as_ref()?.tenant.as_str());
        (self.states.is_empty() || self.states.contains(&job.state))
            && self.name.as_ref().is_none_or(|name| *name == job.spec.name)
            && self.tenant.as_deref().is_none_or(|wanted| tenant() == Some(wanted))
    }
}

/// A page of what [`Find`] asked for, in an order of the store's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// Where the next page begins; `None` after the last. A page may be empty and not the last.
    pub next: Option<Cursor>,
}

/// Where the next page begins. Without meaning to anyone but the store that gave it: not to be
/// taken apart, compared for order, or made up; to be kept and sent as text it is well suited.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(Arc<str>);

impl Cursor {
    /// The cursor of this text: for the store that gives it, and for who kept the text of one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a request to cancel a job did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelJob {
    /// It will not run (again).
    Cancelled,
    /// It is running: its worker is told, and it does not run again. It may still complete.
    Requested,
    /// It ended before, and is kept in this state.
    Finished(JobState),
    /// There is none of that id, or no more.
    NotFound,
}

/// What operating on a finished job did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operated {
    /// What was asked.
    Done,
    /// Nothing: the job is in this state, in which it cannot be done.
    Refused(JobState),
    /// There is none of that id, or no more.
    NotFound,
}

/// The store, when it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pong {
    /// The store's time.
    pub now: Timestamp,
}

impl Pong {
    /// An answer at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now }
    }
}
