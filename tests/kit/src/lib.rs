//! Real servers for tests, and what can happen to them.
//!
//! - [`RedisServer`] is a server of the test's own. It can be killed, restarted, stalled and asked.
//! - [`Connection`] asks any server that speaks its protocol, with a time after which it gives up.
//!
//! Everything here blocks and runs on threads, so that it serves a test under any runtime. Nothing
//! touches a server that it did not start.

mod port;
mod resp;
mod server;

pub use resp::{Connection, Reply};
pub use server::{Fsync, RedisOptions, RedisServer};
