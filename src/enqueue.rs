//! A job on its way to a queue.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;
use shiftwork_adapter::{
    Due, JobId, JobName, JobSpec, Payload, Priority, Provenance, QueueName, Scope, Timestamp,
};
use tracing::Span;

use crate::error::Error;
use crate::nearest::did_you_mean;
use crate::registry::Registry;
use crate::telemetry::Causes;
use crate::{Job, Result};

/// A job to be enqueued, and how.
///
/// What is not said is as the job's definition says, else as the environment says.
#[derive(Clone, Debug)]
#[must_use = "a job does nothing until it is given to `Jobs::enqueue`"]
pub struct NewJob {
    name: Cow<'static, str>,
    /// A payload that could not be written is told when it is enqueued, where there is somebody
    /// to tell.
    payload: Result<Payload, String>,
    id: Option<JobId>,
    queue: Option<String>,
    priority: Option<Priority>,
    due: Due,
    attempts: Option<NonZeroU32>,
    timeout: Option<Duration>,
    keep_result: Option<Duration>,
    /// What was said of it. Most jobs have none.
    provenance: Option<Box<Provenance>>,
    foreign: bool,
}

impl NewJob {
    /// A job by name.
    ///
    /// ```
    /// # use shiftwork::prelude::*;
    /// # async fn enqueue(jobs: Jobs) -> shiftwork::Result<()> {
    /// jobs.enqueue(NewJob::new("resize", &("cat.png", 640)).queue("images").foreign()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(name: impl Into<String>, payload: &(impl Serialize + ?Sized)) -> Self {
        Self::named(Cow::Owned(name.into()), payload)
    }

    pub(crate) fn named(name: Cow<'static, str>, payload: &(impl Serialize + ?Sized)) -> Self {
        Self {
            name,
            payload: Payload::json(payload).map_err(|error| error.to_string()),
            id: None,
            queue: None,
            priority: None,
            due: Due::Now,
            attempts: None,
            timeout: None,
            keep_result: None,
            provenance: None,
            foreign: false,
        }
    }

    /// Not before so long from now, by the store's clock.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.due = Due::After(delay);
        self
    }

    /// Not before an instant, by the store's clock.
    pub fn at(mut self, instant: impl Into<Timestamp>) -> Self {
        self.due = Due::At(instant.into());
        self
    }

    /// Ahead of all waiting jobs of its queue with a lower priority.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// In another queue than its definition says.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// How many times it runs at most. Zero is one.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN));
        self
    }

    /// How long an attempt may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// An id of the caller's making: while a job of it is known to the store, another is the same
    /// job.
    pub fn id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }

    /// Keeps the finished job and its result for so long.
    pub fn keep_result(mut self, keep: Duration) -> Self {
        self.keep_result = Some(keep);
        self
    }

    /// Whose data it is about.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.provenance_mut().scope = Some(scope);
        self
    }

    /// All of a tenant's data: [`scope`](Self::scope) in short.
    pub fn tenant(self, tenant: impl Into<String>) -> Self {
        self.scope(Scope::tenant(tenant))
    }

    /// Who asks for it.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.provenance_mut().actor = Some(actor.into());
        self
    }

    /// Ties it to what caused it. Default: as the current span says, else the job's own id.
    pub fn correlation_id(mut self, correlation_id: impl Into<String>) -> Self {
        self.provenance_mut().correlation_id = Some(correlation_id.into());
        self
    }

    /// The span that causes it, as a W3C `traceparent`. Default: as the current span says.
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.provenance_mut().traceparent = Some(traceparent.into());
        self
    }

    /// Its handler is in another program: name and queue are taken as they are, and not looked up
    /// among this program's jobs.
    pub fn foreign(mut self) -> Self {
        self.foreign = true;
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn has_payload(&self) -> bool {
        self.payload.as_ref().is_ok_and(|payload| !payload.is_none())
    }

    pub(crate) fn own_scope(&self) -> Option<Scope> {
        self.provenance.as_ref()?.scope.clone()
    }

    /// What it says that can only be true of one job.
    pub(crate) fn says_of_itself(&self) -> Option<&'static str> {
        let said_of = |part: fn(&Provenance) -> &Option<String>| {
            self.provenance.as_deref().is_some_and(|provenance| part(provenance).is_some())
        };
        let said = [
            (self.id.is_some(), "an id"),
            (said_of(|provenance| &provenance.actor), "an actor"),
            (said_of(|provenance| &provenance.correlation_id), "a correlation id"),
            (said_of(|provenance| &provenance.traceparent), "a traceparent"),
        ];
        said.into_iter().find_map(|(is_said, what)| is_said.then_some(what))
    }

    pub(crate) fn keep_result_or(mut self, keep: Duration) -> Self {
        self.keep_result.get_or_insert(keep);
        self
    }

    /// The job as the store takes it, and its queue.
    ///
    /// `inherited` is the provenance of the job that enqueues this one, if one does.
    pub(crate) fn resolve(
        self,
        registry: &Registry,
        inherited: Option<&Provenance>,
        max_payload: usize,
        fresh_id: impl FnOnce() -> JobId,
    ) -> Result<(QueueName, JobSpec)> {
        let invalid = |fault: String| Error::invalid(format!("job {:?}: {fault}", self.name));
        let registered = registry.get(&self.name);
        let name = match registered {
            Some(registered) => registered.name.clone(),
            None => JobName::new(&*self.name).map_err(|fault| invalid(fault.to_string()))?,
        };
        if registered.is_none() && !self.foreign {
            return Err(Error::invalid(registry.unknown(&self.name)));
        }
        let queue = match (self.queue.as_deref(), registered) {
            (Some(queue), _) => declared_queue(queue, registry, self.foreign).map_err(invalid)?,
            (None, Some(registered)) => registered.queue.clone(),
            (None, None) => {
                QueueName::new(crate::DEFAULT_QUEUE).map_err(|fault| invalid(fault.to_string()))?
            }
        };
        let payload = self.payload.map_err(|fault| {
            Error::invalid(format!("job {name:?}: its payload cannot be written as JSON: {fault}"))
        })?;
        if payload.len() > max_payload {
            return Err(Error::invalid(format!(
                "job {name:?}: its payload has {} bytes and JOBS_MAX_PAYLOAD allows {max_payload}; \
                 store what is large elsewhere and enqueue where it is",
                payload.len()
            )));
        }
        let mut spec = JobSpec::new(self.id.unwrap_or_else(fresh_id), name, payload);
        let options =
            registered.map(|registered| registered.definition.options).unwrap_or_default();
        spec.priority = self.priority.or(options.priority).unwrap_or_default();
        spec.due = self.due;
        spec.attempts = self.attempts;
        spec.timeout = self.timeout;
        spec.keep_result = self.keep_result;
        spec.provenance = complete(self.provenance, inherited);
        Ok((queue, spec))
    }

    fn provenance_mut(&mut self) -> &mut Provenance {
        self.provenance.get_or_insert_default()
    }
}

