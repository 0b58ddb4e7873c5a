//! What is particular to the redis adapter: its keys and scripts, and what becomes of it when its
//! server, its network or its permissions fail. What every adapter does, the conformance suite
//! shows.
//!
//! Every test has a server of its own, so that it may stall, kill or refuse it.

#![allow(clippy::unwrap_used, unreachable_pub)]
#![allow(clippy::disallowed_methods, reason = "tests let time pass")]

mod events;
#[path = "../../benches/kit/mod.rs"]
mod kit;
mod monitor;
mod support;
mod workload;

#[cfg(feature = "cluster")]
mod cluster;
mod cost;
mod flushes;
mod health;
mod keys;
mod leases;
mod lost_replies;
mod lua;
mod outages;
mod permissions;
mod pressure;
mod replicas;
mod schedules;
#[cfg(feature = "sentinel")]
mod sentinel;
mod services;
mod shutdown;
#[cfg(feature = "tls")]
mod tls;
mod urls;
mod wakeups;
mod warnings;
