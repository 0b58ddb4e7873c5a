//! Schedules as they are stored: with their queue, so that firing one is a step in it. The index
//! says which queue that is, and what it does not name is not there.
//!
//! A schedule that moves is removed from its old queue, then indexed, then defined in the new one.
//! Whoever dies in between leaves none, and the next process that defines it makes it new.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;
use redis::Value;
use shiftwork_adapter::{
    AdapterError, Defined, Effect, ErrorKind, JobId, LastRun, QueueName, Result, Schedule,
    ScheduleId, ScheduleRecord, Schedules, Timestamp,
};
use tracing::error;

use crate::inspect::Looked;
use crate::keys::Named;
use crate::reply::Reply;
use crate::script;
use crate::store::Store;

impl Store {
    pub(crate) async fn schedule(
        &self,
        schedule: Schedule,
        next: Option<Timestamp>,
    ) -> Result<Defined> {
        let operation = "schedule";
        self.check_open(operation)?;
        let definition = serde_json::to_string(&schedule).map_err(|fault| {
            let message = format!("its payload is no JSON: {fault}; give it one that is");
            AdapterError::new(ErrorKind::Invalid, operation, message)
                .with_context("schedule", &schedule.id)
        })?;
        let before = self.queue_of(operation, &schedule.id).await?;
        let mut revision = 0;
        if let Some(before) = before.as_ref().filter(|before| **before != schedule.queue) {
            // Looked up before, too: of a removal that was sent again, it is not told any more.
            let known = match self.stored_in(operation, before, &schedule.id).await {
                Ok(stored) => stored.map_or(0, |(revision, _)| revision),
                Err(error) if error.kind() == ErrorKind::Corrupt => 0,
                Err(error) => return Err(error),
            };
            let removed = self.remove(operation, before, &schedule.id).await?;
            revision = removed.max(i64::try_from(known).unwrap_or(i64::MAX));
        }
        // What fails from now on comes after something was done.
        let moves = before.is_some() && before.as_ref() != Some(&schedule.queue);
        let in_part = |error| if moves { unknown(error) } else { error };
        if before.as_ref() != Some(&schedule.queue) {
            let mut cmd = redis::cmd("HSET");
            cmd.arg(&self.names.schedules).arg(schedule.id.as_str()).arg(schedule.queue.as_str());
            self.call_home(operation, &cmd).await.map_err(in_part)?;
        }
        let queue = self.queue(&schedule.queue);
        let mut cmd = script::SCHEDULE.call(&queue.keys, &Named::default());
        cmd.arg(schedule.id.as_str())
            .arg(definition)
            .arg(text(next))
            .arg(revision)
            .arg(&self.names.schedules);
        let answer = self.call(operation, &queue, &cmd).await.map_err(in_part)?;
        let mut reply = Reply::new(operation, answer);
        let answer = reply.text()?;
        match answer.as_str() {
            "created" if revision == 0 => Ok(Defined::Created),
            "created" | "replaced" => Ok(Defined::Replaced),
            "unchanged" => Ok(Defined::Unchanged),
            unknown => Err(reply.unknown(unknown)),
        }
    }

    pub(crate) async fn cancel(&self, schedule: &ScheduleId) -> Result<bool> {
        let operation = "cancel";
        self.check_open(operation)?;
        let Some(queue) = self.queue_of(operation, schedule).await? else { return Ok(false) };
        let revision = self.remove(operation, &queue, schedule).await?;
        let local = self.queue(&queue);
        let mut cmd = script::UNINDEX.call(&local.keys, &Named::default());
        cmd.arg(schedule.as_str()).arg(queue.as_str());
        let answer = self.call_home(operation, &cmd).await.map_err(unknown)?;
        // A removal that was sent again finds nothing; but in the index it is still.
        let unindexed = Reply::new(operation, answer).int()? == 1;
        Ok(unindexed || revision > 0)
    }

    pub(crate) async fn is_scheduled(&self, schedule: &ScheduleId) -> Result<bool> {
        let operation = "is_scheduled";
        self.check_open(operation)?;
        Ok(self.stored_schedule(operation, schedule).await?.is_some())
    }

