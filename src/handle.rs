//! [`Jobs`]: what an application asks of its jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{
    AdapterError, CancelJob, Counts, Effect, Enqueued, Find, Found, JobId, JobRecord, MAX_BATCH,
    Operated, Provenance, QueueName, ScheduleId, ScheduleRecord, Timestamp, Timing, Trigger,
    TriggerOverlap, Triggered,
};
use tracing::info;

use crate::config::Settings;
use crate::engine::Engine;
use crate::engine::MISFIRE_AFTER;
use crate::error::{Error, ErrorKind, Result};
use crate::nearest::did_you_mean;
use crate::schedule::remaining::Remaining;
use crate::schedule::{NewSchedule, Occurrences, Reconciliation, check};
use crate::shared::Shared;
use crate::{Health, JobsBuilder, NewJob, Run};

/// How long the result of a triggered job is kept.
pub(crate) const KEEP_TRIGGERED: Duration = Duration::from_secs(3600);

/// An application's jobs: enqueues them, runs them where this process's role says so, and answers
/// what became of them. Cloning is cheap; all clones are one.
///
/// ```
/// use shiftwork::prelude::*;
///
/// #[job]
/// async fn greet(name: String) -> Result<String, JobError> {
///     Ok(format!("Hello, {name}!"))
/// }
///
/// # async fn run() -> shiftwork::Result<()> {
/// let jobs = Jobs::from_env().start().await?;
/// let run = jobs.trigger(greet::job("Ada".into())).await?;
/// println!("{:?}", run.result(minutes(1)).await?);
/// jobs.run_until_shutdown().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Jobs {
    shared: Arc<Shared>,
    /// What enqueued jobs inherit, where a job enqueues them.
    caused_by: Option<Arc<Provenance>>,
}

impl Jobs {
    /// Configured by the environment, and by `shiftwork.toml` where there is one.
    pub fn from_env() -> JobsBuilder {
        JobsBuilder::from_env()
    }

