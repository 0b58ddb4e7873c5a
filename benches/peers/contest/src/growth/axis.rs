//! What grows, and what stays meanwhile.

use crate::numbers::whole;
use crate::workloads::steady::Setting;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Waiting,
    Workers,
    Queues,
}

/// What stays, where it is not what grows.
const ELSE: Setting = Setting { waiting: 100_000, workers: 1, queues: 1 };

impl Axis {
    pub(super) const ALL: [Self; 3] = [Self::Waiting, Self::Workers, Self::Queues];

    pub(super) fn settings(self) -> Vec<Setting> {
        self.settings_up_to(u64::MAX)
    }

    /// As far as no more than so many jobs wait, for four workers and a hundred queues at most
    /// where that is less than all.
    pub(super) fn settings_up_to(self, waiting: u64) -> Vec<Setting> {
        let tried = waiting < ELSE.waiting;
        let base = Setting { waiting: ELSE.waiting.min(waiting), ..ELSE };
        let along = |values: &[u64], most: u64, set: fn(&mut Setting, u64)| {
            let values = values.iter().copied().filter(|value| *value <= most);
            let setting = |value| {
                let mut setting = base;
                set(&mut setting, value);
                setting
            };
            values.map(setting).collect()
        };
        let most = |tried_most| if tried { tried_most } else { u64::MAX };
        match self {
            Self::Waiting => {
                let values = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
                along(&values, waiting, |setting, value| setting.waiting = value)
            }
            Self::Workers => along(&[1, 2, 4, 8, 16, 32], most(4), |setting, value| {
                setting.workers = value;
            }),
            Self::Queues => along(&[1, 10, 100, 1000], most(100), |setting, value| {
                setting.queues = value;
            }),
        }
    }

    /// How much there is of it.
    pub(super) fn value(self, setting: Setting) -> u64 {
        match self {
            Self::Waiting => setting.waiting,
            Self::Workers => setting.workers,
            Self::Queues => setting.queues,
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Waiting => "Cost of a job against jobs waiting",
            Self::Workers => "Cost of a job against worker processes",
            Self::Queues => "Cost of a job against queues",
        }
    }

    /// What is counted.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Waiting => "jobs waiting",
            Self::Workers => "worker processes",
            Self::Queues => "queues",
        }
    }

    /// What stays, such as so many jobs waiting, and what one should know to read the curve.
    pub(super) fn notes(self, waiting: u64) -> String {
        let waiting = whole(waiting as f64);
        match self {
            Self::Waiting => "One queue, one worker process with 100 jobs at once. As many jobs \
                 wait at the end as at the start: for each that was run, another is enqueued."
                .into(),
            Self::Workers => format!(
                "One queue, {waiting} jobs waiting, each worker process with 100 jobs at once. All \
                 processes share one core, so more of them run no more jobs in a second: what is \
                 shown is what a job costs, and not how fast it is done."
            ),
            Self::Queues => format!(
                "{waiting} jobs waiting, spread over all queues, and one worker process that serves \
                 them all. Jobs go round the queues, one after the other: those that are enqueued \
                 together, and the 100 that a process runs at once, are shared out among the \
                 queues. So with more queues a call of a script does less, and \
                 there are more calls for a job. A worker of `bullmq-official` serves one queue: its \
                 process has as many workers as there are queues, with at least one job at once \
                 each."
            ),
        }
    }

    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Waiting => "growth-waiting.svg",
            Self::Workers => "growth-workers.svg",
            Self::Queues => "growth-queues.svg",
        }
    }

    /// What one step of the axis multiplies by.
    pub(super) fn step(self) -> f64 {
        match self {
            Self::Workers => 2.0,
            Self::Waiting | Self::Queues => 10.0,
        }
    }
}
