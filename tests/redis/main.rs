//! The program on Redis: what only shows with the real server and several processes.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.

mod batches;
mod permissions;
mod processes;
mod roles;
mod schedules;
mod web_worker;
mod wire_format;
