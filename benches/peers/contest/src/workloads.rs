//! What is measured: each workload is one function, which runs one contender once.

mod cost;
mod crash;
mod drain;
mod enqueue;
mod idle;
mod in_process;
mod memory;
mod open;
pub(crate) mod steady;
mod storms;
mod timers;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use peers_protocol::Span;

use crate::arena::Arena;
use crate::entry::{Entry, Kind, Pace};
use crate::machine::Cores;
use crate::numbers::{two, whole};
use crate::server::{Persistence, Usage};
use crate::stage::Stage;

/// How long one run may take, all in all.
const LIMIT: Duration = Duration::from_secs(60);

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Workload {
    /// A full queue, emptied by one worker process.
    Drain { concurrency: u64, keep: bool },
    /// Enqueueing alone.
    Enqueue { way: Way },
    /// Enqueued one by one, some time apart, to a worker that is idle.
    Idle,
    /// Enqueued by 100 tasks while a worker runs them.
    Both,
    /// Enqueued at a fixed rate, whatever happens.
    Open { rate: f64 },
    /// The same, at a share of what it can do.
    Share { percent: u64 },
    /// 100,000 jobs, due at one instant.
    Delayed,
    /// A worker on an empty queue.
    Nothing,
    /// Each job fails once.
    Retried,
    /// A worker dies with jobs in hand, and another goes on.
    Crash,
    /// Bytes of a waiting job.
    Memory { jobs: u64 },
    /// What a job costs the server while few others wait, and while many do.
    Cost,
    /// Enqueued and run in one process, without a server, by a runtime of one thread or two.
    InProcess { threads: Threads },
    /// Many timers that fire every second, without a server.
    Timers,
}

/// How jobs are enqueued, where nothing else is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    OneByOne,
    Tasks,
    Bulk,
}

/// Of a contender in process, each with a core of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    Two,
}

/// What one run has shown: measures by name, and what is to be complained of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) values: BTreeMap<&'static str, f64>,
    pub(crate) complaint: Option<String>,
    pub(crate) version: String,
}

/// A measure: its name, its heading in a table, and how it is written.
pub(crate) type Column = (&'static str, &'static str, fn(f64) -> String);

const RATE: Column = ("rate", "jobs/s", whole);
const CLIENT: Column = ("client", "client CPU µs/job", two);
const SERVER: Column = ("server", "server CPU µs/job", two);
const SCRIPTS: Column = ("scripts", "scripts/job", two);
const CALLS: Column = ("calls", "calls/job", two);
const P50: Column = ("p50", "p50 µs", whole);
const P99: Column = ("p99", "p99 µs", whole);
const P999: Column = ("p999", "p99.9 µs", whole);

impl Workload {
    /// Runs a contender once: on a fresh server of that persistence, where it has one.
    pub(crate) fn run(
        self,
        entry: &Entry,
        cores: &Cores,
        persistence: Persistence,
    ) -> Result<Outcome> {
        let arena = || Arena::open(cores, persistence, LIMIT);
        match self {
            Self::Drain { concurrency, keep } => drain::run(&arena()?, entry, concurrency, keep),
            Self::Enqueue { way } => enqueue::run(&arena()?, entry, way),
            Self::Idle => idle::latency(&arena()?, entry),
            Self::Nothing => idle::nothing(&arena()?, entry),
            Self::Both => open::both(&arena()?, entry),
            Self::Open { rate } => open::run(&arena()?, entry, rate),
            Self::Share { percent } => open::share(&arena()?, entry, percent),
            Self::Delayed => storms::delayed(&arena()?, entry),
            Self::Retried => storms::retried(&arena()?, entry),
            Self::Crash => crash::run(&arena()?, entry),
            Self::Memory { jobs } => memory::run(&arena()?, entry, jobs),
            Self::Cost => {
                // A million jobs take their time.
                let arena = || Arena::open(cores, persistence, LIMIT * 3);
                cost::run([&mut arena()?, &mut arena()?], entry)
            }
            Self::InProcess { threads: Threads::One } => {
                cores.for_contenders()?;
                in_process::run(&Stage::open(LIMIT)?, entry, 0)
            }
            Self::InProcess { threads: Threads::Two } => {
                cores.for_contenders_on_both()?;
                in_process::run(&Stage::open(LIMIT)?, entry, 2)
            }
            Self::Timers => {
                cores.for_contenders()?;
                timers::run(&Stage::open(LIMIT)?, entry)
            }
        }
    }

