//! Who takes part, and how each is started.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use peers_protocol::Tuning;

use crate::process::Program;

/// A contender, or a variant of one.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) program: Program,
    pub(crate) tuning: Tuning,
    /// How much it does in a second, roughly, so that a run lasts a second or more.
    pub(crate) pace: Pace,
    /// Jobs a second that it enqueues and runs together, once that is measured.
    pub(crate) capacity: Option<f64>,
}

/// What a contender is compared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// Does not lose the jobs of a worker that is killed, where there is a server to keep them.
    Reliable,
    /// Loses them: shown, and not what ours is compared with.
    AtMostOnce,
    /// What Redis itself allows, or tokio where there is no server.
    Limit,
}

/// Jobs a second, by powers of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Fast,
    Slow,
}

impl Entry {
    /// A variant with other settings.
    pub(crate) fn tuned(&self, name: &'static str, settings: &[(&str, u64)]) -> Self {
        let mut entry = Self { name, ..self.clone() };
        entry.tuning.extend(settings);
        entry
    }
}

/// All contenders that are built.
pub(crate) struct Entries {
    own: PathBuf,
    node: Option<PathBuf>,
}

impl Entries {
    /// Beside this executable, and in the source tree.
    pub(crate) fn find() -> Result<Self> {
        let own = env::current_exe().context("where this program is")?;
        let own = own.parent().context("this program is in a directory")?.to_owned();
        let node = env::var_os("PEERS_NODE").filter(|node| !node.is_empty()).map(PathBuf::from);
        Ok(Self { own, node })
    }

    pub(crate) fn shiftwork(&self) -> Entry {
        self.built("shiftwork", "contender-shiftwork", Kind::Ours, Pace::Fast)
    }

    pub(crate) fn limit(&self) -> Entry {
        self.built("limit", "contender-limit", Kind::Limit, Pace::Fast)
    }

    pub(crate) fn bullmq_official(&self) -> Entry {
        let (name, file) = ("bullmq-official", "contender-bullmq-official");
        self.built(name, file, Kind::Reliable, Pace::Slow)
    }

    pub(crate) fn apalis(&self) -> Entry {
        self.built("apalis-redis", "contender-apalis", Kind::Reliable, Pace::Slow)
    }

    pub(crate) fn sidekiq(&self) -> Entry {
        let (name, file) = ("rusty-sidekiq", "contender-rusty-sidekiq");
        self.built(name, file, Kind::AtMostOnce, Pace::Slow)
    }

    /// Only where `PEERS_NODE` names the interpreter, and its packages are installed.
    pub(crate) fn bullmq_node(&self) -> Option<Entry> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contenders/bullmq-node");
        let installed = directory.join("node_modules/bullmq/package.json").is_file();
        let executable = self.node.clone().filter(|_| installed)?;
        let script = directory.join("contender.mjs").display().to_string();
        Some(Entry {
            name: "BullMQ (Node)",
            kind: Kind::Reliable,
            program: Program { executable, arguments: vec![script] },
            tuning: Tuning::default(),
            pace: Pace::Slow,
            capacity: None,
        })
    }

    /// Every peer, the best known first.
    pub(crate) fn peers(&self) -> Vec<Entry> {
        let mut peers = vec![self.bullmq_official()];
        peers.extend(self.bullmq_node());
        peers.extend([self.apalis(), self.sidekiq()]);
        peers
    }

    /// Those that enqueue and run jobs in one process.
    pub(crate) fn in_process(&self) -> Vec<Entry> {
        let channel = self.alone("channel", "jobs", Kind::Limit);
        vec![
            self.alone("shiftwork", "jobs", Kind::Ours),
            self.alone("apalis-memory", "jobs", Kind::Reliable),
            channel.clone(),
            channel.tuned("channel, of 5,000", &[("bound", 5000)]),
        ]
    }

    /// Those that fire timers.
    pub(crate) fn timers(&self) -> Vec<Entry> {
        vec![
            self.alone("shiftwork", "timers", Kind::Ours),
            self.alone("tokio-cron-scheduler", "timers", Kind::Reliable),
            self.alone("intervals", "timers", Kind::Limit),
        ]
    }

    /// One without a server: all of them are one program.
    fn alone(&self, name: &'static str, what: &str, kind: Kind) -> Entry {
        let mut entry = self.built(name, "contender-in-process", kind, Pace::Fast);
        entry.program.arguments = vec![what.into(), name.into()];
        entry
    }

    fn built(&self, name: &'static str, file: &str, kind: Kind, pace: Pace) -> Entry {
        let program = Program { executable: self.own.join(file), arguments: Vec::new() };
        Entry { name, kind, program, tuning: Tuning::default(), pace, capacity: None }
    }
}
