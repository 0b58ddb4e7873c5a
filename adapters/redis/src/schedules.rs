//! Schedules as they are stored: with their queue, so that firing one is a step in it. The index
//! says which queue that is, and what it does not name is not there.
//!
//! What changes of a schedule and its definition stand apart, each with the revision: firing needs the
//! former alone, and who reads both sees whether they belong together.
//!
//! A schedule that moves is removed from its old queue, then indexed, then defined in the new one.
//! Whoever dies in between leaves none, and the next process that defines it makes it new.
//!
//! Each writing of the index has a name of its own: who takes a schedule out of it takes out what
//! they have seen there, and not what somebody else has written since.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;
use redis::{Cmd, Value};
use shiftwork_adapter::{
    AdapterError, Defined, Effect, ErrorKind, Firing, FiringOf, JobId, LastRun, Overlap, Passed,
    QueueName, Result, Rewind, Schedule, ScheduleId, ScheduleRecord, Schedules, Timestamp, Timing,
};
use tracing::error;

use crate::envelope::state;
use crate::inspect::Looked;
use crate::keys::Named;
use crate::reply::Reply;
use crate::script;
use crate::store::{Queue, Store};

/// Of how many runs at once it is asked what became of them.
const LEARNT: usize = 1000;

/// How often a schedule is read that was defined anew between two looks.
const MOST_READINGS: usize = 10;

/// How many schedules are remembered between looking and firing.
const REMEMBERED: usize = 50_000;

/// Where the index says that a schedule is.
pub(crate) struct Indexed {
    pub(crate) queue: QueueName,
    /// All that stands there.
    pub(crate) written: String,
}

/// A schedule as it is stored, read.
pub(crate) struct Stored {
    pub(crate) record: ScheduleRecord,
    /// What changes of it, as it is.
    state: Vec<u8>,
}

/// What is remembered of a schedule between looking and firing.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) revision: u64,
    pub(crate) schedule: Arc<Schedule>,
    state: Arc<[u8]>,
}

