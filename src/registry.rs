//! The jobs that this program knows.
//!
//! Those with `#[job]` register themselves at link time, others by hand. All are checked together
//! at start, so that every fault is reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shiftwork_adapter::{JobName, QueueName};

use crate::error::Problems;
use crate::job::{JobDefinition, Registration};
use crate::nearest::did_you_mean;

/// The jobs of this program, by name.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    jobs: BTreeMap<JobName, Arc<Registered>>,
    /// Every queue that one of them declares.
    queues: BTreeSet<QueueName>,
}

/// A definition that was checked.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) name: JobName,
    pub(crate) queue: QueueName,
    pub(crate) definition: JobDefinition,
}

impl Registry {
    /// All jobs linked into this program, unless `linked` is false, and those registered by hand.
    pub(crate) fn build(by_hand: &[JobDefinition], linked: bool, problems: &mut Problems) -> Self {
        let mut registry = Self::default();
        if linked {
            for Registration(define) in inventory::iter::<Registration> {
                registry.add(define(), problems);
            }
        }
        for definition in by_hand {
            registry.add(definition.clone(), problems);
        }
        registry
    }

    fn add(&mut self, definition: JobDefinition, problems: &mut Problems) {
        let name = JobName::new(&definition.name);
        let queue = QueueName::new(&definition.queue);
        for fault in [name.as_ref().err(), queue.as_ref().err()].into_iter().flatten() {
            problems.add(format!("the job defined at {}: {fault}", definition.place));
        }
        let (Ok(name), Ok(queue)) = (name, queue) else { return };
        if let Some(other) = self.jobs.get(&name) {
            // Registering by hand what also registered itself is harmless.
            if other.definition.place != definition.place {
                problems.add(format!(
                    "two jobs are named {:?}: one at {}, one at {}; give one of them another name \
                     with #[job(name = \"…\")]",
                    name.as_str(),
                    other.definition.place,
                    definition.place
                ));
            }
            return;
        }
        self.queues.insert(queue.clone());
        self.jobs.insert(name.clone(), Arc::new(Registered { name, queue, definition }));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Registered>> {
        self.jobs.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.jobs.values()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.jobs.keys().map(JobName::as_str)
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Every queue that a job declares.
    pub(crate) fn queues(&self) -> &BTreeSet<QueueName> {
        &self.queues
    }

    /// What to say of a name that no job has.
    pub(crate) fn unknown(&self, name: &str) -> String {
        format!(
            "no job named {name:?} in this program{}; is the crate that defines it named in code \
             (`use its_crate as _;`)? A job whose handler is in another program is enqueued with \
             .foreign()",
            did_you_mean(name, self.names())
        )
    }
}