    /// All schedules, each with the state of its last run's job.
    pub(crate) async fn scheduled_jobs(&self) -> Result<Schedules> {
        let operation = "scheduled_jobs";
        self.check_open(operation)?;
        self.listen_to_schedules();
        let ticket = self.local.schedules.ticket();
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(&self.names.schedules);
        let index = Reply::new(operation, self.call_home(operation, &cmd).await?)
            .rest(|reply| Ok((reply.text()?, reply.text()?)))?;
        let mut queues: BTreeMap<QueueName, Vec<String>> = BTreeMap::new();
        for (schedule, queue) in index {
            if let Ok(queue) = QueueName::new(queue) {
                queues.entry(queue).or_default().push(schedule);
            }
        }

        let read = queues.iter().map(async |(queue, indexed)| {
            (queue, self.schedules_of(operation, queue, indexed).await)
        });
        let (mut now, mut records, mut unread) = (None, Vec::new(), Vec::new());
        for (queue, read) in join_all(read).await {
            match read {
                // Of several servers, the clock that is behind: nothing is early by any.
                Ok((at, here)) => {
                    now = Some(now.map_or(at, |now: Timestamp| now.min(at)));
                    records.extend(here);
                }
                Err(error) => unread.push((queue.clone(), error)),
            }
        }
        let now = match now {
            Some(now) => now,
            None => self.now(operation).await?,
        };
        records.sort_by(|a: &ScheduleRecord, b| a.schedule.id.cmp(&b.schedule.id));
        let mut definitions = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.is_empty() {
            definitions.clear();
        }
        for record in &records {
            let schedule = Arc::new(record.schedule.clone());
            definitions.insert(record.schedule.id.clone(), (record.revision, schedule));
        }
        drop(definitions);
        let mut schedules = Schedules::new(now, records, ticket);
        schedules.unread = unread;
        Ok(schedules)
    }

    /// The time of the server that has a queue, and the queue's schedules, as far as the index
    /// names them.
    async fn schedules_of(
        &self,
        operation: &'static str,
        queue: &QueueName,
        indexed: &[String],
    ) -> Result<(Timestamp, Vec<ScheduleRecord>)> {
        let local = self.queue(queue);
        // Those of other queues are not to wait for it.
        if let Some(error) = self.trouble(operation, &local) {
            return Err(error);
        }
        let mut stored = redis::cmd("HGETALL");
        stored.arg(local.keys.schedules());
        let commands = vec![redis::cmd("TIME"), stored];
        let mut answers =
            self.links.call_all(operation, local.target(), commands).await?.into_iter();
        let mut next = || answers.next().unwrap_or_default();
        let now = time(operation, next())?;
        let stored =
            Reply::new(operation, next()).rest(|reply| Ok((reply.text()?, reply.text()?)))?;
        let here = stored.into_iter().filter(|(id, _)| indexed.contains(id));
        let mut here: Vec<_> = here.filter_map(|(id, text)| record(&id, &text)).collect();
        self.learn_states(operation, queue, &mut here).await?;
        Ok((now, here))
    }

    /// The definition of a schedule, with its revision.
    pub(crate) async fn stored_schedule(
        &self,
        operation: &'static str,
        schedule: &ScheduleId,
    ) -> Result<Option<(u64, Arc<Schedule>)>> {
        let Some(queue) = self.queue_of(operation, schedule).await? else { return Ok(None) };
        self.stored_in(operation, &queue, schedule).await
    }

    async fn stored_in(
        &self,
        operation: &'static str,
        queue: &QueueName,
        schedule: &ScheduleId,
    ) -> Result<Option<(u64, Arc<Schedule>)>> {
        let queue = self.queue(queue);
        let mut cmd = redis::cmd("HGET");
        cmd.arg(queue.keys.schedules()).arg(schedule.as_str());
        let stored =
            Reply::new(operation, self.call(operation, &queue, &cmd).await?).text_or_nil()?;
        let Some(text) = stored else { return Ok(None) };
        let record = record(schedule.as_str(), &text).ok_or_else(|| {
            let message = "the stored schedule cannot be read";
            AdapterError::new(ErrorKind::Corrupt, operation, message)
                .with_context("schedule", schedule)
        })?;
        let found = (record.revision, Arc::new(record.schedule));
        let mut definitions = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        definitions.insert(schedule.clone(), found.clone());
        Ok(Some(found))
    }

