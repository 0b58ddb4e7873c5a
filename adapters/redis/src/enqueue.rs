//! Enqueueing: callers that find a batch on its way join the next.
//!
//! A **lane** is a line of batches from a process to a queue: numbered, one on its way at a time. The
//! store keeps the number of the last, so a batch that is sent again after its answer was lost
//! changes nothing, also where its jobs have run and are forgotten by then. A lane whose batch was
//! never answered is abandoned, and its successor begins at 1 under another name: should the old
//! batch still be on its way, it is applied once or not at all, as its callers were told.
//!
//! There are two, so that the store has a batch to work on while another is made, or its answer
//! taken in. Who finds a good batch waiting in the first comes to the second.
//!
//! A caller that is alone drives its batch itself, and so waits for no other task. Once there is
//! another, or should it go away, a task drives on: nobody depends on how soon somebody else's future
//! is polled. Whoever drives takes nothing before there is a connection to send it on: so whoever's
//! time is over by then can still withdraw, and knows that nothing was stored.

use std::collections::HashSet;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::BufMut;
use redis::{Cmd, RedisWrite, Value};
use shiftwork_adapter::{
    AdapterError, Effect, Enqueued, ErrorKind, JobSpec, MAX_BATCH, QueueName, Result, Timestamp,
};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::envelope::NewJob;
use crate::keys::Named;
use crate::links::{Links, Target};
use crate::reply::Reply;
use crate::script;
use crate::store::{Queue, Store};

/// How many jobs, and about how many bytes, callers' batches are put together to. A caller's own
/// batch is never split.
const TOGETHER: (usize, usize) = (1000, 1 << 20);

/// A batch that is good enough to be sent by itself: with more jobs, each costs hardly less.
const GOOD_BATCH: usize = 200;

const OPERATION: &str = "enqueue";

/// How long the server remembers a lane.
const LANE_TTL_MS: u64 = 10 * 60 * 1000;

/// The lanes of one process to one queue.
#[derive(Default)]
pub(crate) struct Lanes([Arc<Lane>; 2]);

impl Lanes {
    fn next(&self) -> &Arc<Lane> {
        let [first, second] = &self.0;
        if first.line().has_good_batch() { second } else { first }
    }
}

/// One of them.
#[derive(Default)]
struct Lane(Mutex<Line>);

impl Lane {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Line {
    waiting: Vec<Submission>,
    driver: Driver,
    /// The name of the lane; empty: it has none yet.
    lane: String,
    /// The number of its last batch.
    number: u64,
}

/// Who is at a lane's batches.
#[derive(Default)]
enum Driver {
    #[default]
    Nobody,
    Caller(Arc<Baton>),
    Task,
}

/// The drive of a lane, to be handed on.
struct Baton(Mutex<Option<Drive>>);

type Drive = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Baton {
    fn drive(&self) -> MutexGuard<'_, Option<Drive>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives in a task from now on.
    fn hand_on(self: Arc<Self>) {
        // Without a runtime the drive ends here, and the next caller begins another.
        let Ok(runtime) = Handle::try_current() else { return drop(self.drive().take()) };
        runtime.spawn(async move {
            let drive = self.drive().take();
            if let Some(drive) = drive {
                drive.await;
            }
        });
    }
}

impl Line {
    /// Whether what waits is a batch as it should be, and whoever comes is better off elsewhere.
    fn has_good_batch(&self) -> bool {
        let jobs = self.waiting.iter().take(GOOD_BATCH).map(|submission| submission.jobs.len());
        jobs.sum::<usize>() >= GOOD_BATCH
    }

    /// Until when the most patient of those waits who have not withdrawn. Where nobody does, the
    /// drive ends.
    fn wanted_until(&mut self) -> Option<Instant> {
        self.waiting.retain(Submission::is_waiting);
        let until = self.waiting.iter().map(|submission| submission.deadline).max();
        if until.is_none() {
            self.driver = Driver::Nobody;
        }
        until
    }