    /// On what it runs, in a few words.
    pub(crate) fn server(self, persistence: Persistence) -> &'static str {
        match self {
            Self::InProcess { .. } | Self::Timers => "no server",
            _ => persistence.describe(),
        }
    }

    pub(crate) fn title(self) -> String {
        match self {
            Self::Drain { concurrency, keep: false } => {
                format!("Drain a full queue, one worker process, {concurrency} at once")
            }
            Self::Drain { concurrency, keep: true } => {
                format!("The same, {concurrency} at once, completed jobs kept for 1 h")
            }
            Self::Enqueue { way: Way::OneByOne } => "Enqueue one by one, each awaited".into(),
            Self::Enqueue { way: Way::Tasks } => "Enqueue by 100 tasks at once".into(),
            Self::Enqueue { way: Way::Bulk } => "Enqueue in bulk".into(),
            Self::Idle => "Idle worker: from the call of enqueue to the handler's start".into(),
            Self::Both => "Enqueue by 100 tasks and run 100 at once, together".into(),
            Self::Open { rate } => format!("Open loop, {} jobs/s", whole(rate)),
            Self::Share { percent } => {
                format!("Open loop, {percent}% of what each does by 100 tasks")
            }
            Self::Delayed => "100,000 delayed jobs, due at one instant".into(),
            Self::Nothing => "An idle worker on one queue, for 30 s".into(),
            Self::Retried => "Retry storm: each job fails once, and again after 1 s".into(),
            Self::Crash => "A worker dies with jobs in hand, another goes on".into(),
            Self::Memory { jobs } => format!("Memory, {} jobs waiting", whole(jobs as f64)),
            Self::Cost => "Cost of a job while others wait".into(),
            Self::InProcess { threads: Threads::One } => {
                "In process: enqueue and run, one thread".into()
            }
            Self::InProcess { threads: Threads::Two } => {
                "In process: enqueue and run, two threads".into()
            }
            Self::Timers => timers::title(),
        }
    }

    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Drain { .. } | Self::Retried => &[RATE, CLIENT, SERVER, SCRIPTS, CALLS, JOBS],
            Self::Enqueue { .. } => &[RATE, CLIENT, SERVER, SCRIPTS, CALLS, JOBS],
            Self::Idle => &[P50, P99, P999, SERVER, CALLS, JOBS],
            Self::Both => &[RATE, CLIENT, SERVER, CALLS, JOBS],
            Self::Open { .. } | Self::Share { .. } => &[RATE, P50, P99, P999, SERVER, JOBS],
            Self::Delayed => &[
                ("all_ms", "ms until all began", whole),
                ("p50", "p50 late µs", whole),
                ("p99", "p99 late µs", whole),
                SERVER,
                JOBS,
            ],
            Self::Nothing => &[
                ("calls", "commands/s, those in scripts too", two),
                ("scripts", "scripts/s", two),
                ("client", "client CPU µs/s", whole),
                ("server", "server CPU µs/s", whole),
            ],
            Self::Crash => &[
                ("lost", "never run to its end", whole),
                ("again", "run again", whole),
                ("all_ms", "ms until the last began", whole),
                JOBS,
            ],
            Self::Memory { .. } => &[("bytes", "bytes/job", whole), JOBS],
            Self::Cost => &[
                ("few", "server CPU µs/job, 10,000 waiting", two),
                ("many", "server CPU µs/job, 1,000,000 waiting", two),
                ("ratio", "ratio", two),
            ],
            Self::InProcess { .. } => &[RATE, CLIENT, JOBS],
            Self::Timers => &[
                ("p50", "p50 late µs", whole),
                ("p99", "p99 late µs", whole),
                ("most", "most late µs", whole),
                ("missed", "missed", whole),
                ("doubled", "doubled", whole),
                ("client", "client CPU µs/firing", two),
                ("jobs", "firings a run", whole),
            ],
        }
    }
}

const JOBS: Column = ("jobs", "jobs a run", whole);

impl Outcome {
    fn with(mut self, name: &'static str, value: f64) -> Self {
        self.values.insert(name, value);
        self
    }

    /// Rate and cost of so many jobs.
    fn pace(self, jobs: u64, span: Span) -> Self {
        let count = jobs as f64;
        self.with("jobs", count)
            .with("rate", count / span.seconds())
            .with("client", span.cpu_us as f64 / count)
    }

    /// The same, and what they cost the server.
    fn costs(self, jobs: u64, span: Span, used: &Usage) -> Self {
        let count = jobs as f64;
        self.pace(jobs, span)
            .with("server", used.cpu * 1e6 / count)
            .with("scripts", used.scripts / count)
            .with("calls", used.calls / count)
    }

    fn delays(self, late_us: &crate::numbers::Quantiles) -> Self {
        self.with("p50", late_us.at(0.5))
            .with("p99", late_us.at(0.99))
            .with("p999", late_us.at(0.999))
    }

    fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    fn complain(mut self, complaint: Option<String>) -> Self {
        self.complaint = complaint;
        self
    }
}

/// How many jobs a run has, so that it lasts about a second or more.
fn jobs(entry: &Entry, fast: u64, slow: u64) -> u64 {
    match (entry.kind, entry.pace) {
        (Kind::Limit, _) => fast * 2,
        (_, Pace::Fast) => fast,
        (_, Pace::Slow) => slow,
    }
}