    async fn queue_of(
        &self,
        operation: &'static str,
        schedule: &ScheduleId,
    ) -> Result<Option<QueueName>> {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(&self.names.schedules).arg(schedule.as_str());
        let queue = Reply::new(operation, self.call_home(operation, &cmd).await?).text_or_nil()?;
        Ok(queue.and_then(|queue| QueueName::new(queue).ok()))
    }

    /// Removes a schedule from a queue; answers the revision it had, or 0.
    async fn remove(
        &self,
        operation: &'static str,
        queue: &QueueName,
        schedule: &ScheduleId,
    ) -> Result<i64> {
        let queue = self.queue(queue);
        let mut cmd = script::UNSCHEDULE.call(&queue.keys, &Named::default());
        cmd.arg(schedule.as_str()).arg(&self.names.schedules);
        Reply::new(operation, self.call(operation, &queue, &cmd).await?).int()
    }

    async fn learn_states(
        &self,
        operation: &'static str,
        queue: &QueueName,
        records: &mut [ScheduleRecord],
    ) -> Result<()> {
        let queue = self.queue(queue);
        let last = |record: &ScheduleRecord| record.last.map(|last| last.job);
        let jobs: Vec<_> = records.iter().filter_map(last).collect();
        let looked = self.look(operation, &queue, &jobs, false).await?;
        let runs = records.iter_mut().filter_map(|record| record.last.as_mut());
        for (run, Looked { state, .. }) in runs.zip(looked) {
            run.state = state;
        }
        Ok(())
    }
}

/// Of several steps, those before the one that failed are done.
fn unknown(error: AdapterError) -> AdapterError {
    error.with_effect(Effect::Unknown)
}

/// A stored schedule, read. One that cannot be is told and left out.
fn record(id: &str, text: &str) -> Option<ScheduleRecord> {
    let record = read(text);
    if record.is_none() {
        error!(schedule = id, "a stored schedule cannot be read and is left alone");
    }
    record
}

fn read(text: &str) -> Option<ScheduleRecord> {
    let (head, definition) = text.split_once('\n')?;
    let schedule: Schedule = serde_json::from_str(definition).ok()?;
    let mut head = head.split(' ');
    let revision = head.next()?.parse().ok()?;
    let mut record = ScheduleRecord::new(schedule, revision, optional(head.next()?)?);
    let last: Option<Timestamp> = optional(head.next()?)?;
    let job = read_id(head.next()?);
    record.last = last.zip(job).map(|(occurrence, job)| LastRun::new(occurrence, job));
    record.fired = head.next()?.parse().ok()?;
    record.overlapped = head.next()?.parse().ok()?;
    record.missed = head.next()?.parse().ok()?;
    Some(record)
}

/// An instant, or `-`; `None` where it is neither.
fn optional(text: &str) -> Option<Option<Timestamp>> {
    match text {
        "-" => Some(None),
        ms => Some(Some(Timestamp::from_millis(ms.parse().ok()?))),
    }
}

/// An instant as it is stored.
pub(crate) fn text(instant: Option<Timestamp>) -> String {
    instant.map_or("-".into(), |instant| instant.as_millis().to_string())
}

/// 32 hexadecimal digits, which are also a way to write a UUID.
fn read_id(hex: &str) -> Option<JobId> {
    hex.parse().ok()
}

/// The server's time.
pub(crate) fn time(operation: &'static str, answer: Value) -> Result<Timestamp> {
    let mut reply = Reply::new(operation, answer);
    let (seconds, micros) = (reply.int()?, reply.int()?);
    Ok(Timestamp::from_millis(seconds * 1000 + micros / 1000))
}
