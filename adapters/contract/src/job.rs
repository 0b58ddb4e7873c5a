//! What a job is: as it is enqueued, and as the store keeps it.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{JobId, JobName, QueueName, ScheduleId, Timestamp};

/// A job as it is enqueued: all that never changes about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobSpec {
    /// Made by the caller, so that a resend is known for one.
    pub id: JobId,
    /// Which handler runs it.
    pub name: JobName,
    /// What the handler is given.
    pub payload: Payload,
    /// Which waiting jobs of its queue it goes ahead of.
    pub priority: Priority,
    /// When it may run.
    pub due: Due,
    /// How many times it runs at most; where none is stated, as often as the handler's
    /// definition in the worker says.
    pub attempts: Option<NonZeroU32>,
    /// How long one attempt may take; where none is stated, as the worker's definition says.
    pub timeout: Option<Duration>,
    /// Keep the finished job, with its result, for at least so long; where none is stated, or zero,
    /// the store's [`Retention`](crate::Retention) decides.
    pub keep_result: Option<Duration>,
    /// On whose behalf, from where. Most jobs have little of it: absent, it costs one word.
    pub provenance: Option<Box<Provenance>>,
}

impl JobSpec {
    /// A job of normal priority that may run at once.
    pub fn new(id: JobId, name: JobName, payload: Payload) -> Self {
        Self {
            id,
            name,
            payload,
            priority: Priority::Normal,
            due: Due::Now,
            attempts: None,
            timeout: None,
            keep_result: None,
            provenance: None,
        }
    }

    /// The provenance, made empty where there was none, to be filled in.
    pub fn provenance_mut(&mut self) -> &mut Provenance {
        self.provenance.get_or_insert_default()
    }
}

/// On whose behalf a job runs and what caused it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Provenance {
    /// The tenant, and what of theirs, the job is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Who asked for it: a user, a service; `system` for schedules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Ties together all that one request caused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The enqueuer's span, as a W3C `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The schedule that made it, and the occurrence it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduledBy>,
}

impl Provenance {
    /// What a schedule says of the job of an occurrence, but for the schedule: nobody asked for it, and
    /// all that it causes is tied to it.
    pub fn of_occurrence(job: JobId) -> Self {
        Self {
            actor: Some("system".into()),
            correlation_id: Some(job.to_string()),
            ..Self::default()
        }
    }
}

/// Whose data a job is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The tenant.
    pub tenant: String,
    /// What of the tenant's: an account, a project, a site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Scope {
    /// All of a tenant's data.
    pub fn tenant(tenant: impl Into<String>) -> Self {
        Self { tenant: tenant.into(), id: None }
    }

    /// One thing of a tenant's.
    pub fn new(tenant: impl Into<String>, id: impl Into<String>) -> Self {
        Self { tenant: tenant.into(), id: Some(id.into()) }
    }
}

/// Which schedule made a job, and for when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledBy {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The due time the job was made for; for a triggered job, when it was triggered.
    pub occurrence: Timestamp,
}

thread_local! {
    /// Where payloads are written before their size is known.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer of a thread that has become larger is let go.
const MAX_BUFFER: usize = 64 * 1024;

/// What a handler is given, as JSON. Its content never shows in `Debug`. Serialized, it is that very
/// JSON.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Payload(Bytes);

impl Payload {
    /// The payload of a job that needs none: JSON `null`.
    pub const fn none() -> Self {
        Self(Bytes::from_static(b"null"))
    }

    /// `value` as JSON.
    ///
    /// # Errors
    /// Where its `Serialize` fails, or it has a map whose keys are no strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        // Taken, not borrowed: the value's `Serialize` may come by here as well.
        let mut buffer = BUFFER.take();
        buffer.clear();
        let written = serde_json::to_writer(&mut buffer, value);
        // One allocation, of its own size, is all that is left of it.
        let payload = written.map(|()| Self(Box::<[u8]>::from(&buffer[..]).into()));
        if buffer.capacity() <= MAX_BUFFER {
            BUFFER.set(buffer);
        }
        payload
    }

    /// Text that already is JSON. Not checked: what does not decode is a dead letter later.
    pub fn from_json_bytes(json: impl Into<Bytes>) -> Self {
        Self(json.into())
    }

    /// Whether this is the payload of a job that needs none.
    pub fn is_none(&self) -> bool {
        self.0.as_ref() == b"null"
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The JSON as a value; `None` where it is none.
    pub fn value(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.0).ok()
    }

    /// The JSON text, shared.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is not even a `null`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Fails where it is no JSON.
impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json: &RawValue = serde_json::from_slice(&self.0).map_err(serde::ser::Error::custom)?;
        json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Box::<str>::from(json).into_boxed_bytes().into()))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// Which waiting jobs of its queue a job goes ahead of: all of a later variant.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Priority {
    /// Ahead of everything.
    Critical = 0,
    /// Ahead of normal work.
    High = 1,
    /// Where nothing else is said.
    #[default]
    Normal = 2,
    /// After normal work.
    Low = 3,
    /// When there is nothing else to do.
    Bulk = 4,
}

impl Priority {
    /// All of them, the first to run first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Normal, Self::Low, Self::Bulk];
}

/// When a job may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// At once.
    #[default]
    Now,
    /// So long after the store has accepted it, by the store's clock.
    After(Duration),
    /// At an instant, by the store's clock; at once where it has passed.
    At(Timestamp),
}

impl Due {
    /// The instant, for a job accepted `now`.
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Now => now,
            Self::After(delay) => now + delay,
            Self::At(instant) => instant,
        }
    }
}

