//! Making jobs of schedules: when an occurrence is due, and by hand.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bytes::BufMut;
use futures_util::future::join_all;
use redis::Cmd;
use shiftwork_adapter::{
    AdapterError, DueInQueue, DueSchedules, Effect, ErrorKind, Fired, Firing, FiringOf, JobId,
    Overlap, QueueName, Result, Schedule, ScheduleId, Timestamp, Timing, Trigger, TriggerOverlap,
    Triggered,
};
use tracing::warn;

use crate::enqueue::add_job;
use crate::envelope::NewJob;
use crate::keys::Named;
use crate::reply::Reply;
use crate::schedules::{Indexed, Known, LAST_MS, ms, not_before, time};
use crate::script;
use crate::store::{Queue, Store};

/// How many occurrences one call fires at most, so that it holds its server up for no longer than a
/// few milliseconds.
const TOGETHER: usize = 250;

/// How many due schedules one call tells of at most, for the same reason.
const PAGE: usize = 1000;

/// How soon after a firing the next of its schedule may have been planned together with it.
const SOON: Duration = Duration::from_secs(5);

/// Of how many schedules at most an answer tells without taking so long to come that the time it says
/// is past.
const SHORT: usize = 50;

/// How often a schedule may be changed between looking at it and triggering it before that is
/// strange.
const MOST_CHANGES: usize = 100;

impl Store {
    /// What is due, or will be within `ahead`, up to `limit` of each queue.
    pub(crate) async fn due(
        &self,
        queues: Option<&[QueueName]>,
        ahead: Duration,
        limit: usize,
    ) -> Result<DueSchedules> {
        let operation = "due";
        self.check_open(operation)?;
        let mut due = DueSchedules::new(self.local.schedules.ticket());
        let queues = match queues {
            Some(queues) => queues.to_vec(),
            None => {
                self.listen_to_schedules();
                let mut cmd = redis::cmd("SMEMBERS");
                cmd.arg(&self.names.scheduling);
                let names = Reply::new(operation, self.call_home(operation, &cmd).await?)
                    .rest(Reply::text)?;
                let mut queues: Vec<_> =
                    names.into_iter().filter_map(|name| QueueName::new(name).ok()).collect();
                queues.sort();
                queues
            }
        };
        let asked = queues.iter().map(|queue| self.due_in(operation, queue, ahead, limit));
        for (queue, answer) in queues.iter().zip(join_all(asked).await) {
            match answer {
                Ok(here) => due.queues.push(here),
                Err(error) => due.unread.push((queue.clone(), error)),
            }
        }
        Ok(due)
    }

    async fn due_in(
        &self,
        operation: &'static str,
        name: &QueueName,
        ahead: Duration,
        limit: usize,
    ) -> Result<DueInQueue> {
        let queue = self.queue(name);
        // Those of other queues are not to wait for it.
        if let Some(error) = self.trouble(operation, &queue) {
            return Err(error);
        }
        let mut cmd = script::DUE.call(&queue.keys, &Named::default());
        cmd.arg(limit.clamp(1, PAGE)).arg(whole_ms(ahead));
        // Where none of those it looked at is due, it has moved them on.
        let (now, heard, mut next, by, may_be_more, mut states) = loop {
            let mut reply = Reply::new(operation, self.call(operation, &queue, &cmd).await?);
            let (now, heard) = (Timestamp::from_millis(reply.int()?), Instant::now());
            // One that is never due is beyond what a number says.
            let next = reply.text()?.parse().ok().map(Timestamp::from_millis);
            let (by, may_be_more) = (reply.int()?, reply.int()? == 1);
            let states = reply.rest(|reply| Ok((reply.text()?, reply.bytes()?)))?;
            if !may_be_more || !states.is_empty() {
                break (now, heard, next, by, may_be_more, states);
            }
        };
        if may_be_more && states.len() < limit {
            let (others, following) =
                self.other_states(operation, &queue, by, limit, &states).await?;
            states.extend(others);
            next = next.into_iter().chain(following).min();
        }
        let stored = self.defined(operation, &queue, states).await?;
        self.remember(&stored);
        let records: Vec<_> = stored.into_iter().map(|stored| stored.record).collect();
        let now = match records.len() {
            0..SHORT => now + Duration::from_millis(whole_ms(heard.elapsed())),
            _ => time(operation, self.call(operation, &queue, &redis::cmd("TIME")).await?)?,
        };
        queue.reckoning.heard(now);
        Ok(DueInQueue::new(name.clone(), now, records, next))
    }

