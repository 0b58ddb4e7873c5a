//! The program on Redis: what only shows with the real server and several processes.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.
#![allow(clippy::disallowed_methods, reason = "tests let time pass")]

mod batches;
mod permissions;
mod processes;
mod roles;
mod schedules;
mod web_worker;
mod wire_format;