/// Where a job is in its life. The arrows between the states are in the design document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JobState {
    /// May run as soon as a worker is free.
    Waiting,
    /// Is due later: enqueued with a delay, or between two attempts.
    Delayed,
    /// Is held by a worker.
    Active,
    /// Ended well.
    Completed,
    /// Used up its attempts or can never succeed: a dead letter.
    Dead,
    /// Was cancelled.
    Cancelled,
}

impl JobState {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Delayed, Self::Active, Self::Completed, Self::Dead, Self::Cancelled];

    /// Whether the job has ended: nothing but a replay changes it again.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Dead | Self::Cancelled)
    }

    /// The state's name, as in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delayed => "delayed",
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A job as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobRecord {
    /// The queue it is in.
    pub queue: QueueName,
    /// What was enqueued.
    pub spec: Arc<JobSpec>,
    /// Where it is in its life.
    pub state: JobState,
    /// Rises with its transitions, but for a claim and for becoming due.
    pub generation: u64,
    /// How many attempts were settled.
    pub attempts: u32,
    /// How many claims ended with a vanished worker.
    pub crashes: u32,
    /// When the store accepted it, by its clock: never later than it did. It may be earlier, by a
    /// second at most, where whoever enqueues reckons what time it is for the store.
    pub enqueued_at: Timestamp,
    /// When it may run, or might have.
    pub due_at: Timestamp,
    /// When it ended, if it has.
    pub finished_at: Option<Timestamp>,
    /// Whether somebody asked to cancel it while it was active.
    pub cancel_requested: bool,
    /// How the last settled attempt went, if any was and a report came with it.
    pub last_attempt: Option<Arc<AttemptReport>>,
}

impl JobRecord {
    /// A record of a job that the store accepted at `now`, before anything happened to it.
    pub fn new(queue: QueueName, spec: Arc<JobSpec>, now: Timestamp) -> Self {
        let due_at = spec.due.at(now);
        Self {
            queue,
            state: if due_at > now { JobState::Delayed } else { JobState::Waiting },
            spec,
            generation: 0,
            attempts: 0,
            crashes: 0,
            enqueued_at: now,
            due_at,
            finished_at: None,
            cancel_requested: false,
            last_attempt: None,
        }
    }
}

/// How one attempt went, as its worker tells it. Its times are by the worker's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttemptReport {
    /// When the handler was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// What the handler says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the handler returned, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Payload>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl AttemptReport {
    /// A report of nothing but the times.
    pub fn new(started_at: Timestamp, finished_at: Timestamp) -> Self {
        Self { started_at, finished_at, ..Self::default() }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// To branch on.
    pub kind: FailureKind,
    /// For people: the error, then its sources, the outermost first.
    pub chain: Vec<String>,
}

impl Failure {
    /// The most links of a chain that are kept, and the most bytes of each.
    pub const MAX_CHAIN: (usize, usize) = (16, 4096);

    /// A failure of `kind`, told by `chain`; what is too long of it is cut.
    pub fn new(kind: FailureKind, chain: impl IntoIterator<Item = String>) -> Self {
        let (links, bytes) = Self::MAX_CHAIN;
        let cut = |mut link: String| {
            if link.len() > bytes {
                link.truncate(link.floor_char_boundary(bytes));
                link.push('…');
            }
            link
        };
        Self { kind, chain: chain.into_iter().take(links).map(cut).collect() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain.join(": "))
    }
}

/// The kinds of failure of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The handler returned an error.
    Error,
    /// The handler returned an error that another attempt would meet again.
    Permanent,
    /// The handler panicked.
    Panic,
    /// The handler ran for longer than its timeout.
    Timeout,
    /// The payload is not what the handler takes.
    Payload,
    /// No worker had a handler of that name for too long.
    UnknownName,
    /// Its worker vanished too often.
    Crash,
    /// It was cancelled.
    Cancelled,
}

impl FailureKind {
    /// The kind's name, as in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Permanent => "permanent",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Payload => "payload",
            Self::UnknownName => "unknown_name",
            Self::Crash => "crash",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_does_not_show_in_debug() {
        let payload = Payload::json("hunter2").unwrap();
        assert_eq!(format!("{payload:?}"), "Payload(9 bytes)");
    }

    #[test]
    fn a_payload_is_serialized_as_the_json_that_it_is() {
        let payload = Payload::from_json_bytes(r#"{"a": [1, 2.50]}"#);
        let json = serde_json::to_string(&(1, &payload)).unwrap();
        assert_eq!(json, r#"[1,{"a": [1, 2.50]}]"#);
        assert_eq!(serde_json::from_str::<(u8, Payload)>(&json).unwrap().1, payload);
        assert!(serde_json::to_string(&Payload::from_json_bytes("{")).is_err());
    }

    #[test]
    fn a_failure_of_any_length_is_cut() {
        let failure =
            Failure::new(FailureKind::Error, std::iter::repeat_n("é".repeat(100_000), 100));
        assert_eq!(failure.chain.len(), 16);
        assert!(failure.chain.iter().all(|link| link.len() <= 4096 + '…'.len_utf8()));
    }

    #[test]
    fn a_job_due_in_the_past_is_waiting() {
        let now = Timestamp::from_millis(5);
        let mut spec =
            JobSpec::new(JobId::from_bytes([0; 16]), JobName::new("a").unwrap(), Payload::none());
        spec.due = Due::At(Timestamp::from_millis(4));
        let queue = QueueName::new("q").unwrap();
        assert_eq!(
            JobRecord::new(queue.clone(), spec.clone().into(), now).state,
            JobState::Waiting
        );
        spec.due = Due::After(Duration::from_millis(1));
        assert_eq!(JobRecord::new(queue, spec.into(), now).state, JobState::Delayed);
    }
}
