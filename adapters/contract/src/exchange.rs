//! A worker's conversation with a queue: what it has finished, what it may run next.
//!
//! ```text
//!  worker                                    store
//!    │  exchange 1: claim 2                    │
//!    ├────────────────────────────────────────▶│  a, b: waiting → active
//!    │◀────────────────────────────────────────┤  claimed a, b
//!    │  exchange 2: settle a, held 1, claim 1  │
//!    ├────────────────────────────────────────▶│  a: active → completed; c: waiting → active
//!    │              ✗ (the answer is lost)     │
//!    │  exchange 2 again, unchanged            │
//!    ├────────────────────────────────────────▶│  nothing: 2 is the number it knows
//!    │◀────────────────────────────────────────┤  claimed c, as before
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::{AttemptReport, Incarnation, JobId, JobSpec, QueueName, Timestamp};

/// One turn of a worker's conversation with a queue.
///
/// # Numbers
/// The exchanges of an incarnation with a queue are numbered 1, 2, 3 …, with at most one
/// unanswered; an unanswered one is sent again, unchanged, until it is answered, or the
/// incarnation is abandoned. The store keeps the last number and what it claimed, for far longer
/// than a lease, and goes by it:
///
/// | number | the store |
/// |---|---|
/// | the next | applies it |
/// | the last again | answers as before: `refused` and `claimed` are those of the first time, the rest may be of now. No job changes; as a sign of life it renews the lease |
/// | lower | changes nothing: [`ExchangeReply::Refused`] |
/// | higher than the next | has lost writes: applies it and asks to [reconcile](ExchangeAnswer::reconcile) |
/// | any, of a lapsed incarnation, or not 1 and the incarnation unknown | [`ExchangeReply::Expired`] |
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exchange {
    /// The queue.
    pub queue: QueueName,
    /// Who is speaking.
    pub incarnation: Incarnation,
    /// Which turn this is; the first is 1.
    pub number: u64,
    /// Attempts that ended.
    pub settlements: Vec<Settlement>,
    /// How many jobs of this queue the worker holds once `settlements` are applied and before
    /// anything is claimed.
    pub held: usize,
    /// How many jobs to claim at most. A store may answer fewer at its own discretion; it answers
    /// none only where none can be claimed now, or where it says that there is
    /// [more](ExchangeAnswer::more).
    pub claim: usize,
    /// The worker holds nothing, in any queue, and will run what it claims alone. Only such a
    /// claim is given a job that is one crash short of the limit, and it is given nothing else
    /// beside it.
    pub solo: bool,
}

impl Exchange {
    /// A turn that settles and claims nothing.
    pub fn new(queue: QueueName, incarnation: Incarnation, number: u64) -> Self {
        Self { queue, incarnation, number, settlements: Vec::new(), held: 0, claim: 0, solo: false }
    }
}

/// The end of one attempt.
///
/// It is applied only while the incarnation holds the job under this generation, and all of it or
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settlement {
    /// The job.
    pub job: JobId,
    /// The generation under which it was claimed.
    pub generation: u64,
    /// What becomes of it.
    pub outcome: Outcome,
    /// How the attempt went. Where there is none, an earlier one stays.
    pub report: Option<Arc<AttemptReport>>,
}

impl Settlement {
    /// A settlement without a report.
    pub fn new(job: JobId, generation: u64, outcome: Outcome) -> Self {
        Self { job, generation, outcome, report: None }
    }

    /// The same, with a report.
    #[must_use]
    pub fn with_report(mut self, report: impl Into<Option<Arc<AttemptReport>>>) -> Self {
        self.report = report.into();
        self
    }
}

/// What becomes of a job whose attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is completed. One attempt more.
    Complete,
    /// It is due again after so long by the store's clock; cancelled, if that was requested. One
    /// attempt more.
    Retry(Duration),
    /// It is a dead letter. One attempt more.
    Dead,
    /// It is cancelled. One attempt more.
    Cancel,
    /// It is handed back, due again after so long, as if it had not been claimed; at once and
    /// ahead of newer jobs of its priority where the delay is zero; cancelled, if that was
    /// requested. Attempts and crashes stay as they are.
    Release(Duration),
}

/// The store's side of an exchange.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExchangeReply {
    /// It was applied, now or before.
    Answered(ExchangeAnswer),
    /// The incarnation is no more: its jobs are no longer its own. Cancel what runs, forget what
    /// is held, go on as a new incarnation.
    Expired,
    /// A number that was answered long ago: a message that came late. Nothing happened.
    Refused,
}

/// What an exchange brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExchangeAnswer {
    /// The store's time.
    pub now: Timestamp,
    /// Settlements that were refused, since the incarnation did not hold the job under that
    /// generation.
    pub refused: Vec<JobId>,
    /// What the worker now holds in addition.
    pub claimed: Vec<Claimed>,
    /// Held jobs that somebody asked to cancel. Named in every answer until they are settled.
    pub cancelled: Vec<JobId>,
    /// What the store thinks the worker holds is not what it said: it should read
    /// [`held`](crate::JobAdapter::held), release what it does not know and cancel what it lost.
    pub reconcile: bool,
    /// More jobs could be claimed at once, by any claim; never in a paused queue. Where it is false
    /// and the claim brought fewer jobs than were asked for, a wake-up tells of the next one. A claim
    /// that was filled is no sign that the worker has nothing to do, and nobody need wake it.
    pub more: bool,
    /// A job that only a [solo](Exchange::solo) claim is given is waiting, and the queue is not
    /// paused.
    pub solo_waiting: bool,
    /// What of the queue this answer has seen; [`wait`](crate::JobAdapter::wait) returns when
    /// there is more.
    pub ticket: Ticket,
}