    /// What to send next, with the lane and the number to send it under.
    fn next(&mut self) -> Option<(Vec<Submission>, String, u64)> {
        let batch = take(&mut self.waiting);
        if batch.is_empty() {
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
    jobs: Vec<NewJob<'static>>,
    /// How long the caller waits.
    deadline: Instant,
    /// [`WAITING`], then either [`TAKEN`] or [`WITHDRAWN`].
    stage: Arc<AtomicU8>,
    answer: oneshot::Sender<Result<Vec<Enqueued>>>,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Submission {
    fn is_waiting(&self) -> bool {
        self.stage.load(Ordering::SeqCst) == WAITING
    }
}

/// Whether a submission was still waiting; if so, it no longer is.
fn leave_waiting(stage: &AtomicU8, next: u8) -> bool {
    stage.compare_exchange(WAITING, next, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

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
        let deadline = self.links.deadline();
        let queue = self.queue(queue);
        let jobs = batch.into_iter().map(NewJob::new).collect();
        let (answer, answered) = oneshot::channel();
        let stage = Arc::new(AtomicU8::new(WAITING));
        let submission = Submission { jobs, deadline, stage: stage.clone(), answer };
        let mut lead = self.submit(&queue, submission);
        let told =
            self.await_answer(operation, &queue, deadline, &stage, answered, &mut lead).await;
        told.map_err(|error| error.with_context("queue", &queue.name))
    }

    async fn await_answer(
        &self,
        operation: &'static str,
        queue: &Queue,
        deadline: Instant,
        stage: &AtomicU8,
        mut answered: oneshot::Receiver<Result<Vec<Enqueued>>>,
        lead: &mut Lead,
    ) -> Result<Vec<Enqueued>> {
        let mut leading = pin!(async {
            tokio::select! {
                biased;
                // It ends where nobody waits any more, this caller neither.
                () = lead => (&mut answered).await,
                answer = &mut answered => answer,
            }
        });
        let answer = match timeout_at(deadline, &mut leading).await {
            Ok(answer) => answer,
            Err(_) if leave_waiting(stage, WITHDRAWN) => {
                return Err(self.enqueues().out_of_time(operation, queue.slot, Effect::None));
            }
            // The batch's time is over too, most likely, and its answer says more than can be
            // known here.
            Err(_) => match timeout(self.settings.connect_timeout / 20, leading).await {
                Ok(answer) => answer,
                Err(_) => {
                    return Err(self.enqueues().out_of_time(
                        operation,
                        queue.slot,
                        Effect::Unknown,
                    ));
                }
            },
        };
        answer.unwrap_or_else(|_| {
            let message = "whoever sends the batches ended";
            let error = AdapterError::new(ErrorKind::Internal, operation, message);
            Err(error.with_effect(Effect::Unknown))
        })
    }

    fn submit(self: &Arc<Self>, queue: &Arc<Queue>, submission: Submission) -> Lead {
        let lane = queue.lanes.next();
        let mut line = lane.line();
        line.waiting.push(submission);
        match mem::replace(&mut line.driver, Driver::Task) {
            Driver::Task => Lead(None),
            Driver::Caller(baton) => {
                drop(line);
                baton.hand_on();
                Lead(None)
            }
            Driver::Nobody => {
                let drive: Drive = Box::pin(drive(self.clone(), queue.clone(), lane.clone()));
                let baton = Arc::new(Baton(Mutex::new(Some(drive))));
                line.driver = Driver::Caller(baton.clone());
                Lead(Some(baton))
            }
        }
    }

    /// Waits until a batch can be sent.
    async fn ready(&self, queue: &Queue, deadline: Instant) -> Result<()> {
        self.enqueues().ready(OPERATION, queue.slot, deadline).await?;
        self.register_until(OPERATION, queue, deadline).await
    }

    /// Sends one batch until it is answered: for each job, whether it was new.
    async fn send(
        &self,
        queue: &Queue,
        lane: &str,
        number: u64,
        jobs: &[&NewJob<'_>],
        deadline: Instant,
    ) -> Result<Vec<Enqueued>> {
        if let [job] = jobs
            && job.kind.due == 'N'
            && self.settings.max_crashes > 1
            && self.push(queue, lane, number, job, deadline).await?
        {
            return Ok(vec![Enqueued::New]);
        }
        let mut cmd = script::ENQUEUE.call(&queue.keys, &queue.keys.lane(lane));
        cmd.arg(number).arg(LANE_TTL_MS).arg(self.settings.max_crashes.max(1));
        self.add_retention(&mut cmd);
        let now = queue.reckoning.now().unwrap_or_default();
        cmd.arg(now.as_millis());
        for run in jobs.chunk_by(|a, b| a.kind == b.kind) {
            let kind = run[0].kind;
            cmd.arg(kind.priority as u8)
                .arg(&*kind.due.encode_utf8(&mut [0; 4]))
                .arg(kind.due_ms)
                .arg(run.len());
            let header = kind.header(now);
            for job in run {
                add_job(&mut cmd, job, &header);
            }
        }
        let answer = self.add(OPERATION, queue, &cmd, deadline).await?;
        let mut reply = Reply::new(OPERATION, answer);
        let status = reply.text()?;
        queue.reckoning.heard(Timestamp::from_millis(reply.int()?));
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

    /// The connections for enqueues.
    fn enqueues(&self) -> &Links {
        self.confirmed.as_ref().map_or(&self.links, |confirmed| &confirmed.links)
    }

    /// Sends a command that adds jobs, and waits for replicas where that is asked for.
    pub(crate) async fn add(
        &self,
        operation: &'static str,
        queue: &Queue,
        cmd: &Cmd,
        deadline: Instant,
    ) -> Result<Value> {
        match &self.confirmed {
            None => self.links.call_until(operation, queue.target(), cmd, deadline).await,
            Some(confirmed) => {
                // What is heard of the queue is heard on the other connection.
                let target = Target { slot: queue.slot, hears: None };
                confirmed.call_until(operation, target, cmd, deadline).await
            }
        }
    }

    /// Sends a lone job that may run at once. Answers whether it is new; where it may not be, or
    /// the case is another, nothing has changed.
    async fn push(
        &self,
        queue: &Queue,
        lane: &str,
        number: u64,
        job: &NewJob<'_>,
        deadline: Instant,
    ) -> Result<bool> {
        let named = Named { priority: job.kind.priority, ..queue.keys.lane(lane) };
        let now = queue.reckoning.now().unwrap_or_default();
        let mut cmd = script::PUSH.call(&queue.keys, &named);
        cmd.arg(number).arg(LANE_TTL_MS).arg(now.as_millis());
        add_job(&mut cmd, job, &job.kind.header(now));
        match self.add(OPERATION, queue, &cmd, deadline).await? {
            Value::Int(now) => {
                queue.reckoning.heard(Timestamp::from_millis(now));
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Adds a job's id and its envelope to a call.
pub(crate) fn add_job(cmd: &mut Cmd, job: &NewJob<'_>, header: &[u8]) {
    cmd.arg(job.id().as_bytes());
    let mut envelope = cmd.bufmut_for_next_arg(header.len() + job.body_len());
    envelope.put_slice(header);
    job.put_body(&mut envelope);
}

/// Sends batches until nobody waits.
async fn drive(store: Arc<Store>, queue: Arc<Queue>, lane: Arc<Lane>) {
    let mut driving = Driving { lane: &lane, is_done: false };
    // Whoever is about to enqueue as well comes along.
    tokio::task::yield_now().await;
    loop {
        let Some(deadline) = lane.line().wanted_until() else {
            driving.is_done = true;
            return;
        };
        if let Err(error) = store.ready(&queue, deadline).await {
            refuse(&lane, &error);
            continue;
        }
        let Some((batch, name, number)) = lane.line().next() else { continue };
        let all: Vec<_> = batch.iter().flat_map(|submission| &submission.jobs).collect();
        let firsts = firsts(&all);
        let jobs: Vec<_> =
            all.iter().zip(&firsts).filter_map(|(job, new)| new.then_some(*job)).collect();
        let deadline = batch.iter().map(|submission| submission.deadline).max();
        let deadline = deadline.unwrap_or_else(Instant::now);
        match store.send(&queue, &name, number, &jobs, deadline).await {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                // Who comes after the first of an id finds it there.
                let mut all = firsts.into_iter().map(|is_first| {
                    is_first.then(|| answers.next()).flatten().unwrap_or(Enqueued::Existing)
                });
                for Submission { jobs, answer, .. } in batch {
                    // Whoever went away does not want to know.
                    let _ = answer.send(Ok(all.by_ref().take(jobs.len()).collect()));
                }
            }
            Err(error) => {
                for Submission { answer, .. } in batch {
                    let _ = answer.send(Err(error.clone()));
                }
                lane.line().lane.clear();
            }
        }
    }
}

/// A caller that drives a lane, or does not.
struct Lead(Option<Arc<Baton>>);

impl Future for Lead {
    type Output = ();

    /// Ready at the end of the drive, where that is still this caller's.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(baton) = &self.0 else { return Poll::Pending };
        let mut held = baton.drive();
        let Some(drive) = &mut *held else { return Poll::Pending };
        let polled = drive.as_mut().poll(context);
        if polled.is_ready() {
            *held = None;
        }
        polled
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let Some(baton) = self.0.take() else { return };
        let is_under_way = baton.drive().is_some();
        if is_under_way {
            baton.hand_on();
        }
    }
}

/// Answers an error to those that wait: to all of them, or, where that is that their time is over,
/// to those of whom that is so.
fn refuse(lane: &Lane, error: &AdapterError) {
    let is_over = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
    let now = Instant::now();
    let mut line = lane.line();
    let is_refused = |submission: &mut Submission| !is_over || submission.deadline <= now;
    let refused: Vec<_> = line.waiting.extract_if(.., is_refused).collect();
    drop(line);
    for Submission { stage, answer, .. } in refused {
        if leave_waiting(&stage, WITHDRAWN) {
            let _ = answer.send(Err(error.clone().with_effect(Effect::None)));
        }
    }
}

/// Somebody is at a lane. Where the drive ends before its time, the next caller begins another.
struct Driving<'a> {
    lane: &'a Lane,
    is_done: bool,
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.lane.line().driver = Driver::Nobody;
        }
    }
}

/// The next batch: whole submissions, the first in any case.
fn take(waiting: &mut Vec<Submission>) -> Vec<Submission> {
    let (mut jobs, mut bytes, mut count) = (0, 0, 0);
    for submission in waiting.iter() {
        jobs += submission.jobs.len();
        bytes += submission.jobs.iter().map(NewJob::body_len).sum::<usize>();
        if count > 0 && (jobs > TOGETHER.0 || bytes > TOGETHER.1) {
            break;
        }
        count += 1;
    }
    let is_taken = |submission: &Submission| leave_waiting(&submission.stage, TAKEN);
    let taken: Vec<_> = waiting.drain(..count).filter(is_taken).collect();
    // All of them were withdrawn: there may be others behind.
    if taken.is_empty() && !waiting.is_empty() { take(waiting) } else { taken }
}

/// Of each job, whether it is the first of its id.
fn firsts(jobs: &[&NewJob<'_>]) -> Vec<bool> {
    if are_distinct(jobs.iter().map(|job| job.id()).collect()) {
        return vec![true; jobs.len()];
    }
    let mut ids = HashSet::new();
    jobs.iter().map(|job| ids.insert(job.id())).collect()
}

/// Whether none is there twice, as is nearly always so. To sort them costs less than a set.
pub(crate) fn are_distinct<T: Ord>(mut all: Vec<T>) -> bool {
    all.sort_unstable();
    all.windows(2).all(|pair| pair[0] != pair[1])
}
