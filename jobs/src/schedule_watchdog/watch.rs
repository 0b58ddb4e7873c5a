//! What an application says of how it wants to be told, and when.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use shiftwork::{JobError, hours, minutes};

use super::LateSchedule;

/// How late is late, and who is told; given to the job `schedule-watchdog` with
/// [`.state(…)`](shiftwork::JobsBuilder::state), and to [`check`](super::check). Cloning is cheap.
///
/// A process need not be given one: the defaults hold then, and the log is told.
#[derive(Clone)]
pub struct ScheduleWatch {
    pub(super) tolerance: Duration,
    pub(super) may_wait: Duration,
    pub(super) may_run: Duration,
    notify: Option<Notify>,
}

type Told = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;
type Notify = Arc<dyn Fn(LateSchedule) -> Told + Send + Sync>;

impl ScheduleWatch {
    /// The defaults; nobody is notified.
    pub fn new() -> Self {
        Self { tolerance: minutes(5), may_wait: minutes(15), may_run: hours(6), notify: None }
    }

    /// For how long an occurrence may be due before its schedule counts as
    /// [overdue](super::Late::Overdue). Default: 5 minutes. Schedules are fired within moments; a
    /// rollout, or a store that fails over, takes longer, and the engine itself calls nothing a misfire
    /// that is less than a minute late.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// For how long a schedule's job may be due before it is begun; after that, it counts as
    /// [waiting](super::Late::Waiting). Default: 15 minutes. More where queues are filled in the night
    /// and empty until the morning.
    #[must_use]
    pub fn may_wait(mut self, limit: Duration) -> Self {
        self.may_wait = limit;
        self
    }

    /// For how long a schedule's job may be held by a worker, what it waited included; after that,
    /// it counts as [running](super::Late::Running) for too long. Default: 6 hours. An attempt is
    /// ended by its timeout, of 15 minutes unless somebody has said otherwise: what takes longer than
    /// this cannot be ended so, or was given more time than that. Set it above the longest of your own.
    #[must_use]
    pub fn may_run(mut self, limit: Duration) -> Self {
        self.may_run = limit;
        self
    }

    /// Calls this with each late schedule, one after the other, in each run for as long as it is
    /// late. So what it tells should make one alert of all that have the same
    /// [`key`](LateSchedule::key).
    ///
    /// Where it fails, the others are told all the same, and the run fails; the next attempt tells
    /// all of them again. A run has four minutes for all of them.
    #[must_use]
    pub fn notify<F, Fut>(mut self, notify: F) -> Self
    where
        F: Fn(LateSchedule) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        self.notify = Some(Arc::new(move |late| Box::pin(notify(late))));
        self
    }

    pub(super) async fn tell(&self, late: &LateSchedule) -> Result<(), JobError> {
        match &self.notify {
            Some(notify) => notify(late.clone()).await,
            None => Ok(()),
        }
    }
}

impl Default for ScheduleWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ScheduleWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduleWatch")
            .field("tolerance", &self.tolerance)
            .field("may_wait", &self.may_wait)
            .field("may_run", &self.may_run)
            .field("notify", &self.notify.is_some())
            .finish()
    }
}