    /// Of those due by then, what is stored of those that were not told, and when the first is due
    /// that is not by then after all. Their names are read at once, so that none is passed over while
    /// others are fired; what is stored of them, after it.
    async fn other_states(
        &self,
        operation: &'static str,
        queue: &Queue,
        by: i64,
        limit: usize,
        told: &[(String, Vec<u8>)],
    ) -> Result<(Vec<(String, Vec<u8>)>, Option<Timestamp>)> {
        // Some may have been fired.
        let most = 2 * limit;
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(queue.keys.due_schedules()).arg("-inf").arg(by).arg("BYSCORE");
        cmd.arg("LIMIT").arg(0).arg(most);
        let names = Reply::new(operation, self.call(operation, queue, &cmd).await?);
        let mut names = names.rest(Reply::text)?;
        let is_cut = names.len() == most;
        let is_told: HashSet<_> = told.iter().map(|(id, _)| id.as_str()).collect();
        names.retain(|id| !is_told.contains(id.as_str()));
        let ids: Vec<_> = names.iter().map(String::as_str).collect();
        let states = self.fields(operation, queue, queue.keys.schedules(), &ids).await?;
        let by = Timestamp::from_millis(by);
        let mut next = is_cut.then_some(by);
        let mut others = Vec::with_capacity(names.len());
        for (id, state) in names.into_iter().zip(states) {
            let Some(state) = state else { continue };
            match not_before(&state).filter(|due| *due > by) {
                Some(due) => next = next.into_iter().chain([due]).min(),
                None if told.len() + others.len() < limit => others.push((id, state)),
                None => next = Some(by),
            }
        }
        Ok((others, next))
    }

