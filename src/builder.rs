//! How an application starts its jobs.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use shiftwork_adapter::{
    AdapterError, Clock, Connection, ErrorKind as AdapterErrorKind, JobAdapter, Provider,
    QueueName, SystemClock,
};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::config::{self, Loaded, Settings, Source};
use crate::engine::{Duties, Engine, Met};
use crate::error::{Error, ErrorKind, Problems, Result};
use crate::health::StoreHealth;
use crate::job::JobDefinition;
use crate::nearest::did_you_mean;
use crate::random::Random;
use crate::registry::Registry;
use crate::schedule::NewSchedule;
use crate::schedule::code::declared;
use crate::schedule::release::Release;
use crate::shared::Shared;
use crate::state::{FromRef, States, SubState};
use crate::{Jobs, patience, provider};

/// What [`Jobs`] are made of. Every setting has a default; [`start`](Self::start) checks all of
/// them, and reports all that is wrong at once.
#[must_use = "nothing runs until `start` is awaited"]
pub struct JobsBuilder {
    source: Source,
    states: States,
    substates: Vec<SubState>,
    definitions: Vec<JobDefinition>,
    schedules: Vec<NewSchedule>,
    linked: bool,
    providers: Vec<Provider>,
    adapter: Option<Arc<dyn JobAdapter>>,
    clock: Arc<dyn Clock>,
    random: Random,
    lazy: bool,
}

impl JobsBuilder {
    pub(crate) fn from_env() -> Self {
        Self::new(Source::Environment)
    }

