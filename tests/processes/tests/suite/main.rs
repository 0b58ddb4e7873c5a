//! Processes of an application that are killed, stopped, cut off and outlived by their server:
//! what is promised of jobs holds all the same.
//!
//! Every test has a server of its own and starts real processes, of the program of this package.
//! What its jobs did stands in their journal, and what became of them the store says; the two must
//! agree. A test that fails tells what the processes logged last, and where the rest is.
//!
//! What is random comes from a seed, which a failing test prints; `SHIFTWORK_SEED` repeats it, as
//! far as processes do.

#![allow(clippy::unwrap_used, unreachable_pub)]
#![allow(clippy::disallowed_methods, reason = "tests let time pass")]

mod account;
mod enqueuer;
mod process;
mod world;

mod chaos;
mod cluster;
mod defaults;
mod failover;
mod idle;
mod killed;
mod network;
mod poison;
mod restarts;
mod roles;
mod rollouts;
mod schedules;
mod stalls;
mod stopped;