    /// Fires occurrences, those of a queue that come together in one step.
    pub(crate) async fn fire(&self, batch: &[Firing]) -> Result<Vec<Fired>> {
        let operation = "fire";
        self.check_open(operation)?;
        let mut answers = vec![Fired::Stale; batch.len()];
        let mut queues: BTreeMap<QueueName, Vec<(usize, Known)>> = BTreeMap::new();
        for (place, known) in self.known_of(operation, batch).await?.into_iter().enumerate() {
            let Some(known) = known else { continue };
            queues.entry(known.schedule.queue.clone()).or_default().push((place, known));
        }
        let count = queues.values().map(Vec::len).sum();
        let fired = queues.into_iter().map(|(queue, here)| self.fire_in(queue, here, batch));
        let mut soon_again = Vec::new();
        for fired in join_all(fired).await {
            let (fired, again) = fired.map_err(|error| in_part(error, count))?;
            fired.into_iter().for_each(|(place, answer)| answers[place] = answer);
            soon_again.extend(again);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for firing in batch {
            known.remove(&firing.schedule);
        }
        known.extend(soon_again.into_iter().map(|known| (known.schedule.id.clone(), known)));
        Ok(answers)
    }

    /// Fires occurrences of one queue; their places come back with the answers, and what is known of
    /// those schedules that are fired again soon.
    async fn fire_in(
        &self,
        queue: QueueName,
        firings: Vec<(usize, Known)>,
        batch: &[Firing],
    ) -> Result<(Vec<(usize, Fired)>, Vec<Known>)> {
        let operation = "fire";
        let queue = self.queue(&queue);
        let indexed = self.once(operation, &firings).await;
        let (plain, others) = split(firings, batch);
        let commands = plain.chunks(TOGETHER).map(|some| self.fire_plain_command(&queue, some));
        let more = others.chunks(TOGETHER).map(|some| self.fire_command(&queue, some, batch));
        let commands = commands.chain(more).collect();
        let answers = self.links.call_all(operation, queue.target(), commands).await?;
        let mut answers = answers.into_iter();
        let mut fired = Vec::with_capacity(plain.len() + others.len());
        let (mut left, mut soon_again) = (Vec::new(), Vec::new());
        for (some, answer) in plain.chunks(TOGETHER).zip(&mut answers) {
            let mut reply = Reply::new(operation, answer);
            queue.reckoning.heard(Timestamp::from_millis(reply.int()?));
            let here: HashSet<_> = reply.list()?.rest(Reply::int)?.into_iter().collect();
            for (position, fire) in (1..).zip(some) {
                if here.contains(&position) {
                    left.push((fire.place, fire.known.clone()));
                } else {
                    fired.push((fire.place, Fired::Job(job_of(fire.firing))));
                    soon_again.extend(fire.again());
                }
            }
        }
        for (some, answer) in others.chunks(TOGETHER).zip(answers) {
            read_fired(Reply::new(operation, answer), some, batch, &mut fired)?;
        }
        if !left.is_empty() {
            let commands = left.chunks(TOGETHER).map(|some| self.fire_command(&queue, some, batch));
            let answers = self.links.call_all(operation, queue.target(), commands.collect()).await;
            let answers = answers.map_err(|error| error.with_effect(Effect::Unknown))?;
            for (some, answer) in left.chunks(TOGETHER).zip(answers) {
                read_fired(Reply::new(operation, answer), some, batch, &mut fired)?;
            }
        }
        let made_job = |(_, fired): &(usize, Fired)| matches!(fired, Fired::Job(_));
        if fired.iter().any(made_job) {
            // Its job makes the queue a used one.
            let registered = self.register(operation, &queue).await;
            registered.map_err(|error| error.with_effect(Effect::Stored))?;
        }
        for (id, indexed) in indexed {
            let is_done = fired.iter().any(|(place, fired)| {
                batch[*place].schedule == id
                    && !matches!(fired, Fired::Early | Fired::Stale | Fired::Queued)
            });
            if is_done && let Err(error) = self.unindex(operation, &id, &indexed).await {
                warn!(schedule = %id, %error,
                    "a schedule that is done stays in the index; it does no harm there");
            }
        }
        Ok((fired, soon_again))
    }

    /// Where the index has those that are due once. It is told when they are gone.
    async fn once(
        &self,
        operation: &'static str,
        firings: &[(usize, Known)],
    ) -> Vec<(ScheduleId, Indexed)> {
        let mut found = Vec::new();
        let once = firings.iter().map(|(_, known)| &known.schedule);
        for schedule in once.filter(|schedule| is_once(schedule)) {
            if let Ok(Some(indexed)) = self.indexed(operation, &schedule.id).await {
                found.push((schedule.id.clone(), indexed));
            }
        }
        found
    }

    /// Of each firing the schedule of its revision, as far as that is still known; else the one of now,
    /// by which the store sees that the firing is stale.
    async fn known_of(
        &self,
        operation: &'static str,
        batch: &[Firing],
    ) -> Result<Vec<Option<Known>>> {
        let mut known: Vec<Option<Known>> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let as_read = |firing: &Firing| {
                known.get(&firing.schedule).filter(|known| known.revision == firing.revision)
            };
            batch.iter().map(|firing| as_read(firing).cloned()).collect()
        };
        let unknown = batch.iter().zip(&known).filter(|(_, known)| known.is_none());
        let unknown: Vec<_> = unknown.map(|(firing, _)| &firing.schedule).collect();
        if !unknown.is_empty() {
            let stored = self.stored_together(operation, &unknown).await?;
            let stored: HashMap<_, _> =
                stored.iter().map(|stored| (&stored.record.schedule.id, stored)).collect();
            for (firing, known) in batch.iter().zip(&mut known).filter(|(_, known)| known.is_none())
            {
                *known = stored.get(&firing.schedule).map(|stored| Known::of(stored));
            }
        }
        Ok(known)
    }

