//! Background jobs: written once, kept and run where the environment says.
//!
//! A job is a function with [`#[job]`](macro@job). It registers itself when the program is linked,
//! and waits in a queue until a worker runs it: with retries, timeouts, priorities, delays, cron
//! schedules, results, dead letters, and a shutdown that hands back what it could not finish.
//! `JOBS_PROVIDER` says where jobs are kept. There is one adapter so far, `memory`, which keeps
//! them in the process; one for Redis is planned.
//!
//! ```no_run
//! use shiftwork::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct WelcomeEmail {
//!     user_id: u64,
//! }
//!
//! #[job(queue = "notifications", attempts = 5)]
//! async fn welcome_email(email: WelcomeEmail, ctx: JobContext) -> Result<(), JobError> {
//!     println!("attempt {} for user {}", ctx.attempt(), email.user_id);
//!     Ok(())
//! }
//!
//! #[job(cron = "0 3 * * *")]
//! async fn nightly_report() -> Result<String, JobError> {
//!     Ok("all is well".into())
//! }
//!
//! #[tokio::main]
//! async fn main() -> shiftwork::Result<()> {
//!     let jobs = Jobs::from_env().start().await?;
//!     jobs.enqueue(welcome_email::job(WelcomeEmail { user_id: 7 }).delay(minutes(5))).await?;
//!     let run = jobs.trigger("nightly_report").await?; // Now, and not only at three.
//!     println!("{:?}", run.result(minutes(1)).await?);
//!     jobs.run_until_shutdown().await
//! }
//! ```
//!
//! # Where to begin
//! - To write a job: [`#[job]`](macro@job), or the trait [`Job`]. A handler takes its payload,
//!   [`State`]s and a [`JobContext`], and returns what [`IntoJobResult`] allows.
//! - To start: [`Jobs::from_env`] gives a [`JobsBuilder`], which takes the states and
//!   [starts](JobsBuilder::start).
//! - To enqueue: [`Jobs::enqueue`] with a [`NewJob`], which says when, where and how urgent. It
//!   answers a [`Run`], which [waits for the result](Run::result): a [`JobResult`].
//! - To schedule: `cron` or `every` beside the handler, or [`Jobs::schedule`] with a
//!   [`NewSchedule`].
//! - To fail: any error by `?` is tried again; one marked [`Permanent`] is not.
//! - To look and operate: [`Jobs::find`], [`Jobs::counts`], [`Jobs::replay`],
//!   [`Jobs::cancel_job`], [`Jobs::pause`], [`Jobs::health`].
//! - To trace: [`telemetry`].
//! - To write an adapter: [`adapter`], the contract with the stores.
//!
//! The README has all variables of the environment. Delivery is at least once, so handlers must
//! be idempotent; the directory `docs` shows how, and states what is promised.
//!
//! # A crate that no code names is not linked
//! Jobs and adapters register themselves through `inventory`. A crate that stands in `Cargo.toml`
//! and is named nowhere is left out by the linker, with all that it would register. Name it once:
//!
//! ```
//! # use shiftwork as its_crate;
//! use its_crate as _;
//! ```
//!
//! Or register by hand, with [`JobsBuilder::register`] and [`JobsBuilder::provider`]. For the
//! same reason a job crate takes this one with `default-features = false`: which adapters there
//! are is the application's choice.
//!
//! # Features
//! - `memory` (on by default): the adapter that keeps jobs in the process.

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
mod patience;
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
    CancelJob, Counts, Cursor, Effect, Failure, FailureKind, Find, Found, JobId, JobName,
    JobRecord, JobState, Misfire, Operated, Overlap, Payload, Priority, QueueName, ScheduleId,
    ScheduleRecord, Scope, ServerHealth, ServerState, Timestamp,
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
pub use crate::schedule::{CronExpression, NewSchedule, Reconciliation};
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

/// The examples of these pages are tests too.
#[cfg(doctest)]
mod docs {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/adding-a-job.md")]
    mod adding_a_job {}
    #[doc = include_str!("../docs/idempotency.md")]
    mod idempotency {}
}
