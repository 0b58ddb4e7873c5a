//! Where one run of one contender on a server happens: a stage, and a fresh server.

use std::time::Duration;

use anyhow::{Context, Result};
use peers_protocol::{Produce, Replace, Role, Shape, Told, Work};
use shiftwork_test_kit::RedisServer;

use crate::deliveries::Deliveries;
use crate::entry::Entry;
use crate::machine::Cores;
use crate::process::Process;
use crate::server::{self, Persistence, Usage};
use crate::stage::Stage;

/// The queue of every run, or what the names of several begin with.
const QUEUE: &str = "contest";

/// A stage with a server of one run's own.
pub(crate) struct Arena {
    server: RedisServer,
    /// How many queues the jobs go round.
    pub(crate) queues: u64,
    stage: Stage,
}

impl Arena {
    pub(crate) fn open(cores: &Cores, persistence: Persistence, limit: Duration) -> Result<Self> {
        let server = server::start(cores, persistence)?;
        Ok(Self { server, queues: 1, stage: Stage::open(limit)? })
    }

    /// Starts a contender that enqueues.
    pub(crate) fn produce(&self, entry: &Entry, what: Produce) -> Result<Process> {
        self.stage.start(entry, &self.told(entry, Role::Produce(what)))
    }

    /// Enqueues so many jobs in batches, and waits until they are.
    pub(crate) fn fill(&self, entry: &Entry, jobs: u64) -> Result<()> {
        let mut producer = self.produce(entry, bulk(jobs)).context("filling the queue")?;
        producer.produced().context("filling the queue")?;
        Ok(())
    }

    /// Starts a contender that runs jobs.
    pub(crate) fn work(&self, entry: &Entry, concurrency: u64, jobs: u64) -> Result<Process> {
        self.work_as(entry, self.worker(concurrency, jobs))
    }

    pub(crate) fn work_as(&self, entry: &Entry, work: Work) -> Result<Process> {
        self.stage.start(entry, &self.told(entry, Role::Work(work))).context("starting the worker")
    }

    /// Starts a contender that runs jobs and enqueues as many.
    pub(crate) fn replace(&self, entry: &Entry, what: Replace) -> Result<Process> {
        let told = self.told(entry, Role::Replace(what));
        self.stage.start(entry, &told).context("starting to run and enqueue")
    }

    /// What a worker is told, unless it is told more.
    pub(crate) fn worker(&self, concurrency: u64, jobs: u64) -> Work {
        self.stage.worker(concurrency, jobs)
    }

    /// What ran, after the worker was stopped.
    pub(crate) fn deliveries(&self, jobs: u64, times: u32) -> Result<Deliveries> {
        self.stage.deliveries(jobs, times)
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage::of(&self.server)
    }

    fn told(&self, entry: &Entry, role: Role) -> Told {
        let (redis, queue) = (self.server.url(), QUEUE.to_owned());
        Told { redis, queue, queues: self.queues, role, tuning: entry.tuning.clone() }
    }
}

/// So many jobs in batches, to be run at once and once.
pub(crate) fn bulk(jobs: u64) -> Produce {
    shaped(jobs, Shape::Bulk)
}

/// So many jobs in another way.
pub(crate) fn shaped(jobs: u64, shape: Shape) -> Produce {
    Produce { first: 0, jobs, shape, retried: false, at_ms: None }
}