/// What a schedule takes along to another queue.
#[derive(Default)]
struct Carried {
    revision: u64,
    fired: u64,
    overlapped: u64,
    missed: u64,
    paused: bool,
}

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
        let before = self.indexed(operation, &schedule.id).await?;
        let elsewhere = before.as_ref().filter(|before| before.queue != schedule.queue);
        let carried = match elsewhere {
            None => Carried::default(),
            Some(before) => self.take_out(operation, before, &schedule.id).await?,
        };
        // What fails from now on comes after something was done.
        let moves = elsewhere.is_some();
        let in_part = |error| if moves { unknown(error) } else { error };
        let is_indexed = before.is_some() && !moves;
        if !is_indexed {
            self.index(operation, &schedule).await.map_err(in_part)?;
        }
        let queue = self.queue(&schedule.queue);
        let mut cmd = script::SCHEDULE.call(&queue.keys, &Named::default());
        cmd.arg(schedule.id.as_str())
            .arg(definition)
            .arg(ms(next))
            .arg(ms(next.map(|next| schedule.due(next))))
            .arg(u8::from(schedule.enabled))
            .arg(schedule.limit.map_or(0, NonZeroU64::get))
            .arg(&self.names.schedules)
            .arg(carried.revision)
            .arg(carried.fired)
            .arg(carried.overlapped)
            .arg(carried.missed)
            .arg(u8::from(carried.paused));
        let answer = self.call(operation, &queue, &cmd).await.map_err(in_part)?;
        let mut reply = Reply::new(operation, answer);
        let answer = reply.text()?;
        if answer == "created" && is_indexed {
            // Somebody is taking out what stood in the index.
            let indexed = self.index(operation, &schedule).await;
            indexed.map_err(|error| error.with_effect(Effect::Unknown))?;
        }
        match answer.as_str() {
            "created" if carried.revision == 0 => Ok(Defined::Created),
            "created" | "replaced" => Ok(Defined::Replaced),
            "unchanged" => Ok(Defined::Unchanged),
            unknown => Err(reply.unknown(unknown)),
        }
    }

    /// Takes a schedule out of a queue that it leaves for another.
    async fn take_out(
        &self,
        operation: &'static str,
        from: &Indexed,
        schedule: &ScheduleId,
    ) -> Result<Carried> {
        // Looked at before, too: of a removal that was sent again, it is not told any more.
        let record = match self.stored_in(operation, &from.queue, schedule).await {
            Ok(stored) => stored.map(|stored| stored.record),
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            Err(error) => return Err(error),
        };
        let removed = self.remove(operation, &from.queue, schedule).await?;
        let mut carried = record.map_or_else(Carried::default, |record| Carried {
            revision: record.revision,
            fired: record.fired,
            overlapped: record.overlapped + u64::from(record.queued.is_some()),
            missed: record.missed,
            paused: record.paused,
        });
        carried.revision = carried.revision.max(removed);
        Ok(carried)
    }

    pub(crate) async fn cancel(&self, schedule: &ScheduleId) -> Result<bool> {
        let operation = "cancel";
        self.check_open(operation)?;
        let Some(indexed) = self.indexed(operation, schedule).await? else { return Ok(false) };
        let revision = self.remove(operation, &indexed.queue, schedule).await?;
        let unindexed = self.unindex(operation, schedule, &indexed).await.map_err(unknown)?;
        // A removal that was sent again finds nothing; but in the index it is still.
        Ok(unindexed || revision > 0)
    }

    pub(crate) async fn is_scheduled(&self, schedule: &ScheduleId) -> Result<bool> {
        let operation = "is_scheduled";
        self.check_open(operation)?;
        Ok(self.stored_schedule(operation, schedule).await?.is_some())
    }

    /// Pauses a schedule, or resumes it.
    pub(crate) async fn halt(
        &self,
        operation: &'static str,
        schedule: &ScheduleId,
        pause: bool,
        next: Option<Timestamp>,
    ) -> Result<bool> {
        self.check_open(operation)?;
        let Some(record) = self.stored_schedule(operation, schedule).await? else {
            return Ok(false);
        };
        let next = next.filter(|_| !record.is_exhausted());
        let queue = self.queue(&record.schedule.queue);
        let mut cmd = script::HALT.call(&queue.keys, &Named::default());
        cmd.arg(schedule.as_str())
            .arg(u8::from(pause))
            .arg(ms(next))
            .arg(ms(next.map(|next| record.schedule.due(next))))
            .arg(&self.names.schedules);
        Ok(Reply::new(operation, self.call(operation, &queue, &cmd).await?).int()? == 1)
    }

    /// Goes back to an occurrence that was passed over; answers whether it has.
    pub(crate) async fn rewind(&self, rewind: &Rewind) -> Result<bool> {
        let operation = "rewind";
        self.check_open(operation)?;
        let Some(record) = self.stored_schedule(operation, &rewind.schedule).await? else {
            return Ok(false);
        };
        let queue = self.queue(&record.schedule.queue);
        let mut cmd = script::REWIND.call(&queue.keys, &Named::default());
        cmd.arg(rewind.schedule.as_str())
            .arg(rewind.revision)
            .arg(ms(Some(rewind.next)))
            .arg(ms(Some(rewind.earlier)))
            .arg(ms(Some(record.schedule.due(rewind.earlier))))
            .arg(&self.names.schedules);
        Ok(Reply::new(operation, self.call(operation, &queue, &cmd).await?).int()? == 1)
    }

    /// One schedule, with what became of its last runs.
    pub(crate) async fn scheduled_job(
        &self,
        schedule: &ScheduleId,
    ) -> Result<Option<ScheduleRecord>> {
        let operation = "scheduled_job";
        self.check_open(operation)?;
        let mut records: Vec<_> =
            self.stored_schedule(operation, schedule).await?.into_iter().collect();
        if let Some(record) = records.first() {
            let queue = self.queue(&record.schedule.queue);
            self.learn_ends(operation, &queue, &mut records).await?;
        }
        Ok(records.pop())
    }

    /// All schedules, each with what became of its last runs.
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
        for (schedule, written) in index {
            if let Some(indexed) = Indexed::read(written) {
                queues.entry(indexed.queue).or_default().push(schedule);
            }
        }
        queues.values_mut().for_each(|indexed| indexed.sort_unstable());

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
        let mut schedules = Schedules::new(now, records, ticket);
        schedules.unread = unread;
        Ok(schedules)
    }

    /// The time of the server that has a queue, and the queue's schedules, as far as the index
    /// names them, which is sorted.
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
            Reply::new(operation, next()).rest(|reply| Ok((reply.text()?, reply.bytes()?)))?;
        let here = stored.into_iter().filter(|(id, _)| indexed.binary_search(id).is_ok());
        let here = self.defined(operation, &local, here.collect()).await?;
        let mut here: Vec<_> = here.into_iter().map(|stored| stored.record).collect();
        self.learn_ends(operation, &local, &mut here).await?;
        Ok((now, here))
    }

    /// A schedule as it is stored, without what became of its runs.
    pub(crate) async fn stored_schedule(
        &self,
        operation: &'static str,
        schedule: &ScheduleId,
    ) -> Result<Option<ScheduleRecord>> {
        let Some(indexed) = self.indexed(operation, schedule).await? else { return Ok(None) };
        let stored = self.stored_in(operation, &indexed.queue, schedule).await?;
        Ok(stored.map(|stored| stored.record))
    }

    /// Schedules of these ids, in whichever queues they are. One that there is not, or that cannot be
    /// read, is left out.
    pub(crate) async fn stored_together(
        &self,
        operation: &'static str,
        ids: &[&ScheduleId],
    ) -> Result<Vec<Stored>> {
        let mut queues: BTreeMap<QueueName, Vec<&str>> = BTreeMap::new();
        for ids in ids.chunks(LEARNT) {
            let mut cmd = redis::cmd("HMGET");
            cmd.arg(&self.names.schedules);
            for id in ids {
                cmd.arg(id.as_str());
            }
            let indexed = Reply::new(operation, self.call_home(operation, &cmd).await?);
            for (id, written) in ids.iter().zip(indexed.rest(Reply::text_or_nil)?) {
                if let Some(indexed) = written.and_then(Indexed::read) {
                    queues.entry(indexed.queue).or_default().push(id.as_str());
                }
            }
        }
        let read = async |(queue, ids): (QueueName, Vec<&str>)| {
            let queue = self.queue(&queue);
            let states = self.fields(operation, &queue, queue.keys.schedules(), &ids).await?;
            let states = ids.into_iter().zip(states);
            let states = states.filter_map(|(id, state)| Some((id.to_owned(), state?))).collect();
            self.defined(operation, &queue, states).await
        };
        let mut stored = Vec::with_capacity(ids.len());
        for read in join_all(queues.into_iter().map(read)).await {
            stored.extend(read?);
        }
        Ok(stored)
    }

    async fn stored_in(
        &self,
        operation: &'static str,
        queue: &QueueName,
        schedule: &ScheduleId,
    ) -> Result<Option<Stored>> {
        let queue = self.queue(queue);
        let mut cmd = redis::cmd("HGET");
        cmd.arg(queue.keys.schedules()).arg(schedule.as_str());
        let stored =
            Reply::new(operation, self.call(operation, &queue, &cmd).await?).bytes_or_nil()?;
        let Some(stored) = stored else { return Ok(None) };
        let states = vec![(schedule.to_string(), stored)];
        let stored = self.defined(operation, &queue, states).await?.pop();
        if stored.is_none() && self.has(operation, &queue, schedule).await? {
            let message = "the stored schedule cannot be read";
            return Err(AdapterError::new(ErrorKind::Corrupt, operation, message)
                .with_context("schedule", schedule));
        }
        self.remember(&stored);
        Ok(stored)
    }

    /// Whether a schedule is in a queue, whatever is stored of it.
    async fn has(
        &self,
        operation: &'static str,
        queue: &Queue,
        schedule: &ScheduleId,
    ) -> Result<bool> {
        let name = [schedule.as_str()];
        let state = self.fields(operation, queue, queue.keys.schedules(), &name).await?;
        Ok(state.into_iter().any(|state| state.is_some()))
    }

    /// Schedules of a queue whose states were read, with their definitions. One that was defined
    /// anew in between is read again; one that cannot be read is told and left out.
    pub(crate) async fn defined(
        &self,
        operation: &'static str,
        queue: &Queue,
        states: Vec<(String, Vec<u8>)>,
    ) -> Result<Vec<Stored>> {
        let mut states = states;
        let mut read = Vec::with_capacity(states.len());
        for _ in 0..MOST_READINGS {
            let ids: Vec<_> = states.iter().map(|(id, _)| id.as_str()).collect();
            let definitions = self.fields(operation, queue, queue.keys.definitions(), &ids).await?;
            let mut others = Vec::new();
            for ((id, state), definition) in states.into_iter().zip(definitions) {
                match record(&state, definition.as_deref()) {
                    Ok(record) => read.push(Stored { record, state }),
                    Err(Unread::OtherRevision) => others.push(id),
                    Err(Unread::Unreadable) => {
                        error!(schedule = id, "a stored schedule cannot be read and is left alone");
                    }
                }
            }
            if others.is_empty() {
                return Ok(read);
            }
            let ids: Vec<_> = others.iter().map(String::as_str).collect();
            let again = self.fields(operation, queue, queue.keys.schedules(), &ids).await?;
            let again = others.into_iter().zip(again);
            states = again.filter_map(|(id, state)| Some((id, state?))).collect();
        }
        for (id, _) in states {
            error!(schedule = id, "the definition of a stored schedule is of another revision");
        }
        Ok(read)
    }

    /// Fields of a hash.
    pub(crate) async fn fields(
        &self,
        operation: &'static str,
        queue: &Queue,
        key: &str,
        names: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let read = |names: &[&str]| {
            let mut cmd = redis::cmd("HMGET");
            cmd.arg(key).arg(names);
            cmd
        };
        let commands = names.chunks(LEARNT).map(read).collect();
        let mut found = Vec::with_capacity(names.len());
        for answer in self.links.call_all(operation, queue.target(), commands).await? {
            found.extend(Reply::new(operation, answer).rest(Reply::bytes_or_nil)?);
        }
        Ok(found)
    }

    /// Remembers schedules: they are fired soon.
    pub(crate) fn remember<'a>(&self, read: impl IntoIterator<Item = &'a Stored>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > REMEMBERED {
            known.clear();
        }
        for stored in read {
            known.insert(stored.record.schedule.id.clone(), Known::of(stored));
        }
    }

    pub(crate) async fn indexed(
        &self,
        operation: &'static str,
        schedule: &ScheduleId,
    ) -> Result<Option<Indexed>> {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(&self.names.schedules).arg(schedule.as_str());
        let written =
            Reply::new(operation, self.call_home(operation, &cmd).await?).text_or_nil()?;
        Ok(written.and_then(Indexed::read))
    }

    /// Writes into the index where a schedule is, and that its queue has schedules.
    async fn index(&self, operation: &'static str, schedule: &Schedule) -> Result<()> {
        let queue = schedule.queue.as_str();
        let mut add = redis::cmd("SADD");
        add.arg(&self.names.scheduling).arg(queue);
        let mut set = redis::cmd("HSET");
        set.arg(&self.names.schedules)
            .arg(schedule.id.as_str())
            .arg(format!("{queue} {:016x}", fastrand::u64(..)));
        self.call_home_all(operation, vec![add, set]).await.map(drop)
    }

    /// Takes out of the index what was seen there; answers whether it still stood there.
    pub(crate) async fn unindex(
        &self,
        operation: &'static str,
        schedule: &ScheduleId,
        indexed: &Indexed,
    ) -> Result<bool> {
        let local = self.queue(&indexed.queue);
        let mut cmd = script::UNINDEX.call(&local.keys, &Named::default());
        cmd.arg(schedule.as_str()).arg(&indexed.written);
        Ok(Reply::new(operation, self.call_home(operation, &cmd).await?).int()? == 1)
    }

    /// Removes a schedule from a queue; answers the revision it had, or 0.
    async fn remove(
        &self,
        operation: &'static str,
        queue: &QueueName,
        schedule: &ScheduleId,
    ) -> Result<u64> {
        let queue = self.queue(queue);
        let mut cmd = script::UNSCHEDULE.call(&queue.keys, &Named::default());
        cmd.arg(schedule.as_str());
        let revision = Reply::new(operation, self.call(operation, &queue, &cmd).await?).int()?;
        Ok(u64::try_from(revision).unwrap_or(0))
    }

    /// Learns where the jobs of last runs are, or how they ended.
    async fn learn_ends(
        &self,
        operation: &'static str,
        queue: &Queue,
        records: &mut [ScheduleRecord],
    ) -> Result<()> {
        let mut last: Vec<&mut LastRun> = records
            .iter_mut()
            .flat_map(|record| record.last.iter_mut().chain(&mut record.by_hand))
            .collect();
        for last in last.chunks_mut(LEARNT) {
            let jobs: Vec<_> = last.iter().map(|run| run.job).collect();
            let mut ends = Cmd::new();
            ends.arg("HMGET").arg(queue.keys.runs());
            for job in &jobs {
                ends.arg(job.as_bytes());
            }
            // First the jobs: of one that is gone by then, its end is known.
            let looked = self.look(operation, queue, &jobs, false).await?;
            let ends = self.call(operation, queue, &ends).await?;
            let ends = Reply::new(operation, ends).rest(Reply::bytes_or_nil)?;
            for ((run, Looked { state, .. }), end) in last.iter_mut().zip(looked).zip(ends) {
                let end = end.and_then(|end| read_end(&end));
                run.state = state.or(end.map(|(state, _)| state));
                let ended = end.filter(|(state, _)| run.state == Some(*state));
                run.finished_at = ended.map(|(_, at)| at);
            }
        }
        Ok(())
    }
}