    fn fire_plain_command<'a>(&self, queue: &Queue, firings: &[ToFire<'a>]) -> Cmd {
        let mut cmd = script::FIRE_PLAIN.call(&queue.keys, &Named::default());
        let due = |fire: &ToFire<'_>| fire.known.schedule.due(fire.firing.occurrence);
        let all_due = firings.iter().map(due).max();
        let until = firings.iter().filter_map(|fire| fire.firing.until).min();
        // No job is accepted before it is due, whatever one reckons. Who reckons nothing leaves it to
        // the server.
        let now = queue.reckoning.now().map(|now| all_due.map_or(now, |due| due.max(now)));
        let now = now.unwrap_or_default();
        let versions: Vec<_> = firings.iter().map(|fire| fire.known.version()).collect();
        let run_before = |fire: &ToFire<'_>| match fire.known.schedule.overlap {
            _ if fire.known.last_job() == [0; 16] => b'n',
            Overlap::Allow => b'a',
            _ => b's',
        };
        let runs_before: Vec<_> = firings.iter().map(run_before).collect();
        let job = |fire: &ToFire<'a>| NewJob::fired(fire.firing, &fire.known.schedule);
        let jobs: Vec<_> = firings.iter().map(job).collect();
        let are_alike = jobs.windows(2).all(|pair| pair[0].kind == pair[1].kind);
        let kind = jobs.first().filter(|_| are_alike).map(|job| job.kind.header(now));
        let alike = kind.map_or_else(Vec::new, |header| [&header[2..3], &header[5..9]].concat());
        cmd.arg(self.settings.max_crashes.max(1))
            .arg(ms(all_due))
            .arg(until.map_or(LAST_MS, |until| ms(Some(until))))
            .arg(now.as_millis())
            .arg(versions.concat())
            .arg(&runs_before)
            .arg(ms(firings.iter().filter_map(|fire| fire.firing.run).min()))
            .arg(alike);
        for fire in firings {
            cmd.arg(fire.firing.schedule.as_str()).arg(&fire.after);
        }
        for job in &jobs {
            add_job(&mut cmd, job, &job.kind.header(now));
        }
        if runs_before.iter().any(|before| *before != b'n') {
            for fire in firings {
                cmd.arg(fire.known.last_job());
            }
        }
        cmd
    }

    fn fire_command(&self, queue: &Queue, firings: &[(usize, Known)], batch: &[Firing]) -> Cmd {
        let mut cmd = script::FIRE.call(&queue.keys, &Named::default());
        cmd.arg(self.settings.max_crashes.max(1));
        self.add_retention(&mut cmd);
        for (place, known) in firings {
            let (firing, schedule) = (&batch[*place], &known.schedule);
            let job = NewJob::fired(firing, schedule);
            let mut what = Vec::with_capacity(91);
            what.put_u8(if firing.of == FiringOf::Queued { b'q' } else { b'n' });
            what.put_u64(firing.revision);
            what.put_i64(ms(Some(firing.occurrence)));
            what.put_i64(ms(Some(schedule.due(firing.occurrence))));
            what.put_i64(ms(firing.run));
            what.put_u64(firing.missed);
            what.put_i64(ms(firing.next));
            what.put_i64(ms(firing.next.map(|next| schedule.due(next))));
            what.put_i64(firing.until.map_or(LAST_MS, |until| ms(Some(until))));
            what.put_u8(match schedule.overlap {
                Overlap::Allow => b'a',
                Overlap::Queue => b'q',
                _ => b's',
            });
            what.put_u64(schedule.limit.map_or(0, NonZeroU64::get));
            what.put_u8(if is_once(schedule) { b'1' } else { b'0' });
            what.put_slice(job.id().as_bytes());
            cmd.arg(firing.schedule.as_str())
                .arg(what)
                // The times in it are put in by the script.
                .arg(&job.kind.header(Timestamp::EPOCH))
                .arg(job.body());
        }
        cmd
    }

    /// Enqueues a schedule's job by hand.
    pub(crate) async fn trigger(&self, trigger: Trigger) -> Result<Triggered> {
        let operation = "trigger";
        self.check_open(operation)?;
        let deadline = self.links.deadline();
        for _ in 0..MOST_CHANGES {
            let Some(record) = self.stored_schedule(operation, &trigger.schedule).await? else {
                return Ok(Triggered::NoSuchSchedule);
            };
            let schedule = &record.schedule;
            let now = self.now(operation).await?;
            let queue = self.queue(&schedule.queue);
            self.register_until(operation, &queue, deadline).await?;
            let job = NewJob::new(schedule.triggered(trigger.clone(), now));
            let may_overlap =
                trigger.overlap == TriggerOverlap::Allow || schedule.overlap == Overlap::Allow;
            let mut cmd = script::TRIGGER.call(&queue.keys, &Named::default());
            cmd.arg(schedule.id.as_str())
                .arg(record.revision)
                .arg(self.settings.max_crashes.max(1));
            self.add_retention(&mut cmd);
            cmd.arg(u8::from(may_overlap))
                .arg(job.id().as_bytes())
                .arg(job.kind.priority as u8)
                .arg(job.body())
                .arg(u8::from(job.kind.is_kept()))
                .arg(job.kind.keep_ms);
            let answer = self.add(operation, &queue, &cmd, deadline).await?;
            let mut reply = Reply::new(operation, answer);
            match reply.text()?.as_str() {
                "enqueued" => return Ok(Triggered::Enqueued(queue.name.clone())),
                "overlapped" => return Ok(Triggered::Overlapped(reply.id()?)),
                "stale" => {}
                unknown => return Err(reply.unknown(unknown)),
            }
        }
        let message = "the schedule was changed every time it was looked at";
        Err(AdapterError::new(ErrorKind::Unavailable, operation, message)
            .with_context("schedule", &trigger.schedule))
    }

    /// The server's time.
    pub(crate) async fn now(&self, operation: &'static str) -> Result<Timestamp> {
        time(operation, self.call_home(operation, &redis::cmd("TIME")).await?)
    }
}

