//! Ready-made jobs for [Shiftwork](shiftwork): each registers itself in every program that links
//! this crate, and is overridden by its variables as any other job is.
//!
//! | job | what it does | when, by default |
//! |---|---|---|
//! | [`data-retention`](data_retention) | deletes for good what expired: soft-deleted rows, old backups | 02:00 UTC |
//! | [`schedule-watchdog`](schedule_watchdog) | reports each schedule that has not run when it should have | every five minutes |
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `data-retention` | yes | the job of that name |
//! | `schedule-watchdog` | yes | the job of that name |
//! | `sqlite` | no | `data_retention::ExpiredRows`: rows of a SQLite database, through sqlx 0.9; SQLite itself is compiled with it, which takes a C compiler |
//!
//! A program links the crate by naming it in code. One that gives a job what it needs names it
//! anyway; one that only fires schedules says `use shiftwork_jobs as _;`. With the crate come the jobs
//! of its features: whoever wants one of them asks for that one.
//!
//! ```toml
//! shiftwork-jobs = { version = "0.1", default-features = false, features = ["schedule-watchdog"] }
//! ```

#[cfg(feature = "data-retention")]
pub mod data_retention;
#[cfg(feature = "schedule-watchdog")]
pub mod schedule_watchdog;

use std::time::Duration;

/// So many days of 24 hours.
pub const fn days(count: u64) -> Duration {
    Duration::from_secs(24 * 60 * 60 * count)
}
