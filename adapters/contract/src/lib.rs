//! The contract between the Shiftwork engine and the stores that keep its jobs.
//!
//! The engine (crate `shiftwork`) runs jobs; a store keeps them. Between the two stands
//! [`JobAdapter`], and this crate is all that an adapter depends on. An application has no need
//! of it.
//!
//! # To write an adapter
//! 1. Implement [`JobAdapter`]. Its documentation says what both sides owe; each method says what
//!    is atomic and by what a resend is known.
//! 2. Submit a [`Provider`], so that `JOBS_PROVIDER` can name it.
//! 3. Run the conformance suite, behind the feature `conformance`: it is how an adapter, ours or
//!    another's, is shown to keep the contract.
//!
//! The memory adapter (crate `shiftwork-memory`) is the shortest complete one to read.

mod adapter;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod exchange;
mod id;
mod inspect;
mod job;
mod name;
mod occurrence;
mod provider;
mod schedule;
mod server;
mod time;

pub use adapter::{Heart, JobAdapter, MAX_BATCH};
pub use clock::{Clock, SystemClock, TestClock, sleep_until};
pub use error::{AdapterError, Effect, ErrorKind, Result};
pub use exchange::{
    Beat, BeatReply, Claimed, Exchange, ExchangeAnswer, ExchangeReply, HeldPage, Outcome,
    Recovered, Settlement, SweepAnswer, Ticket, Watch,
};
pub use id::{Incarnation, InvalidId, JobId};
pub use inspect::{CancelJob, Counts, Cursor, Enqueued, Find, Found, Operated, Pong};
pub use job::{
    AttemptReport, Due, Failure, FailureKind, JobRecord, JobSpec, JobState, Payload, Priority,
    Provenance, ScheduledBy, Scope,
};
pub use name::{AppName, InvalidName, JobName, MAX_NAME_LEN, Namespace, QueueName, ScheduleId};
pub use provider::{
    Capabilities, Connecting, Connection, Provider, Retention, StoreSettings, Variable, Wakeups,
};
pub use schedule::{
    Announcement, Defined, DueInQueue, DueSchedules, Fired, Firing, FiringOf, JobTemplate, LastRun,
    MISFIRE_ALL_BOUND, Misfire, Origin, Overlap, Passed, ReleaseId, Releases, Rewind, Schedule,
    ScheduleRecord, Schedules, Timing, Trigger, TriggerOverlap, Triggered,
};
pub use server::{ServerHealth, ServerState};
pub use time::Timestamp;