impl Known {
    pub(crate) fn of(stored: &Stored) -> Self {
        let Stored { record, state } = stored;
        let schedule = record.schedule.clone();
        Self { revision: record.revision, schedule, state: state.as_slice().into() }
    }

    /// Its revision and how often it was written, as they are stored; of them, it has one state.
    pub(crate) fn version(&self) -> &[u8] {
        self.state.get(REVISION.start..VERSION.end).unwrap_or_default()
    }

    /// The job of its last run, as it is stored: zeros where there is none.
    pub(crate) fn last_job(&self) -> &[u8] {
        self.state.get(..16).unwrap_or_default()
    }

    /// The same schedule in another state.
    pub(crate) fn with(&self, state: &[u8]) -> Self {
        Self { state: state.into(), ..self.clone() }
    }

    /// The state that the schedule has after a firing that finds it as it was read, if that makes a
    /// job then and there is nothing else to it, as it is for most. As `fire.lua` would leave it.
    pub(crate) fn after(&self, firing: &Firing) -> Option<Vec<u8>> {
        let schedule = &self.schedule;
        let record = read(&self.state, schedule.clone())?;
        let version = u64::from_be_bytes(self.state.get(VERSION)?.try_into().ok()?);
        let (run, next) = (firing.run?, firing.next?);
        let is_as_read = record.revision == firing.revision
            && record.next == Some(firing.occurrence)
            && record.is_active();
        let is_plain = firing.of == FiringOf::Next
            && firing.missed == 0
            && record.queued.is_none()
            && schedule.limit.is_none_or(|limit| record.fired + 1 < limit.get())
            && !matches!(schedule.timing, Timing::Once { .. });
        // Else there may be a job of it.
        let is_new = record.last.is_none_or(|last| last.occurrence < run);
        let is_rewound = record.passed.is_some_and(|passed| passed.resume.is_some());
        let is_alone = schedule.overlap == Overlap::Allow || record.by_hand.is_none();
        if !is_as_read || !is_plain || !is_new || is_rewound || !is_alone {
            return None;
        }
        // By the places that `scripts/lib/schedule.lua` draws, counted from 0; as `fire.lua` does.
        let mut after = self.state.to_vec();
        let mut put = |at: usize, bytes: &[u8]| after[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, JobId::of_occurrence(&schedule.id, run).as_bytes());
        put(32, &ms(Some(next)).to_be_bytes());
        put(40, &ms(Some(schedule.due(next))).to_be_bytes());
        put(48, &ms(Some(run)).to_be_bytes());
        put(VERSION.start, &(version + 1).to_be_bytes());
        put(88, &(record.fired + 1).to_be_bytes());
        put(114, b"n");
        put(115, &ms(Some(firing.occurrence)).to_be_bytes());
        put(123, &ms(Some(run)).to_be_bytes());
        put(131, &firing.missed.to_be_bytes());
        put(139, &ms(Some(next)).to_be_bytes());
        Some(after)
    }
}