impl ExchangeAnswer {
    /// An answer that brings nothing.
    pub fn new(now: Timestamp, ticket: Ticket) -> Self {
        Self {
            now,
            refused: Vec::new(),
            claimed: Vec::new(),
            cancelled: Vec::new(),
            reconcile: false,
            more: false,
            solo_waiting: false,
            ticket,
        }
    }
}

/// A job that a worker now holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claimed {
    /// What was enqueued.
    pub spec: Arc<JobSpec>,
    /// Proves the claim.
    pub generation: u64,
    /// Attempts settled before this one.
    pub attempts: u32,
    /// Claims whose worker vanished before this one.
    pub crashes: u32,
    /// When the store accepted the job, as [`JobRecord::enqueued_at`](crate::JobRecord::enqueued_at)
    /// says it.
    pub enqueued_at: Timestamp,
    /// When it became due for this attempt.
    pub due_at: Timestamp,
    /// It must run alone in its process.
    pub solo: bool,
}

impl Claimed {
    /// A claim of a job that was just enqueued and never ran.
    pub fn new(spec: Arc<JobSpec>, generation: u64, enqueued_at: Timestamp) -> Self {
        Self {
            spec,
            generation,
            attempts: 0,
            crashes: 0,
            enqueued_at,
            due_at: enqueued_at,
            solo: false,
        }
    }
}

/// What the store and a worker agree it holds, when it has to look: one page of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldPage {
    /// Job and generation.
    pub jobs: Vec<(JobId, u64)>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<JobId>,
    /// The incarnation is no more.
    pub expired: bool,
}

/// A renewal of one lease, when there is nothing to exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Beat {
    /// The queue.
    pub queue: QueueName,
    /// Whose lease.
    pub incarnation: Incarnation,
    /// How many jobs the worker holds. May be out of date by an exchange under way, so a store
    /// does not judge by it alone.
    pub held: usize,
}

impl Beat {
    /// A renewal for a worker that holds `held` jobs.
    pub fn new(queue: QueueName, incarnation: Incarnation, held: usize) -> Self {
        Self { queue, incarnation, held }
    }
}

/// The store's answer to a [`Beat`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BeatReply {
    /// The lease is good for its whole length from now; these held jobs should be cancelled.
    Renewed {
        /// As in [`ExchangeAnswer::cancelled`].
        cancelled: Vec<JobId>,
    },
    /// The incarnation is no more, as in [`ExchangeReply::Expired`]; or it holds nothing and has
    /// not spoken yet, and there is nothing to renew.
    Expired,
    /// The part of the store that has the queue did not answer, others did: whether the lease was
    /// renewed is not known.
    Unanswered {
        /// Why, for people.
        why: String,
    },
}

/// What one sweep of a queue did, and when the next is needed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SweepAnswer {
    /// The store's time.
    pub now: Timestamp,
    /// How many due jobs now wait.
    pub promoted: usize,
    /// Jobs taken back from a vanished worker.
    pub recovered: Vec<Recovered>,
    /// How many finished jobs were forgotten.
    pub trimmed: usize,
    /// A sweep is needed after so long, if nothing happens before; zero: there is more to do
    /// than one sweep may. `None`: not before something happens.
    pub next: Option<Duration>,
    /// Jobs are waiting that a claim would be given.
    pub claimable: bool,
    /// What of the queue this answer has seen.
    pub ticket: Ticket,
}

impl SweepAnswer {
    /// An answer of a sweep that found nothing to do.
    pub fn new(now: Timestamp, ticket: Ticket) -> Self {
        Self {
            now,
            promoted: 0,
            recovered: Vec::new(),
            trimmed: 0,
            next: None,
            claimable: false,
            ticket,
        }
    }
}

/// A job taken back from a vanished worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// What was enqueued.
    pub spec: Arc<JobSpec>,
    /// How often its worker has vanished, this time included.
    pub crashes: u32,
    /// Where it is now: waiting, dead, or cancelled.
    pub state: crate::JobState,
}

impl Recovered {
    /// A recovered job.
    pub fn new(spec: Arc<JobSpec>, crashes: u32, state: crate::JobState) -> Self {
        Self { spec, crashes, state }
    }
}

/// What of a queue, or of the schedules, its holder has seen. Without meaning to anyone but the
/// store that gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// What to [`wait`](crate::JobAdapter::wait) for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Watch {
    /// Jobs to claim, with the ticket of the last exchange.
    Work(QueueName, Ticket),
    /// A sweep that is needed earlier than the last one said, with its ticket.
    Sweep(QueueName, Ticket),
    /// A change of the schedules, with the ticket of the last look at them.
    Schedules(Ticket),
}
