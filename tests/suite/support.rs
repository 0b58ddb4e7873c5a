//! What the tests of the engine have in common: one store, any number of workers on it, a clock
//! that only passes when everybody waits, and signals to wait for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shiftwork::adapter::{
    AdapterError, Clock, Connection, JobAdapter, Namespace, Provider, StoreSettings, TestClock,
    Timestamp,
};
use shiftwork::prelude::*;
use shiftwork::{JobDefinition, JobId, JobRecord, JobState, JobsBuilder};
use tokio::sync::watch;

/// 2026-11-22T00:00:00Z, a Sunday.
pub const START: Timestamp = Timestamp::from_millis(1_795_305_600_000);

/// One store with its clock, for any number of workers.
pub struct World {
    pub clock: Arc<TestClock>,
    pub store: Arc<dyn JobAdapter>,
    settings: StoreSettings,
    processes: AtomicU64,
}

impl World {
    /// A store of the memory adapter, under tokio's paused clock.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut StoreSettings)) -> Self {
        let clock = Arc::new(TestClock::new(START));
        let mut settings = StoreSettings::default();
        settings.keep_completed.age = Duration::from_secs(30 * 24 * 3600);
        settings.keep_completed.count = 1_000_000;
        change(&mut settings);
        let store = memory(settings, clock.clone()).await.expect("a memory store");
        Self { clock, store, settings, processes: AtomicU64::new(0) }
    }

    /// A process on this store, that knows only what is registered with it.
    pub fn process<const N: usize>(&self, vars: [(&str, &str); N]) -> JobsBuilder {
        self.process_on(self.store.clone(), vars)
    }

    /// The same, behind a store that is wrapped.
    pub fn process_on<const N: usize>(
        &self,
        store: Arc<dyn JobAdapter>,
        vars: [(&str, &str); N],
    ) -> JobsBuilder {
        let mut all: HashMap<String, String> = HashMap::from([
            ("JOBS_BACKOFF_JITTER".into(), "false".into()),
            ("JOBS_KEEP_COMPLETED".into(), "30d".into()),
            ("JOBS_LEASE".into(), format!("{}ms", self.settings.lease.as_millis())),
        ]);
        all.extend(vars.map(|(name, value)| (name.into(), value.into())));
        Jobs::from_vars(all)
            .without_linked_jobs()
            .adapter(store)
            .clock(self.clock.clone())
            .seed(self.processes.fetch_add(1, Ordering::SeqCst))
    }

    /// A process that runs these jobs.
    pub async fn worker<const N: usize>(
        &self,
        vars: [(&str, &str); N],
        jobs: impl IntoIterator<Item = JobDefinition>,
    ) -> Jobs {
        let builder = jobs.into_iter().fold(self.process(vars), JobsBuilder::register);
        builder.start().await.expect("the process starts")
    }

    /// How long it is since the world began.
    pub fn elapsed(&self) -> Duration {
        self.clock.now().since(START)
    }
}

/// A memory store.
pub async fn memory(
    settings: StoreSettings,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn JobAdapter>, AdapterError> {
    let provider = Provider::linked()
        .into_iter()
        .find(|provider| provider.name == "memory")
        .expect("the memory adapter is linked");
    let namespace = Namespace::new("test").expect("a valid name");
    let mut connection = Connection::new(namespace, clock);
    connection.settings = settings;
    connection.variables = provider
        .variables
        .iter()
        .filter_map(|variable| Some((variable.name, variable.default?.to_owned())))
        .collect();
    (provider.connect)(connection).await
}

/// The job, once it has ended; gives up after a simulated day.
pub async fn finished(jobs: &Jobs, id: JobId) -> JobRecord {
    settled(jobs, id, JobState::is_finished).await
}

/// The job, once its state is as asked.
pub async fn settled(jobs: &Jobs, id: JobId, is: impl Fn(JobState) -> bool) -> JobRecord {
    for _ in 0..24 * 3600 * 10 {
        let record = jobs.job(id).await.expect("the store answers").expect("the job is known");
        if is(record.state) {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("job {id} did not get there within a day");
}

/// What handlers tell a test, in order; given to them as `State<Notes>`.
#[derive(Clone)]
pub struct Notes {
    notes: Arc<Mutex<Vec<String>>>,
    count: watch::Sender<usize>,
    clock: Arc<TestClock>,
}

impl Notes {
    pub fn new(world: &World) -> Self {
        Self { notes: Arc::default(), count: watch::Sender::new(0), clock: world.clock.clone() }
    }

    pub fn add(&self, note: impl Into<String>) {
        let mut notes = self.notes.lock().expect("no test panics here");
        notes.push(note.into());
        self.count.send_replace(notes.len());
    }

    /// Adds a note with the seconds since the world began.
    pub fn add_at(&self, note: &str) {
        let seconds = self.clock.now().since(START).as_secs_f64();
        self.add(format!("{note} at {seconds}"));
    }

    pub fn all(&self) -> Vec<String> {
        self.notes.lock().expect("no test panics here").clone()
    }

    /// Waits until there are so many.
    pub async fn reach(&self, count: usize) -> Vec<String> {
        let mut seen = self.count.subscribe();
        seen.wait_for(|&seen| seen >= count).await.expect("the sender is here");
        self.all()
    }
}
