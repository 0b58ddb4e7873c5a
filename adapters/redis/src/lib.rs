//! The distributed adapter of Shiftwork, `JOBS_PROVIDER=redis`: jobs in Redis or Valkey, shared by
//! as many processes as there are.
//!
//! # How a call flows
//! ```text
//!  JobAdapter method ──▶ adapter      one line for each method
//!                          │
//!                        store, queue its part of the story: exchange, enqueue, sweep, …
//!                          │          builds the call of one script, reads its answer
//!                          ├─ keys    every key there is
//!                          ├─ script  every script there is ──▶ scripts/*.lua: the steps themselves
//!                          └─ envelope  what is stored of a job
//!                        links        where it goes, and again where no answer comes
//!                          ├─ slot    which part of the store that is
//!                        link         one connection, and the supervisor that keeps it up
//!                          │
//!                        server ──▶ redis-server        wakeup ◀── what the server pushes
//!                          └─ url, sentinel, cluster, tls   which server, and whom to trust
//! ```
//!
//! # What always holds
//! - Every step is one script in one hash slot. It is sent again, unchanged, when its answer is lost,
//!   and knows that for what it is: exchanges by their number, enqueues by their lane's, the others
//!   since what they do is done.
//! - A job is in exactly one place: a list of its priority, `solo`, `delayed`, an incarnation's
//!   `held`, a shelf. Its envelope says whether it has ended; where it is while it has not, the
//!   places do. An entry whose stamp is not the envelope's is a tombstone.
//! - Time is the server's. What a process reckons it to be is stored only where the server finds it
//!   right, within a second.
//! - The heart has a connection of its own, on its own thread.

mod adapter;
mod asking;
mod cluster;
mod enqueue;
mod envelope;
mod exchange;
mod fault;
mod finish;
mod firing;
mod heart;
mod inspect;
mod keys;
mod link;
mod links;
mod operate;
mod reckoning;
mod releases;
mod replicas;
mod reply;
mod schedules;
mod script;
mod sent;
mod sentinel;
mod server;
mod slot;
mod store;
mod sweep;
mod tls;
mod url;
mod wakeup;

pub use adapter::{PROVIDER, RedisAdapter};
