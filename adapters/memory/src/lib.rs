//! The in-process adapter of Shiftwork, `JOBS_PROVIDER=memory`: a real store, for development,
//! tests and small programs that need no other.
//!
//! It keeps every promise of [`JobAdapter`](shiftwork_adapter::JobAdapter) that a store can keep
//! whose jobs end with the process: leases and recovery, delays, priorities, dead letters,
//! retention, schedules. What works on it works on the others.
//!
//! # How a call flows
//! ```text
//!  JobAdapter method ──▶ adapter     one line for each method
//!                          │
//!                        store       finds the queue, locks it, reads the clock
//!                          │
//!                        queue       one step of its story; pure, and under the lock
//!                        ├─ jobs     records by id, and the arrows between their states
//!                        │  ├─ waiting    lanes by priority
//!                        │  ├─ delayed    by due time
//!                        │  └─ retention  finished jobs by age and count
//!                        └─ incarnation   who speaks, what they hold, until when
//!                          │
//!                        wakeup      after the lock: whoever waits for what changed
//! ```
//!
//! # What always holds
//! - One mutex for each queue, one for the schedules; none is held over an await. Where both are
//!   needed, the schedules are locked before the queue, and never two queues at once.
//! - A job is in exactly one place: a lane, the delayed, an incarnation's hands, a shelf.
//!   It leaves that place in the step in which it enters another, so there are no tombstones.
//! - Everything is kept in trees, ordered by what it is looked for by. A step costs the logarithm
//!   of what is stored, and no table ever grows all at once, which would hold up a queue of a
//!   million jobs for tens of milliseconds. Ids made one after the other are neighbours in a
//!   tree, so it is hardly slower than a hash table, and no choice of ids can slow it down.
//! - Time comes from the [`Clock`](shiftwork_adapter::Clock) the adapter was given. It may jump;
//!   leases that a clock set back would lengthen are cut to their length.

mod adapter;
mod capacity;
mod delayed;
mod exchange;
mod finish;
mod firing;
mod heart;
mod incarnation;
mod inspect;
mod jobs;
mod operate;
mod queue;
mod record;
mod releases;
mod retention;
mod runs;
mod schedules;
mod settle;
mod store;
mod sweep;
mod waiting;
mod wakeup;

pub use adapter::{MemoryAdapter, PROVIDER};

/// How much of each kind one step does at most: jobs promoted, claimed, recovered, trimmed. A
/// thousand take well under a millisecond.
const STEP: usize = 1000;
