//! What a contender reports, and what it is ordered meanwhile.

use serde::{Deserialize, Serialize};

/// A line of JSON on a contender's standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub enum Report {
    /// It is connected; a worker consumes from now on.
    Ready {
        /// Of the peer.
        version: String,
    },
    /// All jobs are enqueued, as far as the peer says.
    Produced(Span),
    /// As many handlers have completed as were expected.
    Done(Span),
    /// Answers [`Order::Cpu`].
    Cpu {
        /// Since the process began, microseconds.
        cpu_us: u64,
    },
    /// Answers [`Order::Progress`].
    Progress(Progress),
    /// The log of deliveries is written.
    Stopped,
    /// It cannot go on.
    Failed {
        /// What was done, and what was seen.
        why: String,
    },
}

/// What was measured between two instants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// `CLOCK_MONOTONIC`, nanoseconds: before the first enqueue, or at the first handler's start.
    pub began_ns: u64,
    /// After the last acknowledgement, or at the last handler's end.
    pub ended_ns: u64,
    /// CPU of the contender's process between the two, microseconds.
    pub cpu_us: u64,
}

impl Span {
    /// How long it took.
    pub fn seconds(&self) -> f64 {
        self.ended_ns.saturating_sub(self.began_ns) as f64 / 1e9
    }
}

/// What a worker has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Handlers that have completed.
    pub completed: u64,
    /// CPU of the contender's process since it began, microseconds.
    pub cpu_us: u64,
}

/// A line on a worker's standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `cpu`: report the CPU used so far.
    Cpu,
    /// `progress`: report how many handlers have completed as well.
    Progress,
    /// `stop`: end gracefully, write the log, report.
    Stop,
}

impl Order {
    /// The line, without its end.
    pub fn line(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Progress => "progress",
            Self::Stop => "stop",
        }
    }

    /// What a line means, if anything.
    pub fn read(line: &str) -> Option<Self> {
        let all = [Self::Cpu, Self::Progress, Self::Stop];
        all.into_iter().find(|order| order.line() == line.trim())
    }
}