impl Indexed {
    fn read(written: String) -> Option<Self> {
        let queue = QueueName::new(written.split(' ').next()?).ok()?;
        Some(Self { queue, written })
    }
}

/// Of several steps, those before the one that failed are done.
fn unknown(error: AdapterError) -> AdapterError {
    error.with_effect(Effect::Unknown)
}

/// Why a stored schedule was not read.
enum Unread {
    /// It was defined anew, or removed, between two looks.
    OtherRevision,
    Unreadable,
}

/// A stored schedule, read.
fn record(state: &[u8], definition: Option<&[u8]>) -> std::result::Result<ScheduleRecord, Unread> {
    let (revision, definition) =
        definition.and_then(<[u8]>::split_first_chunk::<8>).ok_or(Unread::OtherRevision)?;
    if state.get(REVISION) != Some(revision) {
        return Err(Unread::OtherRevision);
    }
    let schedule: Schedule = serde_json::from_slice(definition).map_err(|_| Unread::Unreadable)?;
    read(state, schedule.into()).ok_or(Unread::Unreadable)
}

/// Where it has the revision, and how often it was written.
const REVISION: std::ops::Range<usize> = 72..80;
const VERSION: std::ops::Range<usize> = 80..88;

/// As `scripts/lib/schedule.lua` draws it.
fn read(state: &[u8], schedule: Arc<Schedule>) -> Option<ScheduleRecord> {
    let mut state = State(state);
    let (job, by_hand) = (state.job()?, state.job()?);
    let (next, _due) = (state.instant()?, state.instant()?);
    let (last, hand_at, queued) = (state.instant()?, state.instant()?, state.instant()?);
    let mut record = ScheduleRecord::new(schedule, state.count()?, next);
    record.last = last.map(|at| LastRun::new(at, job));
    record.by_hand = hand_at.map(|at| LastRun::new(at, by_hand));
    record.queued = queued;
    let _version = state.count()?;
    record.fired = state.count()?;
    record.overlapped = state.count()?;
    record.missed = state.count()?;
    let [_enabled, paused] = state.take()?;
    record.paused = paused == b'1';
    let _made_by: [u8; 33] = state.take()?;
    if !state.0.is_empty() {
        let (from, upto, resume) = (state.instant()?, state.instant()?, state.instant()?);
        let passed = from.zip(upto).map(|(from, upto)| Passed::new(from, upto));
        record.passed = passed.map(|passed| passed.resumed(resume));
    }
    Some(record)
}