    pub(crate) fn from_vars<K: Into<String>, V: Into<String>>(
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self::new(Source::Given(vars.collect()))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            states: States::default(),
            substates: Vec::new(),
            definitions: Vec::new(),
            schedules: Vec::new(),
            linked: true,
            providers: Vec::new(),
            adapter: None,
            clock: Arc::new(SystemClock),
            random: Random::default(),
            lazy: false,
        }
    }

    /// Gives handlers a value: [`State<T>`](crate::State) of its type, and of the parts that it
    /// has by `#[derive(FromRef)]`. A second value of a type replaces the first.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }

    /// Makes an implementation of [`FromRef`] known that was written by hand.
    pub fn substate<S: 'static, T: FromRef<S> + Send + Sync + 'static>(mut self) -> Self {
        self.substates.push(SubState::of::<S, T>());
        self
    }

    /// Registers a job by hand: for one without `#[job]`.
    pub fn register(mut self, definition: JobDefinition) -> Self {
        self.definitions.push(definition);
        self
    }

    /// Declares a schedule in code: for a job with a payload, or one that has several. It follows
    /// the releases of the program, as those beside handlers do, and `JOBS_<ID>_SCHEDULE` and
    /// `JOBS_<ID>_ENABLED` override it.
    ///
    /// ```
    /// # use shiftwork::prelude::*;
    /// #[job]
    /// async fn report(region: String) {}
    ///
    /// # async fn run() -> shiftwork::Result<()> {
    /// let jobs = Jobs::from_env()
    ///     .schedule(NewSchedule::cron("report-eu", "0 6 * * *", report::job("eu".into())))
    ///     .schedule(NewSchedule::cron("report-us", "0 12 * * *", report::job("us".into())))
    ///     .start()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn schedule(mut self, schedule: NewSchedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// Knows only the jobs that are registered by hand, and not those that registered themselves.
    pub fn without_linked_jobs(mut self) -> Self {
        self.linked = false;
        self
    }

    /// Registers an adapter by hand, to be chosen by `JOBS_PROVIDER`.
    pub fn provider(mut self, provider: Provider) -> Self {
        self.providers.push(provider);
        self
    }

    /// Uses this very store, whatever `JOBS_PROVIDER` says: for tests, in which several workers
    /// share one. It is lent: a shutdown of these jobs leaves it open.
    pub fn adapter(mut self, adapter: Arc<dyn JobAdapter>) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// Uses another clock: for tests. Under a [simulated](Clock::is_simulated) one, everything
    /// runs on the runtime of the test, whose time may be paused.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Draws ids and jitter from this seed: for tests. Two processes with one seed make the same
    /// ids.
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Random::seeded(seed);
        self
    }

    /// Does not wait for the store to answer, as with `JOBS_LAZY=true`.
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Checks everything, connects to the store, reconciles the schedules, and starts what this
    /// process's role asks for. Returns when the store has answered and the schedules are
    /// reconciled.
    ///
    /// A store that does not answer within `JOBS_CONNECT_TIMEOUT` keeps no process from starting
    /// that runs jobs or fires schedules: it goes on asking, is not [healthy](Jobs::health) until
    /// the store answers, and reconciles the schedules then, before it fires any. A process that
    /// does neither fails: it is there to enqueue. Where one may be without a store for a while,
    /// `JOBS_LAZY=true` or [`lazy`](Self::lazy) starts it without asking, whatever its role.
    ///
    /// # Errors
    /// Everything that is wrong with configuration, jobs and states, at once:
    /// [`Config`](ErrorKind::Config). What this process must not do:
    /// [`Refused`](ErrorKind::Refused). A store that does not answer a process of the role `web`,
    /// or answers any process what asking again cannot help: [`Store`](ErrorKind::Store).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(mut self) -> Result<Jobs> {
        let mut problems = Problems::default();
        let registry = Registry::build(&self.definitions, self.linked, &mut problems);
        provider::check(&self.providers, &mut problems);
        let loaded =
            config::load(&self.source, &registry, &self.schedules, &self.providers, &mut problems);
        let Some(Loaded { settings, provider, variables, warnings }) = loaded else {
            problems.into_result()?;
            return Err(Error::new(ErrorKind::Config, "the configuration cannot be read"));
        };
        let queues = served(&registry, &settings, &mut problems);
        let now = self.clock.now();
        let declared = declared(&registry, self.schedules, &settings, now, &mut problems);
        let duties = Duties {
            work: settings.enabled && settings.role.runs_jobs(),
            tick: settings.enabled && settings.role.fires_schedules(),
        };
        self.states.add_parts(&self.substates);
        if duties.work {
            check_states(&registry, &self.states, &queues, &mut problems);
        }
        problems.into_result()?;

        let lent = self.adapter.is_some();
        let adapter = match self.adapter {
            Some(adapter) => adapter,
            None => {
                let mut connection =
                    Connection::new(settings.namespace.clone(), self.clock.clone());
                connection.settings = settings.store;
                connection.variables = variables;
                (provider.connect)(connection).await.map_err(refused)?
            }
        };
        let release = Release::new(declared, self.random.process());
        let schedules = release.len();
        let release = duties.tick.then(|| Arc::new(release));
        let met = match self.lazy || settings.lazy {
            true => Met { store: StoreHealth::silent(None), release },
            false => meet(&*adapter, &settings, duties, release).await?,
        };
        warnings.iter().for_each(|warning| warn!("{warning}"));
        let providers = provider::all(&self.providers);
        announce(&settings, &registry, &queues, schedules, (&*adapter, &providers), duties);
        let shared = Shared::new(settings, (adapter, lent), registry, self.clock, self.random);
        if !duties.none() {
            let states = Arc::new(self.states);
            let engine = Engine::start(shared.clone(), states, queues, duties, met).await;
            let engine = engine.map_err(|error| {
                Error::new(ErrorKind::Engine, format!("the heart's thread cannot start: {error}"))
            })?;
            shared.set_engine(Some(engine));
        }
        Ok(Jobs::of(shared))
    }
}

/// Without the values of variables: one of them may be a password.
impl fmt::Debug for JobsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobsBuilder")
            .field("states", &self.states)
            .field("definitions", &self.definitions)
            .finish_non_exhaustive()
    }
}

/// Asks the store for a sign of life, and gives it the schedules of the code.
///
/// # Errors
/// Where the store answers what asking again cannot help; and where it does not answer, and this
/// process has nothing to do but to enqueue.
async fn meet(
    adapter: &dyn JobAdapter,
    settings: &Settings,
    duties: Duties,
    release: Option<Arc<Release>>,
) -> Result<Met> {
    let connect_timeout = settings.store.connect_timeout;
    let asked = Instant::now();
    let limit = patience::behind(connect_timeout);
    if let Err(error) = patience::within(limit, "ping", adapter.ping()).await {
        let waited = asked.elapsed();
        if !error.is_retryable() {
            return Err(refused(error));
        }
        if duties.none() {
            return Err(Error::store(
                format!(
                    "the store of the provider {:?} did not answer: {waited:.1?} were waited, and \
                     JOBS_CONNECT_TIMEOUT is {connect_timeout:?}; let it be up and within reach, or \
                     start without it by JOBS_LAZY=true",
                    adapter.provider()
                ),
                error,
            ));
        }
        warn!(provider = adapter.provider(), ?waited, %error,
            "the store does not answer; this process starts all the same, asks again until it does, \
             and is not healthy before");
        return Ok(Met { store: StoreHealth::silent(Some(&error)), release });
    }
    let store = StoreHealth::answering();
    let Some(release) = release else { return Ok(Met { store, release: None }) };
    match release.reconcile(adapter, settings, limit).await {
        Ok(()) => Ok(Met { store, release: Some(release) }),
        Err(error) if error.is_retryable() => {
            warn!(provider = adapter.provider(), %error,
                "the store does not answer; this process starts all the same, and fires no schedule \
                 before those of its code are reconciled");
            let store = StoreHealth::silent(Some(&error));
            Ok(Met { store, release: Some(release) })
        }
        Err(error) => Err(refused(error)),
    }
}

