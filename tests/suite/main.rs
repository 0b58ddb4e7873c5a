//! What Shiftwork promises, tested through its public face: the engine under a paused clock, the
//! configuration, the registration, the handle.
//!
//! What a store must do is tested by the conformance suite, beside each adapter.

// A test binary exports nothing, and may panic in its helpers too.
#![allow(unreachable_pub, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "tests let time pass")]

mod ahead;
mod away;
mod config;
mod events;
mod faulty;
mod handle;
mod heart;
mod kinds;
mod panics;
mod parts;
mod polls;
mod quickstart;
mod registration;
mod releases;
mod relief;
mod retries;
mod runners;
mod schedules;
mod shutdown;
mod signals;
mod slots;
mod solo;
mod stuck;
mod support;
mod timeouts;
mod timers;
mod tracing;
mod unknown_names;