/// When a state's schedule has something to fire at the earliest; `None`: at once.
pub(crate) fn not_before(state: &[u8]) -> Option<Timestamp> {
    let at = |from: usize| {
        let ms = i64::from_be_bytes(state.get(from..from + 8)?.try_into().ok()?);
        (ms != NONE_MS).then(|| Timestamp::from_millis(ms))
    };
    let (due, queued) = (at(40), at(64));
    due.filter(|_| queued.is_none())
}

/// What is left to read of it.
struct State<'a>(&'a [u8]);

impl State<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn job(&mut self) -> Option<JobId> {
        self.take().map(JobId::from_bytes)
    }

    #[expect(clippy::option_option, reason = "there may be none, and nothing may be left")]
    fn instant(&mut self) -> Option<Option<Timestamp>> {
        let ms = i64::from_be_bytes(self.take()?);
        Some((ms != NONE_MS).then(|| Timestamp::from_millis(ms)))
    }

    fn count(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

/// Where there is no instant. Lua's numbers are whole from here up to [`LAST_MS`]; later than that is
/// never.
const NONE_MS: i64 = -(1 << 53);
pub(crate) const LAST_MS: i64 = (1 << 53) - 1;

/// An instant as scripts have it.
pub(crate) fn ms(instant: Option<Timestamp>) -> i64 {
    instant.map_or(NONE_MS, |at| at.as_millis().clamp(NONE_MS + 1, LAST_MS))
}

/// How a run ended, if it has, as `scripts/lib/ends.lua` writes it.
fn read_end(run: &[u8]) -> Option<(shiftwork_adapter::JobState, Timestamp)> {
    let (ended, at) = std::str::from_utf8(run).ok()?.split_at_checked(1)?;
    let at = Timestamp::from_millis(at.parse().ok()?);
    Some((state(ended.as_bytes().first().copied()?)?, at))
}

/// The server's time.
pub(crate) fn time(operation: &'static str, answer: Value) -> Result<Timestamp> {
    let mut reply = Reply::new(operation, answer);
    let (seconds, micros) = (reply.int()?, reply.int()?);
    Ok(Timestamp::from_millis(seconds * 1000 + micros / 1000))
}