/// What the store will not do, however often it is asked.
fn refused(error: AdapterError) -> Error {
    match error.kind() {
        // A variable has a value that it cannot have.
        AdapterErrorKind::Invalid => Error::new(ErrorKind::Config, error.to_string()),
        _ => error.into(),
    }
}

/// The queues that this process serves.
fn served(registry: &Registry, settings: &Settings, problems: &mut Problems) -> Vec<QueueName> {
    let declared = registry.queues();
    for named in settings.serves.named().iter().filter(|named| !declared.contains(*named)) {
        let names: Vec<_> = declared.iter().map(QueueName::as_str).collect();
        problems.add(format!(
            "JOBS_QUEUES names {:?}, and no job of this program declares that queue; there are \
             {}{}",
            named.as_str(),
            if names.is_empty() { "none".into() } else { names.join(", ") },
            did_you_mean(named.as_str(), names.iter().copied())
        ));
    }
    declared.iter().filter(|queue| settings.serves.includes(queue)).cloned().collect()
}

/// Reports every state that a job of these queues takes and nobody gave.
fn check_states(
    registry: &Registry,
    states: &States,
    queues: &[QueueName],
    problems: &mut Problems,
) {
    for job in registry.iter().filter(|job| queues.contains(&job.queue)) {
        let missing: BTreeSet<_> = job
            .definition
            .needs
            .0
            .iter()
            .filter(|(id, _)| !states.contains(*id))
            .map(|(_, name)| *name)
            .collect();
        for state in missing {
            problems.add(format!(
                "the job {:?} (at {}) takes State<{state}>, and nobody gave one; add \
                 .state(value) before .start(), or #[derive(FromRef)] to what has one as a field",
                job.name.as_str(),
                job.definition.place
            ));
        }
    }
}

/// The line by which an operator knows what was started.
fn announce(
    settings: &Settings,
    registry: &Registry,
    queues: &[QueueName],
    schedules: usize,
    (adapter, providers): (&dyn JobAdapter, &[Provider]),
    duties: Duties,
) {
    let list = |names: Vec<&str>| names.join(", ");
    let role = settings.role;
    let shared = adapter.capabilities().many_processes;
    info!(
        provider = adapter.provider(),
        providers = list(providers.iter().map(|provider| provider.name).collect()),
        %role,
        role_reason = %settings.role_reason,
        enabled = settings.enabled,
        app = %settings.app,
        namespace = %settings.namespace,
        concurrency = settings.concurrency,
        jobs = registry.len(),
        job_names = list(registry.names().collect()),
        queues = list(queues.iter().map(QueueName::as_str).collect()),
        schedules,
        "shiftwork started"
    );
    if duties.work && registry.len() == 0 {
        warn!(
            "this process should run jobs (its role is {role}) and has none: is a crate that \
             defines them named in Cargo.toml only? Name it once in code (`use its_crate as _;`)"
        );
    }
    let declared = registry.queues();
    let left: Vec<_> = declared.iter().filter(|queue| !queues.contains(queue)).collect();
    if duties.work && !shared && !left.is_empty() {
        let left = list(left.into_iter().map(QueueName::as_str).collect());
        warn!(
            "JOBS_QUEUES leaves out {left}, and no other process can serve them: their jobs wait"
        );
    }
    if duties.work && queues.is_empty() && !declared.is_empty() {
        warn!("JOBS_QUEUES leaves out every queue that a job declares: this process runs nothing");
    }
    if !settings.enabled {
        warn!("JOBS_ENABLED is false: this process runs no jobs and fires no schedules");
    }
}
