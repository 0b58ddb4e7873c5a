//! Where one run of one contender happens: a directory for its log, and a time limit.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use peers_protocol::Work;
use serde::Serialize;
use tempfile::TempDir;

use crate::deliveries::Deliveries;
use crate::entry::Entry;
use crate::process::Process;

/// All that a run without a server needs.
pub(crate) struct Stage {
    directory: TempDir,
    limit: Duration,
}

impl Stage {
    pub(crate) fn open(limit: Duration) -> Result<Self> {
        let directory = tempfile::tempdir().context("a directory for the log")?;
        Ok(Self { directory, limit })
    }

    /// Starts a contender, and waits until it is ready.
    pub(crate) fn start(&self, entry: &Entry, told: &impl Serialize) -> Result<Process> {
        Process::start(&entry.program, told, self.limit)
    }

    /// What a worker is told, unless it is told more.
    pub(crate) fn worker(&self, concurrency: u64, jobs: u64) -> Work {
        Work {
            concurrency,
            expected: jobs,
            numbers: jobs,
            fail_first: false,
            keep_completed: false,
            timed: false,
            dies_after: None,
            log: self.log(),
        }
    }

    /// Where a contender writes what ran.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.path().join("deliveries")
    }

    /// What ran, after the contender was stopped.
    pub(crate) fn deliveries(&self, jobs: u64, times: u32) -> Result<Deliveries> {
        Deliveries::read(&self.log(), jobs, times)
    }
}
