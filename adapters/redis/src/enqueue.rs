//! Enqueueing: callers that find a batch on its way join the next.
//!
//! A **lane** is one process's line of batches to one queue: numbered, one on its way at a time. The
//! store keeps the number of the last, so a batch that is sent again after its answer was lost
//! changes nothing, also where its jobs have run and are forgotten by then. A lane whose batch was
//! never answered is abandoned, and its successor begins at 1 under another name: should the old
//! batch still be on its way, it is applied once or not at all, as its callers were told.
//!
//! A batch is driven by a task of its own, since any of its callers may go away.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shiftwork_adapter::{
    AdapterError, Effect, Enqueued, ErrorKind, JobSpec, MAX_BATCH, QueueName, Result,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::envelope::NewJob;
use crate::reply::Reply;
use crate::script;
use crate::store::{Queue, Store};

/// How many jobs, and about how many bytes, callers' batches are put together to. A caller's own
/// batch is never split.
const TOGETHER: (usize, usize) = (1000, 1 << 20);

/// How long the server remembers a lane.
const LANE_TTL_MS: u64 = 10 * 60 * 1000;

/// The batches of one process for one queue.
#[derive(Default)]
pub(crate) struct Lane(Mutex<Line>);

#[derive(Default)]
struct Line {
    waiting: Vec<Submission>,
    /// A task is at it.
    driven: bool,
    /// The name of the lane; empty: it has none yet.
    lane: String,
    /// The number of its last batch.
    number: u64,
}

impl Line {
    /// What to send next, with the lane and the number to send it under.
    fn next(&mut self) -> Option<(Vec<Submission>, String, u64)> {
        let batch = take(&mut self.waiting);
        if batch.is_empty() {
            self.driven = false;
            return None;
        }
        if self.lane.is_empty() {
            self.lane = format!("{:016x}", fastrand::u64(..));
            self.number = 0;
        }
        self.number += 1;
        Some((batch, self.lane.clone(), self.number))
    }
}

/// The jobs of one caller.
struct Submission {
    jobs: Vec<NewJob>,
    /// [`WAITING`], then either [`SENT`] or [`WITHDRAWN`].
    stage: Arc<AtomicU8>,
    answer: oneshot::Sender<Result<Vec<Enqueued>>>,
}