impl<J: Job> From<J> for NewJob {
    fn from(payload: J) -> Self {
        Self::named(Cow::Borrowed(J::NAME), &payload)
    }
}

fn declared_queue(queue: &str, registry: &Registry, foreign: bool) -> Result<QueueName, String> {
    if let Some(declared) = registry.queues().get(queue) {
        return Ok(declared.clone());
    }
    let name = QueueName::new(queue).map_err(|fault| fault.to_string())?;
    if foreign {
        return Ok(name);
    }
    Err(format!(
        "no job of this program declares a queue {queue:?}{}; one that workers elsewhere serve is \
         named with .foreign()",
        did_you_mean(queue, registry.queues().iter().map(QueueName::as_str))
    ))
}

/// What was not said is as the enqueuing job has it, else as the current span says.
fn complete(
    own: Option<Box<Provenance>>,
    inherited: Option<&Provenance>,
) -> Option<Box<Provenance>> {
    let span = Causes::of(&Span::current());
    if own.is_none() && inherited.is_none() && span == Causes::default() {
        return None;
    }
    let inherited = inherited.cloned().unwrap_or_default();
    let mut provenance = own.unwrap_or_default();
    provenance.scope = provenance.scope.or(inherited.scope);
    provenance.actor = provenance.actor.or(inherited.actor);
    provenance.correlation_id =
        provenance.correlation_id.or(inherited.correlation_id).or(span.correlation_id);
    provenance.traceparent = provenance.traceparent.or(span.traceparent).or(inherited.traceparent);
    (*provenance != Provenance::default()).then_some(provenance)
}