    /// Configured by these variables alone, as if they were the environment.
    pub fn from_vars<K: Into<String>, V: Into<String>>(
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> JobsBuilder {
        JobsBuilder::from_vars(vars)
    }

    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared, caused_by: None }
    }

    pub(crate) fn caused_by(&self, provenance: Provenance) -> Self {
        Self { shared: self.shared.clone(), caused_by: Some(Arc::new(provenance)) }
    }

    // --- Enqueue ---

    /// Enqueues a job. Once this answers, the job is never lost while the store keeps its data.
    ///
    /// # Errors
    /// An unknown job or queue, or a payload that cannot be stored, is
    /// [`Invalid`](ErrorKind::Invalid). Where the store did not do it, or may not have,
    /// [`Error::effect`] tells which; a retry with the same [id](NewJob::id) is safe either way.
    pub async fn enqueue(&self, job: impl Into<NewJob>) -> Result<Run> {
        let (queue, spec) = self.resolve(job.into())?;
        let id = spec.id;
        let answers = self.shared.adapter.enqueue(&queue, vec![spec]).await?;
        Ok(self.run(queue, id, answers.first()))
    }

    /// Enqueues many jobs, those of a queue in one step for each 10,000 of them, in the order given.
    /// Answers in that order.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue). Where any job is invalid, none is enqueued. Where the store
    /// fails, all of a step are enqueued or none; the jobs of other queues, and of other steps of
    /// the same, may be enqueued and may not, which [`Error::effect`] then says: a retry with the
    /// same [ids](NewJob::id) is safe.
    pub async fn enqueue_many<J: Into<NewJob>>(
        &self,
        jobs: impl IntoIterator<Item = J>,
    ) -> Result<Vec<Run>> {
        let mut batches: BTreeMap<QueueName, (Vec<usize>, Vec<_>)> = BTreeMap::new();
        let mut count = 0;
        for (position, job) in jobs.into_iter().enumerate() {
            let (queue, spec) = self.resolve(job.into())?;
            let (positions, specs) = batches.entry(queue).or_default();
            positions.push(position);
            specs.push(spec);
            count = position + 1;
        }
        let mut runs: Vec<Option<Run>> = vec![None; count];
        let mut done = 0;
        for (queue, (positions, specs)) in batches {
            let mut specs = specs.into_iter();
            for positions in positions.chunks(MAX_BATCH) {
                let step: Vec<_> = specs.by_ref().take(positions.len()).collect();
                let ids: Vec<_> = step.iter().map(|spec| spec.id).collect();
                let answers = self.shared.adapter.enqueue(&queue, step).await;
                let answers = answers.map_err(|error| partly(error, done, count))?;
                for ((&position, id), answer) in positions.iter().zip(ids).zip(&answers) {
                    runs[position] = Some(self.run(queue.clone(), id, Some(answer)));
                }
                done += positions.len();
            }
        }
        Ok(runs.into_iter().flatten().collect())
    }

    fn resolve(&self, job: NewJob) -> Result<(QueueName, shiftwork_adapter::JobSpec)> {
        self.check_somebody_runs()?;
        let Shared { registry, settings, clock, random, .. } = &*self.shared;
        let resolved =
            job.resolve(registry, self.caused_by.as_deref(), settings.max_payload, || {
                random.job_id(clock.now())
            })?;
        self.check_somebody_serves(&resolved.0)?;
        Ok(resolved)
    }

    /// A queue that this process leaves out is served by nobody where no other process can. Who
    /// lent a store may have lent it to others.
    fn check_somebody_serves(&self, queue: &QueueName) -> Result<()> {
        let Shared { settings, adapter, lent, .. } = &*self.shared;
        if *lent || adapter.capabilities().many_processes || settings.serves.includes(queue) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "JOBS_QUEUES leaves out the queue {:?}, and no other process can serve it: the \
                 provider {:?} keeps jobs in this one; serve it, or use a provider that processes \
                 share",
                queue.as_str(),
                adapter.provider()
            ),
        ))
    }

    fn run(&self, queue: QueueName, id: JobId, answer: Option<&Enqueued>) -> Run {
        let existed = answer == Some(&Enqueued::Existing);
        Run::new(self.shared.clone(), queue, id, existed)
    }

    /// What is enqueued in process, and not run by this process, is run by nobody.
    fn check_somebody_runs(&self) -> Result<()> {
        let Shared { settings, adapter, .. } = &*self.shared;
        let why = match settings {
            _ if adapter.capabilities().many_processes => return Ok(()),
            Settings { enabled: false, .. } => "JOBS_ENABLED is false".to_owned(),
            Settings { role, .. } if !role.runs_jobs() => format!("WORKER_ROLE is {role}"),
            _ => return Ok(()),
        };
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{why}, so this process runs no jobs, and no other process can: the provider {:?} \
                 keeps them in this one; let it run jobs, or use a provider that processes share",
                adapter.provider()
            ),
        ))
    }

    // --- Run by hand ---

    /// Runs a job now, by hand, apart from its cadence: the job of a schedule by its id (also one
    /// that is disabled or paused), or any job by its name, or with its payload as for
    /// [`enqueue`](Self::enqueue). It goes through the queue, with its retries and limits, and
    /// runs wherever there is a worker. Its result is kept for an hour, unless it says otherwise.
    ///
    /// A run of a schedule's job by hand is subject to the schedule's overlap policy, and so are
    /// the occurrences that come while it runs. [`trigger_forced`](Self::trigger_forced) is not.
    ///
    /// # Errors
    /// An unknown name is [`Invalid`](ErrorKind::Invalid), and so is a job that needs a payload
    /// and got none. Where a run of the schedule is not settled, and its runs may not overlap:
    /// [`Refused`](ErrorKind::Refused). Else as [`enqueue`](Self::enqueue).
    pub async fn trigger(&self, what: impl Into<TriggerTarget>) -> Result<Run> {
        self.trigger_with(what.into(), TriggerOverlap::AsScheduled).await
    }

    /// The same, also beside a run of the schedule that is not settled, whatever its overlap policy
    /// says.
    ///
    /// # Errors
    /// As [`trigger`](Self::trigger), but for the overlap.
    pub async fn trigger_forced(&self, what: impl Into<TriggerTarget>) -> Result<Run> {
        self.trigger_with(what.into(), TriggerOverlap::Allow).await
    }

    async fn trigger_with(&self, what: TriggerTarget, overlap: TriggerOverlap) -> Result<Run> {
        match what.0 {
            Target::Job(job) => self.trigger_job(*job).await,
            Target::Name(name) => self.trigger_name(name, overlap).await,
        }
    }

    async fn trigger_name(&self, name: String, overlap: TriggerOverlap) -> Result<Run> {
        self.check_somebody_runs()?;
        if let Ok(schedule) = ScheduleId::new(&name) {
            let Shared { random, adapter, .. } = &*self.shared;
            let id = random.by_hand();
            let mut trigger = Trigger::new(schedule, id, KEEP_TRIGGERED);
            trigger.overlap = overlap;
            let causes = crate::telemetry::Causes::of(&tracing::Span::current());
            let inherited = self.caused_by.as_deref().cloned().unwrap_or_default();
            trigger.scope = inherited.scope;
            trigger.actor = inherited.actor;
            trigger.correlation_id = inherited.correlation_id.or(causes.correlation_id);
            trigger.traceparent = causes.traceparent.or(inherited.traceparent);
            match adapter.trigger(trigger).await? {
                Triggered::Enqueued(queue) => return Ok(self.run(queue, id, None)),
                Triggered::Overlapped(run) => {
                    return Err(Error::new(
                        ErrorKind::Refused,
                        format!(
                            "a run of the schedule {name:?} is not settled yet: the job {run}; its \
                             runs do not overlap: wait for that one, or run another beside it with \
                             trigger_forced"
                        ),
                    ));
                }
                _ => {}
            }
        }
        if self.shared.registry.get(&name).is_none() {
            let schedules = self.shared.adapter.scheduled_jobs().await?;
            let ids: Vec<_> = schedules.records.iter().map(|r| r.schedule.id.clone()).collect();
            let known = self.shared.registry.names().chain(ids.iter().map(ScheduleId::as_str));
            return Err(Error::invalid(format!(
                "nothing to trigger is named {name:?}, neither a schedule nor a job of this \
                 program{}",
                did_you_mean(&name, known)
            )));
        }
        self.trigger_job(NewJob::new(name, &())).await
    }

    async fn trigger_job(&self, job: NewJob) -> Result<Run> {
        if let Some(registered) = self.shared.registry.get(job.name())
            && registered.definition.takes_payload
            && !job.has_payload()
        {
            return Err(Error::invalid(format!(
                "the job {:?} needs a payload and was triggered with none; trigger it with one: \
                 jobs.trigger(NewJob::new({0:?}, &payload))",
                job.name()
            )));
        }
        self.enqueue(job.keep_result_or(KEEP_TRIGGERED)).await
    }

    // --- Schedules ---

    /// Adds a schedule while the program runs, or changes the one of its id. It stays until it is
    /// [cancelled](Self::cancel), as long as the store keeps its data.
    ///
    /// # Errors
    /// A bad pattern, an unknown job or queue, a payload that is missing, or a job that says of
    /// itself what each job of a schedule has its own of, is [`Invalid`](ErrorKind::Invalid). Where
    /// nobody could run its jobs: [`Refused`](ErrorKind::Refused). Else as the store says.
    pub async fn schedule(&self, schedule: NewSchedule) -> Result<()> {
        self.check_somebody_runs()?;
        let Shared { registry, settings, .. } = &*self.shared;
        let inherited = self.caused_by.as_deref().and_then(|causes| causes.scope.clone());
        let schedule = schedule.resolve(registry, inherited, settings)?;
        self.check_somebody_serves(&schedule.queue)?;
        let invalid = |fault| Error::invalid(format!("schedule {:?}: {fault}", schedule.id));
        Occurrences::of(&schedule).map_err(invalid)?;
        let now = self.now().await?;
        let occurrences = check(&schedule, now).map_err(invalid)?;
        if let Timing::Once { at } = schedule.timing
            && now.since(at) > MISFIRE_AFTER
        {
            let fault = format!("its time, {at}, has passed: it is {now}; enqueue its job instead");
            return Err(invalid(fault));
        }
        let (id, next) = (schedule.id.clone(), occurrences.first(now));
        let defined = self.shared.adapter.schedule(schedule, next).await?;
        info!(schedule = %id, ?defined, next = next.map(tracing::field::display), "schedule defined");
        Ok(())
    }

    /// Removes a schedule; answers whether there was one. Its jobs stay. One that stands in code
    /// comes back with the next start of a process with that code.
    ///
    /// # Errors
    /// As the store says.
    pub async fn cancel(&self, schedule: &str) -> Result<bool> {
        let Ok(id) = ScheduleId::new(schedule) else { return Ok(false) };
        Ok(self.shared.adapter.cancel(&id).await?)
    }

    /// Whether there is a schedule of that id, enabled or not.
    ///
    /// # Errors
    /// As the store says.
    pub async fn is_scheduled(&self, schedule: &str) -> Result<bool> {
        let Ok(id) = ScheduleId::new(schedule) else { return Ok(false) };
        Ok(self.shared.adapter.is_scheduled(&id).await?)
    }

    /// Lets a schedule fire no more, in any process, until it is
    /// [resumed](Self::resume_schedule), whatever code and environment say of it meanwhile. It can
    /// be triggered by hand. Answers whether there is one and it was not paused.
    ///
    /// # Errors
    /// As the store says.
    pub async fn pause_schedule(&self, schedule: &str) -> Result<bool> {
        let Ok(id) = ScheduleId::new(schedule) else { return Ok(false) };
        Ok(self.shared.adapter.pause_schedule(&id).await?)
    }

    /// The end of [`pause_schedule`](Self::pause_schedule). It goes on with the next occurrence
    /// from now: what came meanwhile is not made up for. Answers whether there is one and it was
    /// paused.
    ///
    /// # Errors
    /// As the store says; and where this program cannot read when the schedule is due.
    pub async fn resume_schedule(&self, schedule: &str) -> Result<bool> {
        let Ok(id) = ScheduleId::new(schedule) else { return Ok(false) };
        let Shared { adapter, .. } = &*self.shared;
        let Some(record) = adapter.scheduled_job(&id).await? else { return Ok(false) };
        let occurrences = Occurrences::of(&record.schedule)
            .map_err(|fault| Error::invalid(format!("schedule {id:?}: {fault}")))?;
        let now = self.now().await?;
        // It is further than that where the clock was set back meanwhile.
        let first = Remaining::of(&record, &occurrences).first(now);
        let next = record.next.filter(|_| first.is_some()).max(first);
        Ok(adapter.resume_schedule(&id, next).await?)
    }

    /// What became of the schedules in this program's code when they were last compared with what
    /// the store has; `None`: that has not happened, or this process fires no schedules.
    ///
    /// ```
    /// # use shiftwork::prelude::*;
    /// # async fn run() -> shiftwork::Result<()> {
    /// let jobs = Jobs::from_env().start().await?;
    /// if let Some(reconciliation) = jobs.reconciliation() {
    ///     println!("added {:?}, removed {:?}", reconciliation.added, reconciliation.removed);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconciliation(&self) -> Option<Reconciliation> {
        self.engine()?.release()?.done()
    }

    /// One schedule, as in [`scheduled_jobs`](Self::scheduled_jobs); `None`: there is none of that
    /// id.
    ///
    /// # Errors
    /// As the store says.
    pub async fn scheduled_job(&self, schedule: &str) -> Result<Option<ScheduleRecord>> {
        let Ok(id) = ScheduleId::new(schedule) else { return Ok(None) };
        Ok(self.shared.adapter.scheduled_job(&id).await?)
    }

    /// All schedules: when they are due, in which time zone, when next; how their last runs ended;
    /// how many occurrences fired, were skipped, were missed; whether they are enabled, or paused;
    /// and who made them.
    ///
    /// # Errors
    /// As the store says.
    pub async fn scheduled_jobs(&self) -> Result<Vec<ScheduleRecord>> {
        Ok(self.shared.adapter.scheduled_jobs().await?.complete()?.records)
    }

    // --- Look and operate ---

    /// A job, in whatever queue; `None` where the store knows none of that id, or no more.
    ///
    /// # Errors
    /// As the store says.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        for queue in self.shared.adapter.queues().await? {
            if let Some(record) = self.shared.adapter.job(&queue, id).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Cancels a job, in whatever queue: one that waits does not run; one that runs is told, and
    /// does not run again.
    ///
    /// # Errors
    /// As the store says.
    pub async fn cancel_job(&self, id: JobId) -> Result<CancelJob> {
        for queue in self.shared.adapter.queues().await? {
            match self.shared.adapter.cancel_job(&queue, id).await? {
                CancelJob::NotFound => {}
                answer => return Ok(answer),
            }
        }
        Ok(CancelJob::NotFound)
    }

    /// Jobs of a queue, a page at a time, in an order of the store's own.
    ///
    /// A job that is there from the first page to the last is in one of them at least; while the
    /// queue changes, it may be in several. Jobs that come or go meanwhile may be missed.
    ///
    /// ```
    /// # use shiftwork::prelude::*;
    /// # use shiftwork::{Find, JobState};
    /// # async fn replay_all(jobs: Jobs) -> shiftwork::Result<()> {
    /// let mut find = Find::new().states([JobState::Dead]).limit(1000);
    /// loop {
    ///     let page = jobs.find("default", &find).await?;
    ///     for dead in &page.jobs {
    ///         jobs.replay(dead.spec.id).await?;
    ///     }
    ///     match page.next {
    ///         Some(next) => find = find.after(next),
    ///         None => break,
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A name that no queue can have, or a [cursor](crate::Cursor) that is not the store's, is
    /// [`Invalid`](ErrorKind::Invalid); else as the store says.
    pub async fn find(&self, queue: &str, find: &Find) -> Result<Found> {
        Ok(self.shared.adapter.find(&queue_name(queue)?, find).await?)
    }

    /// The queues that were ever used.
    ///
    /// # Errors
    /// As the store says.
    pub async fn queues(&self) -> Result<Vec<QueueName>> {
        Ok(self.shared.adapter.queues().await?)
    }

    /// How many jobs of a queue are in each state.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn counts(&self, queue: &str) -> Result<Counts> {
        Ok(self.shared.adapter.counts(&queue_name(queue)?).await?)
    }

    /// Lets no more jobs of a queue begin, in any process, until [`resume`](Self::resume).
    /// Answers whether it was not paused.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn pause(&self, queue: &str) -> Result<bool> {
        Ok(self.shared.adapter.pause(&queue_name(queue)?).await?)
    }

    /// The end of [`pause`](Self::pause). Answers whether it was paused.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn resume(&self, queue: &str) -> Result<bool> {
        Ok(self.shared.adapter.resume(&queue_name(queue)?).await?)
    }

    /// Lets a dead or cancelled job run again, its attempts counted from the beginning.
    ///
    /// # Errors
    /// As the store says.
    pub async fn replay(&self, id: JobId) -> Result<Operated> {
        self.check_somebody_runs()?;
        for queue in self.shared.adapter.queues().await? {
            match self.shared.adapter.replay(&queue, id).await? {
                Operated::NotFound => {}
                answer => return Ok(answer),
            }
        }
        Ok(Operated::NotFound)
    }

    /// Forgets a finished job for good.
    ///
    /// # Errors
    /// As the store says.
    pub async fn discard(&self, id: JobId) -> Result<Operated> {
        for queue in self.shared.adapter.queues().await? {
            match self.shared.adapter.discard(&queue, id).await? {
                Operated::NotFound => {}
                answer => return Ok(answer),
            }
        }
        Ok(Operated::NotFound)
    }

    /// The time by the store's clock, which schedules and delays go by: to compare with what records
    /// say, whatever this process's clock says.
    ///
    /// # Errors
    /// As the store says.
    pub async fn now(&self) -> Result<Timestamp> {
        Ok(self.shared.adapter.ping().await?.now)
    }

    // --- This process ---

    /// How this process is: whether the work it is for gets on.
    pub async fn health(&self) -> Health {
        let Shared { settings, adapter, .. } = &*self.shared;
        let mut health = Health {
            healthy: true,
            problems: Vec::new(),
            provider: adapter.provider(),
            servers: adapter.servers(),
            role: settings.role,
            queues: Vec::new(),
            unknown_jobs: Vec::new(),
        };
        if let Some(engine) = self.engine() {
            let (queues, stalled) = engine.health().await;
            health.queues = queues;
            health.problems.extend(stalled);
            health.unknown_jobs = engine.unknown().list();
            health.problems.extend(engine.broken());
            health.problems.extend(engine.store().problems());
            for queue in &health.queues {
                if let Some(stalled) = queue.stalled_for {
                    health.problems.push(format!(
                        "the worker of queue {} has not got round for {stalled:.0?}",
                        queue.queue
                    ));
                }
            }
        }
        health.healthy = health.problems.is_empty();
        health
    }

    /// Whether the store answers: what a web process needs to be able to enqueue.
    pub async fn ready(&self) -> bool {
        self.shared.adapter.ping().await.is_ok()
    }

    /// Waits for SIGTERM, SIGINT (Ctrl-C), or the process being broken, and then
    /// [shuts down](Self::shutdown). A second signal ends the process at once, also after this has
    /// returned: a handler that blocks its thread cannot be aborted, and keeps a tokio runtime from
    /// being dropped for as long as it runs.
    ///
    /// # Errors
    /// Where the process could not go on: [`Engine`](ErrorKind::Engine), after the shutdown. Let
    /// it end the process, so that something starts it again.
    pub async fn run_until_shutdown(&self) -> Result<()> {
        let first = crate::signals::first(self.engine()).await?;
        crate::signals::exit_at_the_second(first).await;
        let broken = self.engine().and_then(|engine| engine.broken());
        self.shutdown().await?;
        match broken {
            None => Ok(()),
            Some(why) => Err(Error::new(ErrorKind::Engine, why)),
        }
    }

    /// Ends the work of this process: claims no more, tells the handlers, waits for them up to
    /// `JOBS_SHUTDOWN_GRACE`, cancels and a second later drops what still runs, hands it back
    /// without spending an attempt, and lets go of the store. Twice is once.
    ///
    /// # Errors
    /// Where the store could not be let go of.
    ///
    /// # Cancellation
    /// Where the future is dropped, no more is claimed; call it again to wait for the rest.
    pub async fn shutdown(&self) -> Result<()> {
        if let Some(engine) = self.engine() {
            engine.shutdown().await;
            self.shared.set_engine(None);
        }
        if !self.shared.lent {
            self.shared.adapter.shutdown().await?;
        }
        Ok(())
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        self.shared.engine()
    }
}

/// What to [trigger](Jobs::trigger).
#[derive(Clone, Debug)]
pub struct TriggerTarget(Target);

#[derive(Clone, Debug)]
enum Target {
    Name(String),
    Job(Box<NewJob>),
}

impl From<&str> for TriggerTarget {
    fn from(name: &str) -> Self {
        Self(Target::Name(name.into()))
    }
}

impl From<String> for TriggerTarget {
    fn from(name: String) -> Self {
        Self(Target::Name(name))
    }
}

impl From<NewJob> for TriggerTarget {
    fn from(job: NewJob) -> Self {
        Self(Target::Job(Box::new(job)))
    }
}

/// The error of a step of an enqueue, where steps before it were done.
fn partly(error: AdapterError, done: usize, of: usize) -> AdapterError {
    if done == 0 {
        return error;
    }
    error.with_effect(Effect::Unknown).with_context("enqueued before", format!("{done} of {of}"))
}

fn queue_name(queue: &str) -> Result<QueueName> {
    QueueName::new(queue).map_err(|fault| Error::invalid(fault.to_string()))
}
