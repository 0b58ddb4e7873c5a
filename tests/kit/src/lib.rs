//! Real servers for tests, and what can happen to them.
//!
//! - [`RedisServer`] is a server of the test's own. It can be killed, restarted, stalled and asked.
//! - [`Watched`] is a primary with replicas, and sentinels that watch over them.
//! - [`Clustered`] is a cluster of three masters, each with a replica.
//! - [`Certificates`] let it speak TLS.
//! - [`Proxy`] is a network in front of it. It can be slow, stall, forget connections, cut or refuse
//!   them, and lose the reply to a request that was executed.
//! - [`Connection`] asks any server that speaks its protocol, with a time after which it gives up.
//!
//! Everything here blocks and runs on threads, so that it serves a test under any runtime. Nothing
//! touches a server that it did not start.

mod certificates;
mod clustered;
mod port;
mod proxy;
mod resp;
mod server;
mod watched;

pub use certificates::Certificates;
pub use clustered::Clustered;
pub use proxy::{LostReply, Proxy};
pub use resp::{Connection, Reply};
pub use server::{Fsync, RedisOptions, RedisServer};
pub use watched::Watched;
