//! How an adapter makes itself known: a [`Provider`] submitted to `inventory`.
//!
//! ```
//! # use shiftwork_adapter::{Capabilities, Connection, Provider, Variable, Wakeups};
//! # async fn connect(_: Connection) -> shiftwork_adapter::Result<std::sync::Arc<dyn shiftwork_adapter::JobAdapter>> { unimplemented!() }
//! inventory::submit! {
//!     Provider {
//!         name: "postgres",
//!         summary: "jobs in a PostgreSQL database",
//!         capabilities: Capabilities {
//!             survives_restart: true,
//!             many_processes: true,
//!             wakeups: Wakeups::BestEffort,
//!         },
//!         variables: &[Variable {
//!             name: "JOBS_POSTGRES_URL",
//!             fallbacks: &["DATABASE_URL"],
//!             required: true,
//!             default: None,
//!             secret: true,
//!             doc: "where the database is, such as postgres://user:password@host/database",
//!             check: Variable::any,
//!         }],
//!         connect: |connection| Box::pin(connect(connection)),
//!     }
//! }
//! ```
//!
//! A program links it by naming the adapter's crate once, `use shiftwork_postgres as _;`, or
//! hands the provider to its `Jobs` builder: a crate that stands in `Cargo.toml` and is named
//! nowhere is not linked, and registers nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{Clock, JobAdapter, Namespace, Result};

/// An adapter that `JOBS_PROVIDER` can name.
#[derive(Clone, Copy, Debug)]
pub struct Provider {
    /// What `JOBS_PROVIDER` says to choose it; lower case.
    pub name: &'static str,
    /// For people, in half a line.
    pub summary: &'static str,
    /// How it differs from others.
    pub capabilities: Capabilities,
    /// Environment variables of its own. Each begins with `JOBS_`.
    pub variables: &'static [Variable],
    /// Makes it. Called once, inside of a tokio runtime.
    ///
    /// It does not wait for the store: whether that answers is then asked by
    /// [`ping`](JobAdapter::ping), and where it does not, most processes start all the same.
    ///
    /// It fails as [`JobAdapter`] methods do: [`Invalid`](crate::ErrorKind::Invalid) for a
    /// variable's value, with the variable's name in its message and never a secret.
    pub connect: fn(Connection) -> Connecting,
}

inventory::collect!(Provider);

impl Provider {
    /// All that are linked into this program, ordered by name.
    pub fn linked() -> Vec<&'static Self> {
        let mut providers: Vec<_> = inventory::iter::<Self>.into_iter().collect();
        providers.sort_by_key(|provider| provider.name);
        providers
    }
}

/// An adapter on its way.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Arc<dyn JobAdapter>>> + Send>>;

/// What truly differs between adapters. Everything else is the same, or the conformance suite
/// fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Jobs outlive the process.
    pub survives_restart: bool,
    /// Several processes share the jobs: one may enqueue what another runs.
    pub many_processes: bool,
    /// Whether [`wait`](JobAdapter::wait) may sleep through what it waits for.
    pub wakeups: Wakeups,
}

/// How far a wake-up can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeups {
    /// None is ever lost; nobody needs to poll.
    Certain,
    /// One may be lost, on a wire or by a dying process: the engine polls slowly behind them.
    BestEffort,
}

/// An environment variable of an adapter's.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Other names by which it may be set, in this order, where it is not under its own: such as
    /// those that hosting providers set.
    pub fallbacks: &'static [&'static str],
    /// The adapter cannot do without it: where it is set under no name and has no default, that is
    /// told together with all else that is wrong.
    pub required: bool,
    /// What holds where it is not set, as it would be written; `None`: nothing.
    pub default: Option<&'static str>,
    /// Never shown in a message or a log.
    pub secret: bool,
    /// What it is for, with unit and range.
    pub doc: &'static str,
    /// Checks a value by itself, before anything is opened, so that it is told together with all
    /// else that is wrong. For one that it cannot have, says what to use instead: "use a whole
    /// number from 1 to 100". [`Variable::any`] where every text may do.
    pub check: fn(&str) -> Result<(), String>,
}

impl Variable {
    /// Any text may do, as far as can be said without trying.
    ///
    /// # Errors
    /// None.
    pub const fn any(_: &str) -> Result<(), String> {
        Ok(())
    }
}

/// What an adapter is made of.
#[derive(Clone)]
#[non_exhaustive]
pub struct Connection {
    /// Keeps the jobs of separate systems apart in one store.
    pub namespace: Namespace,
    /// What holds for every store.
    pub settings: StoreSettings,
    /// The values of the provider's own [variables](Provider::variables), defaults filled in.
    pub variables: BTreeMap<&'static str, String>,
    /// This process's clock, for a store that has no other.
    pub clock: Arc<dyn Clock>,
}

impl Connection {
    /// A connection with the default settings and no variables.
    pub fn new(namespace: Namespace, clock: Arc<dyn Clock>) -> Self {
        Self { namespace, settings: StoreSettings::default(), variables: BTreeMap::new(), clock }
    }
}

/// Names the variables that are set and shows no value: one of them may be a password.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("namespace", &self.namespace)
            .field("settings", &self.settings)
            .field("variables", &self.variables.keys())
            .finish_non_exhaustive()
    }
}

/// What a store is told once and applies in every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreSettings {
    /// How long one call to the store may take in all before it fails, with whatever the adapter
    /// tries again within it: 100 ms to 1 min. [`wait`](JobAdapter::wait) and
    /// [`await_finish`](JobAdapter::await_finish) take as long as there is nothing to tell.
    pub connect_timeout: Duration,
    /// How long a worker keeps its jobs without a sign of life.
    pub lease: Duration,
    /// How much longer after a lapse was first noticed: a store that was away itself must not
    /// take every worker for dead.
    pub grace: Duration,
    /// How often an idle queue is looked at though nothing was told of it; `None`: as the engine,
    /// or an adapter whose store tells nothing, finds right.
    pub idle_poll: Option<Duration>,
    /// The crash that makes a job a dead letter; at least 1.
    pub max_crashes: u32,
    /// How completed and cancelled jobs are kept.
    pub keep_completed: Retention,
    /// How dead letters are kept.
    pub keep_dead: Retention,
}

impl Default for StoreSettings {
    /// 8 s and 2 s: with a poll of at most 10 s, which runs beside the lease, a killed worker's jobs
    /// run again within 12 s, and 15 s are promised.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            lease: Duration::from_secs(8),
            grace: Duration::from_secs(2),
            idle_poll: None,
            max_crashes: 3,
            keep_completed: Retention { age: Duration::ZERO, count: 10_000 },
            keep_dead: Retention { age: Duration::from_secs(30 * 24 * 60 * 60), count: 100_000 },
        }
    }
}

/// How long finished jobs of a queue are kept. A job's own
/// [`keep_result`](crate::JobSpec::keep_result) can lengthen the age and is not subject to the
/// count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For so long after they ended; zero: not at all.
    pub age: Duration,
    /// At most so many of a queue; those that ended first go first.
    pub count: usize,
}
