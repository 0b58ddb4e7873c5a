//! Background jobs: written once, run in process while you develop, on Redis in production.

// The macros name this crate by its path, also in its own tests and examples.
extern crate self as shiftwork;

mod builder;
mod config;
mod context;
mod engine;
mod enqueue;
mod error;
mod function;
mod handle;
mod handler;
mod health;
mod job;
mod nearest;
mod provider;
mod random;
mod registry;
mod result;
mod run;
mod schedule;
mod shared;
mod signals;
mod state;
pub mod telemetry;

use std::time::Duration;

pub use shiftwork_adapter as adapter;
pub use shiftwork_adapter::{
    CancelJob, Counts, Effect, Failure, FailureKind, Find, Found, JobId, JobName, JobRecord,
    JobState, Misfire, Operated, Overlap, Payload, Priority, QueueName, ScheduleId, ScheduleRecord,
    Scope, Timestamp,
};
pub use shiftwork_macros::{FromRef, job};

pub use crate::builder::JobsBuilder;
pub use crate::config::{LogFormat, Role};
pub use crate::context::{FromContext, JobContext};
pub use crate::enqueue::NewJob;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::handle::{Jobs, TriggerTarget};
pub use crate::health::{Health, QueueHealth, UnknownJob};
pub use crate::job::{Backoff, DEFAULT_QUEUE, Job, JobDefinition};
pub use crate::result::{IntoJobResult, JobError, JobResult, Permanent};
pub use crate::run::{Run, RunStatus};
pub use crate::schedule::NewSchedule;
pub use crate::state::{FromRef, State};

/// What a module that defines or enqueues jobs wants to have at hand.
pub mod prelude {
    pub use serde::{Deserialize, Serialize};

    pub use crate::{
        FromRef, Job, JobContext, JobError, JobResult, Jobs, NewJob, NewSchedule, Permanent,
        Priority, RunStatus, Scope, State, hours, job, minutes, seconds,
    };
}

/// So many seconds.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// So many minutes.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// So many hours.
pub const fn hours(count: u64) -> Duration {
    Duration::from_secs(3600 * count)
}

/// For the code that the macros write.
#[doc(hidden)]
pub mod __private {
    pub use inventory;

    pub use crate::context::FromContext;
    pub use crate::function::{JobFunction, redacted};
    pub use crate::job::Registration;
    pub use crate::state::SubState;
}