const WAITING: u8 = 0;
const SENT: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Store {
    pub(crate) async fn enqueue(
        self: &Arc<Self>,
        operation: &'static str,
        queue: &QueueName,
        batch: Vec<JobSpec>,
    ) -> Result<Vec<Enqueued>> {
        self.check_open(operation)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if batch.len() > MAX_BATCH {
            let message = format!(
                "{} jobs in one call are too many; enqueue at most {MAX_BATCH} at once",
                batch.len()
            );
            return Err(AdapterError::new(ErrorKind::Invalid, operation, message));
        }
        let deadline = Instant::now() + self.settings.connect_timeout;
        let queue = self.queue(queue);
        let (jobs, twins) = distinct(&batch);
        let (answer, answered) = oneshot::channel();
        let stage = Arc::new(AtomicU8::new(WAITING));
        let submission = Submission { jobs, stage: stage.clone(), answer };
        self.submit(&queue, submission);
        let answers = match timeout_at(deadline, answered).await {
            Ok(Ok(Ok(answers))) => answers,
            Ok(Ok(Err(error))) => return Err(error),
            Ok(Err(_)) => {
                let message = "the task that sends batches ended";
                let error = AdapterError::new(ErrorKind::Internal, operation, message);
                return Err(error.with_effect(Effect::Unknown));
            }
            Err(_) => {
                let withdrawn = stage
                    .compare_exchange(WAITING, WITHDRAWN, Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok();
                let patience = self.settings.connect_timeout;
                let message =
                    format!("redis did not answer within {patience:?} (JOBS_CONNECT_TIMEOUT)");
                return Err(AdapterError::new(ErrorKind::Timeout, operation, message)
                    .with_effect(if withdrawn { Effect::None } else { Effect::Unknown })
                    .with_context("server", &self.server)
                    .with_context("queue", &queue.name));
            }
        };
        Ok(with_twins(answers, &twins))
    }

    fn submit(self: &Arc<Self>, queue: &Arc<Queue>, submission: Submission) {
        let mut line = queue.lane.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.waiting.push(submission);
        if !std::mem::replace(&mut line.driven, true) {
            tokio::spawn(drive(self.clone(), queue.clone()));
        }
    }

    /// Sends one batch until it is answered: for each job, whether it was new.
    async fn send(
        &self,
        queue: &Queue,
        lane: &str,
        number: u64,
        jobs: &[&NewJob],
    ) -> Result<Vec<Enqueued>> {
        let operation = "enqueue";
        self.register(operation, queue).await?;
        let mut cmd = script::ENQUEUE.call(&queue.keys, &queue.keys.lane(lane));
        cmd.arg(number).arg(LANE_TTL_MS).arg(self.settings.max_crashes.max(1));
        self.add_retention(&mut cmd);
        for run in jobs.chunk_by(|a, b| a.kind == b.kind) {
            let kind = run[0].kind;
            cmd.arg(kind.priority as u8)
                .arg(u8::from(NewJob::is_kept(&kind)))
                .arg(kind.keep_ms)
                .arg(kind.due.to_string())
                .arg(kind.due_ms)
                .arg(run.len());
            for job in run {
                cmd.arg(job.id.as_bytes());
            }
            for job in run {
                cmd.arg(&job.body[..]);
            }
        }
        let mut reply = Reply::new(operation, self.call(operation, &cmd).await?);
        let status = reply.text()?;
        let _now = reply.int()?;
        if status != "ok" {
            return Err(reply.unknown(&status));
        }
        let mut answers = vec![Enqueued::New; jobs.len()];
        for place in reply.list()?.rest(Reply::int)? {
            let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
            if let Some(answer) = place.and_then(|place| answers.get_mut(place)) {
                *answer = Enqueued::Existing;
            }
        }
        Ok(answers)
    }
}

/// Sends batches until nobody waits.
async fn drive(store: Arc<Store>, queue: Arc<Queue>) {
    let line = || queue.lane.0.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let Some((batch, lane, number)) = line().next() else { return };
        // Two callers with one id: the second's job is known already.
        let mut ids = HashSet::new();
        let all = batch.iter().flat_map(|submission| &submission.jobs);
        let jobs: Vec<_> = all.filter(|job| ids.insert(job.id)).collect();
        match store.send(&queue, &lane, number, &jobs).await {
            Ok(answers) => {
                let mut answers: std::collections::HashMap<_, _> =
                    jobs.iter().map(|job| job.id).zip(answers).collect();
                for Submission { jobs, answer, .. } in batch {
                    let of = jobs.iter().map(|job| {
                        // Who comes after the first of this id finds it there.
                        answers.insert(job.id, Enqueued::Existing).unwrap_or(Enqueued::Existing)
                    });
                    // Whoever went away does not want to know.
                    let _ = answer.send(Ok(of.collect()));
                }
            }
            Err(error) => {
                let error = error.with_context("queue", &queue.name);
                for Submission { answer, .. } in batch {
                    let _ = answer.send(Err(error.clone()));
                }
                line().lane.clear();
            }
        }
    }
}

/// The next batch: whole submissions, the first in any case.
fn take(waiting: &mut Vec<Submission>) -> Vec<Submission> {
    let (mut jobs, mut bytes, mut count) = (0, 0, 0);
    for submission in waiting.iter() {
        jobs += submission.jobs.len();
        bytes += submission.jobs.iter().map(|job| job.body.len()).sum::<usize>();
        if count > 0 && (jobs > TOGETHER.0 || bytes > TOGETHER.1) {
            break;
        }
        count += 1;
    }
    let sent = |submission: &Submission| {
        let stage = &submission.stage;
        stage.compare_exchange(WAITING, SENT, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    };
    let taken: Vec<_> = waiting.drain(..count).filter(sent).collect();
    // All of them were withdrawn: there may be others behind.
    if taken.is_empty() && !waiting.is_empty() { take(waiting) } else { taken }
}

/// The jobs of distinct ids; and for each place that has the id of an earlier one, that.
fn distinct(batch: &[JobSpec]) -> (Vec<NewJob>, Vec<usize>) {
    let mut ids = HashSet::with_capacity(batch.len());
    let (mut jobs, mut twins) = (Vec::with_capacity(batch.len()), Vec::new());
    for (place, spec) in batch.iter().enumerate() {
        if ids.insert(spec.id) {
            jobs.push(NewJob::new(spec));
        } else {
            twins.push(place);
        }
    }
    (jobs, twins)
}

/// The answers with those of twins in their places.
fn with_twins(mut answers: Vec<Enqueued>, twins: &[usize]) -> Vec<Enqueued> {
    for &place in twins {
        answers.insert(place, Enqueued::Existing);
    }
    answers
}
