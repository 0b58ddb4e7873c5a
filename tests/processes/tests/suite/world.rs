//! What a test has for itself: a server, processes on it, and their journal.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use shiftwork::Jobs;
use shiftwork_process_tests::journal::{self, Entry, Event};
use shiftwork_test_kit::{Clustered, RedisServer, Watched};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::process::Process;

/// For what must come: far longer than anything takes.
pub const LONG: Duration = Duration::from_secs(60);

/// How many lines of each log, of how many processes, a failing test shows.
const SHOWN: (usize, usize) = (12, 10);

/// A server, processes on it, and their journal.
pub struct World<S = RedisServer> {
    pub server: S,
    /// What all processes have in common.
    variables: BTreeMap<String, String>,
    directory: Option<TempDir>,
    /// The names of the processes.
    started: Mutex<Vec<String>>,
    seed: u64,
}

/// What can be a store: one server, or several.
pub trait Servers {
    fn url(&self) -> String;
}

impl Servers for RedisServer {
    fn url(&self) -> String {
        self.url()
    }
}

impl Servers for Watched {
    fn url(&self) -> String {
        self.url()
    }
}

impl Servers for Clustered {
    fn url(&self) -> String {
        self.url()
    }
}

impl World {
    /// A server that keeps nothing on disk, and variables that all processes have in common.
    pub fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::of(RedisServer::start(), variables)
    }
}

impl<S: Servers> World<S> {
    pub fn of<'a>(server: S, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = [("JOBS_PROVIDER", "redis"), ("JOBS_NAMESPACE", "test")];
        let mut all = BTreeMap::from(own.map(owned));
        all.extend(variables.into_iter().map(owned));
        all.insert("JOBS_REDIS_URL".into(), server.url());
        let seed = match std::env::var("SHIFTWORK_SEED") {
            Ok(seed) => seed.parse().expect("SHIFTWORK_SEED is a number"),
            Err(_) => RandomState::new().hash_one(0),
        };
        let started = Mutex::default();
        Self { server, variables: all, directory: Some(directory), started, seed }
    }
}

impl<S> World<S> {
    /// What is random in the test.
    pub fn chance(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }

    /// Starts a process of a role.
    pub fn process<const N: usize>(&self, role: &str, variables: [(&str, &str); N]) -> Process {
        let mut started = self.started.lock().unwrap();
        let name = format!("{role}-{}", started.len() + 1);
        started.push(name.clone());
        drop(started);
        let mut all = self.variables.clone();
        all.insert("WORKER_ROLE".into(), role.into());
        // Of the settled attempts, the journal tells.
        all.insert("PROGRAM_LOG".into(), "info,shiftwork::engine::attempt=warn".into());
        all.insert(journal::NAME.into(), name.clone());
        all.insert(journal::PATH.into(), self.journal_path().display().to_string());
        all.extend(variables.map(owned));
        Process::start(self.directory().path(), name, &all)
    }

    /// Waits until a process of a role does what it is for.
    pub async fn started<const N: usize>(
        &self,
        role: &str,
        variables: [(&str, &str); N],
    ) -> Process {
        let process = self.process(role, variables);
        process.started().await;
        process
    }

    /// The web process, which is the test's own.
    pub async fn web<const N: usize>(&self, variables: [(&str, &str); N]) -> Jobs {
        let mut all = self.variables.clone();
        all.insert("WORKER_ROLE".into(), "web".into());
        all.extend(variables.map(owned));
        Jobs::from_vars(all).start().await.expect("the web process starts")
    }

    /// All that the jobs did so far.
    pub fn journal(&self) -> Vec<Entry> {
        journal::read(&self.journal_path()).expect("the journal can be read")
    }

    /// What of it is such an event of a job of this name.
    pub fn events(&self, event: Event, job: &str) -> Vec<Entry> {
        let mut entries = self.journal();
        entries.retain(|entry| entry.event == event && entry.job == job);
        entries
    }

    /// Waits until there are so many events of a kind.
    pub async fn until_events(&self, event: Event, job: &str, count: usize) -> Vec<Entry> {
        until(&format!("{count} times {event:?} of {job}"), LONG, async || {
            let entries = self.events(event, job);
            if entries.len() >= count { Ok(entries) } else { Err(format!("{}", entries.len())) }
        })
        .await
    }

    /// The log of a process, by its name.
    pub fn log(&self, process: &str) -> String {
        fs::read_to_string(self.directory().path().join(format!("{process}.log")))
            .unwrap_or_default()
    }

    /// All logs, by the names of their processes.
    pub fn logs(&self) -> Vec<(String, String)> {
        let started = self.started.lock().unwrap();
        started.iter().map(|name| (name.clone(), self.log(name))).collect()
    }

    fn journal_path(&self) -> std::path::PathBuf {
        self.directory().path().join("journal")
    }

    fn directory(&self) -> &TempDir {
        self.directory.as_ref().expect("it is there until the world is dropped")
    }

    /// What helps to understand a failure.
    fn tell(&self) {
        let directory = self.directory().path();
        eprintln!("the seed was {}; logs and journal are in {}", self.seed, directory.display());
        let mut logs: Vec<_> = fs::read_dir(directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort_by_key(|path| path.metadata().and_then(|data| data.modified()).ok());
        let (lines, processes) = SHOWN;
        for path in &logs[logs.len().saturating_sub(processes)..] {
            let log = fs::read_to_string(path).unwrap_or_default();
            let all: Vec<_> = log.lines().collect();
            eprintln!("--- the end of {}", path.display());
            all[all.len().saturating_sub(lines)..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl<S> Drop for World<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
            // It stays, for who wants to know more.
            self.directory.take().map(TempDir::keep);
        }
    }
}

/// Waits until `look` finds what it looks for; where it does not, it says what it found instead.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) if Instant::now() >= deadline => {
                panic!("{what}: not within {within:?}; at last: {instead}")
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Says what a test has measured, as part of its output.
pub fn report(test: &str, figures: impl std::fmt::Display) {
    println!("{test}: {figures}");
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.into(), value.into())
}
