//! Whether every job ran, and how often; and how late.

use std::path::Path;

use anyhow::{Context, Result};
use peers_protocol::read_log;

use crate::numbers::Quantiles;

/// What a log of deliveries shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deliveries {
    /// Jobs that never ran.
    pub(crate) lost: u64,
    /// Jobs that ran more often than they should.
    pub(crate) again: u64,
    /// Records of jobs that there are not.
    pub(crate) unknown: u64,
    /// From what the delay is counted from to the handler's start, microseconds.
    pub(crate) late_us: Quantiles,
    /// All starts, `CLOCK_MONOTONIC`.
    pub(crate) began_ns: Vec<u64>,
}

impl Deliveries {
    /// Each of `jobs` numbers must be there `times` times.
    pub(crate) fn read(log: &Path, jobs: u64, times: u32) -> Result<Self> {
        let records = read_log(log).with_context(|| format!("reading {}", log.display()))?;
        let mut counts = vec![0_u32; jobs as usize];
        let mut found = Self::default();
        let mut late = Vec::with_capacity(records.len());
        for [number, began, due] in records {
            match counts.get_mut(number as usize) {
                Some(count) => *count += 1,
                None => found.unknown += 1,
            }
            if began > 0 {
                late.push(began.saturating_sub(due) as f64 / 1000.0);
                found.began_ns.push(began);
            }
        }
        found.lost = counts.iter().filter(|count| **count < times).count() as u64;
        found.again = counts.iter().filter(|count| **count > times).count() as u64;
        found.late_us = Quantiles::of(late);
        Ok(found)
    }

    /// Nothing to complain of: `None`.
    pub(crate) fn complaint(&self) -> Option<String> {
        let parts = [
            (self.lost, "not run"),
            (self.again, "run again"),
            (self.unknown, "run and never enqueued"),
        ];
        let parts: Vec<_> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}