/// A firing that finds its schedule as it was read, and makes a job.
struct ToFire<'a> {
    place: usize,
    firing: &'a Firing,
    known: Known,
    /// The state that the schedule has then.
    after: Vec<u8>,
}

impl ToFire<'_> {
    /// What is known of its schedule once it has fired, where that is fired again soon: so that it
    /// need not be read before.
    fn again(&self) -> Option<Known> {
        let due = |at| self.known.schedule.due(at);
        let soon = due(self.firing.occurrence) + SOON;
        self.firing.next.filter(|&next| due(next) <= soon).map(|_| self.known.with(&self.after))
    }
}

/// Firings that make a job and decide nothing, and the others. Where there are several of a schedule,
/// they are others: one finds what the one before it leaves.
fn split(firings: Vec<(usize, Known)>, batch: &[Firing]) -> (Vec<ToFire<'_>>, Vec<(usize, Known)>) {
    let mut named: HashMap<&ScheduleId, usize> = HashMap::with_capacity(firings.len());
    for (place, _) in &firings {
        *named.entry(&batch[*place].schedule).or_default() += 1;
    }
    let (mut plain, mut others) = (Vec::with_capacity(firings.len()), Vec::new());
    for (place, known) in firings {
        let firing = &batch[place];
        match known.after(firing).filter(|_| named[&firing.schedule] == 1) {
            Some(after) => plain.push(ToFire { place, firing, known, after }),
            None => others.push((place, known)),
        }
    }
    (plain, others)
}

/// Reads what became of firings.
fn read_fired(
    mut reply: Reply,
    firings: &[(usize, Known)],
    batch: &[Firing],
    fired: &mut Vec<(usize, Fired)>,
) -> Result<()> {
    for (place, _) in firings {
        let answer = match reply.text()?.as_str() {
            "job" => Fired::Job(job_of(&batch[*place])),
            "queued" => Fired::Queued,
            "overlapped" => Fired::Overlapped,
            "missed" => Fired::Missed,
            "early" => Fired::Early,
            "stale" => Fired::Stale,
            unknown => return Err(reply.unknown(unknown)),
        };
        fired.push((*place, answer));
    }
    Ok(())
}

fn whole_ms(duration: Duration) -> u64 {
    // Of more than that, a number of Lua is not sure.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 52)
}

fn is_once(schedule: &Schedule) -> bool {
    matches!(schedule.timing, Timing::Once { .. })
}

fn job_of(firing: &Firing) -> JobId {
    JobId::of_occurrence(&firing.schedule, firing.run.unwrap_or(firing.occurrence))
}

/// Of several firings, some may have been applied before the one that failed.
fn in_part(error: AdapterError, firings: usize) -> AdapterError {
    if firings > 1 { error.with_effect(Effect::Unknown) } else { error }
}
