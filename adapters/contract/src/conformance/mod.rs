//! The conformance suite: how an adapter is shown to keep the contract.
//!
//! An adapter's tests state a [`Factory`], which makes fresh stores, and hand it to
//! [`conformance!`](crate::conformance!). Each case is then a test of its own, named by the
//! behaviour it shows, such as `conformance::fencing::settling_with_an_old_generation_is_refused`:
//!
//! ```
//! use std::sync::Arc;
//!
//! use shiftwork_adapter::conformance::{Factory, Store, Time};
//! use shiftwork_adapter::{JobAdapter, StoreSettings};
//! # async fn connect(_: &str, _: StoreSettings) -> Arc<dyn JobAdapter> { unimplemented!() }
//!
//! struct Postgres;
//!
//! #[async_trait::async_trait]
//! impl Factory for Postgres {
//!     fn time(&self) -> Time {
//!         Time::Real { unit: std::time::Duration::from_millis(100) }
//!     }
//!
//!     async fn open(&self, settings: StoreSettings) -> Box<dyn Store> {
//!         // A schema that nobody else uses: each case has a store of its own.
//!         Box::new(Schema { name: format!("test_{}", std::process::id()), settings })
//!     }
//! }
//!
//! struct Schema {
//!     name: String,
//!     settings: StoreSettings,
//! }
//!
//! #[async_trait::async_trait]
//! impl Store for Schema {
//!     async fn adapter(&self) -> Arc<dyn JobAdapter> {
//!         connect(&self.name, self.settings).await
//!     }
//! }
//!
//! shiftwork_adapter::conformance!(Postgres);
//! # fn main() {}
//! ```
//!
//! Without the macro, [`run_all`] runs every case and reports by name, and [`run_model`] runs the
//! model-based test.
//!
//! # How it is made
//! - One file per subject, its list of cases on top; `kit` and `worker` are what all use.
//! - The model-based test is `model`, an obviously right store in plain collections that judges
//!   every answer, and `machine`, which makes up what is asked. It checks the promises P1
//!   (nothing is lost), P2 (one holder), P3 (one job per occurrence) and P5 (exact counts).
//! - Time is stated in units that the factory gives. Under [`Time::Simulated`] it costs nothing;
//!   under [`Time::Real`] a case sleeps for some of them.
//! - What an adapter may decide for itself (how many jobs one claim gives, which of two jobs that
//!   became due in the same millisecond goes first) is left to it. A wake-up that may be lost
//!   ([`Wakeups::BestEffort`](crate::Wakeups::BestEffort)) is not insisted on; that the job can
//!   be claimed afterwards is.
//! - What is particular to an adapter (its capacity, its variables, its failovers) is left to that
//!   adapter's own tests.

// These are tests in the form of a library: a failed `expect` is how a case fails.
#![allow(clippy::unwrap_used)]
#![expect(clippy::disallowed_methods, reason = "the suite lets the time pass that stores go by")]

mod factory;
mod kit;
mod machine;
mod model;
mod run;
mod worker;

mod cancel;
mod claims;
mod clock;
mod dead_letters;
mod delays;
mod due;
mod enqueue;
mod fencing;
mod firing;
mod inspect;
mod leases;
mod order;
mod pause;
mod payloads;
mod recovery;
mod releases;
mod resend;
mod results;
mod rewinding;
mod schedules;
mod settle;
mod shutdown;
mod trigger;
mod wakeups;

pub use factory::{Factory, Store, Time};
pub use machine::run_model;
pub use run::{Report, cases, run, run_all};

use kit::Kit;
use run::case_list;
use worker::Worker;
