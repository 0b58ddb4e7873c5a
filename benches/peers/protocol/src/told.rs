//! What a contender is told, as JSON in its last argument.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::tuning::Tuning;

/// All that a contender whose jobs are on a server is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    /// `redis://127.0.0.1:PORT`.
    pub redis: String,
    /// The queue that it uses; of several, what their names begin with.
    pub queue: String,
    /// How many queues it uses. Jobs go round them, by number.
    #[serde(default = "one")]
    pub queues: u64,
    /// What it does.
    #[serde(flatten)]
    pub role: Role,
    /// Settings that differ from its own.
    #[serde(default)]
    pub tuning: Tuning,
}

impl Told {
    /// A setting: what was told, or the contender's own.
    pub fn tuned(&self, name: &str, own: u64) -> u64 {
        self.tuning.of(name, own)
    }

    /// The names of its queues. A job's is that at the place of its number, modulo how many.
    pub fn queue_names(&self) -> Vec<String> {
        match self.queues {
            1 => vec![self.queue.clone()],
            queues => (0..queues).map(|place| format!("{}-{place:03}", self.queue)).collect(),
        }
    }
}

/// What a contender does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Role {
    /// It enqueues jobs, reports, and ends.
    Produce(Produce),
    /// It runs jobs until it is told to stop.
    Work(Work),
    /// It does both until it is told to stop.
    Replace(Replace),
}

/// For every job that it has run, another is enqueued, so that as many wait as did before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replace {
    /// How jobs are run.
    pub work: Work,
    /// What is enqueued. The shape is not regarded: it is done in batches, each as soon as so many
    /// have completed.
    pub produce: Produce,
}

/// How jobs are enqueued.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Produce {
    /// The number of the first job.
    #[serde(default)]
    pub first: u64,
    /// How many there are.
    pub jobs: u64,
    /// In which way.
    pub shape: Shape,
    /// They are going to fail once, and are to be run again after a second.
    #[serde(default)]
    pub retried: bool,
    /// When all of them become due, in milliseconds since 1970. Not there: at once.
    #[serde(default)]
    pub at_ms: Option<u64>,
}

/// In which way jobs are enqueued.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Shape {
    /// One after the other, each acknowledged before the next is begun.
    OneByOne,
    /// By so many tasks, each of which does it one by one.
    Tasks {
        /// How many tasks.
        tasks: u64,
    },
    /// In batches, as the peer does it best.
    Bulk,
    /// One by one, so far apart that an idle worker is idle. The payload carries when the call
    /// was begun.
    Paced {
        /// Microseconds between two.
        every_us: u64,
    },
    /// An open loop: the time of each is fixed in advance and carried by its payload, so that a
    /// job which is late because others were late counts as late.
    Open {
        /// Jobs a second.
        rate: f64,
    },
}

/// How jobs are run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// How many at once.
    pub concurrency: u64,
    /// After so many completed handlers it reports that it is done. Never, if there are not
    /// as many.
    pub expected: u64,
    /// Job numbers are below this.
    pub numbers: u64,
    /// Each job fails the first time, and is to be run again after about a second.
    #[serde(default)]
    pub fail_first: bool,
    /// Completed jobs are kept for an hour.
    #[serde(default)]
    pub keep_completed: bool,
    /// Whether the time of each start is recorded.
    #[serde(default)]
    pub timed: bool,
    /// The process kills itself when so many handlers have completed and one more begins, as a crash
    /// would: nothing is settled, nothing is closed. What has run by then is in the log.
    #[serde(default)]
    pub dies_after: Option<u64>,
    /// Where the log of deliveries is written when it stops.
    pub log: PathBuf,
}

fn one() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_queue_has_the_name_itself_and_several_begin_with_it() {
        let produce =
            r#"{"redis":"","queue":"contest","role":"produce","jobs":1,"shape":{"by":"bulk"}}"#;
        let mut told: Told = serde_json::from_str(produce).unwrap();
        assert_eq!(told.queue_names(), ["contest"]);
        told.queues = 2;
        assert_eq!(told.queue_names(), ["contest-000", "contest-001"]);
    }
}
