//! What a contender is told, what it reports, and what all contenders written in Rust share.
//!
//! A contender is a process that plays one of three roles, told as JSON in its last argument
//! ([`Told`]): it enqueues jobs, it runs them, or it does both. It reports in lines of JSON on
//! standard output ([`Report`]), and obeys lines on standard input ([`Order`]). What is the same
//! for all, the payload, the pace, the counting of deliveries, is here, so that a contender holds
//! only what is its peer's own: see [`Contender`].
//!
//! Those without a server are told other things, and report and obey in the same way: one that
//! enqueues and runs jobs in one process is an [`InProcess`], and one that fires timers a
//! [`Timers`].

mod clock;
mod contender;
mod in_process;
mod payload;
mod produce;
mod program;
mod replace;
mod report;
mod tally;
mod timers;
mod told;
mod tuning;

pub use clock::{cpu_us, monotonic_ns, unix_ms, unix_ns};
pub use contender::{Contender, play};
pub use in_process::{InProcess, ToldInProcess, play_in_process};
pub use payload::{NewJob, PAYLOAD_BYTES, Payload};
pub use produce::{Batches, Producer, produce};
pub use report::{Order, Progress, Report, Span};
pub use tally::{Failed, Tally, read_log};
pub use timers::{Firings, Timers, ToldTimers, play_timers};
pub use told::{Produce, Replace, Role, Shape, Told, Work};
pub use tuning::Tuning;
