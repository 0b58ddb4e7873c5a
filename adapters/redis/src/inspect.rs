//! Looking into a queue.

use redis::{Cmd, Value};
use shiftwork_adapter::{
    AdapterError, Counts, Cursor, ErrorKind, Find, Found, HeldPage, Incarnation, JobId, JobRecord,
    JobState, QueueName, Result,
};
use std::sync::PoisonError;
use tracing::error;

use crate::envelope::{Stored, read_entry, state};
use crate::keys::Named;
use crate::reply::Reply;
use crate::script::{self, Script};
use crate::store::{Queue, Store};

/// How often the incarnations may have changed between two calls before that is strange.
const MOST_CHANGES: usize = 100;

/// How many jobs a page has at most.
const MOST_FOUND: usize = 1000;

/// Where a job is, and what is stored of it, if that was asked for.
pub(crate) struct Looked {
    pub(crate) state: Option<JobState>,
    pub(crate) envelope: Vec<u8>,
}

impl Store {
    pub(crate) async fn job(&self, queue: &QueueName, job: JobId) -> Result<Option<JobRecord>> {
        let operation = "job";
        self.check_open(operation)?;
        let queue = self.queue(queue);
        let mut looked = self.look(operation, &queue, &[job], true).await?;
        let Some(Looked { state: Some(state), envelope }) = looked.pop() else { return Ok(None) };
        let stored = Stored::read(job, envelope).map_err(|fault| {
            let message = format!("the stored job cannot be read: {}", fault.0);
            AdapterError::new(ErrorKind::Corrupt, operation, message)
                .with_context("queue", &queue.name)
                .with_context("job", job)
        })?;
        Ok(Some(stored.to_record(&queue.name, state)))
    }

    /// Where jobs are, in the order given.
    pub(crate) async fn look(
        &self,
        operation: &'static str,
        queue: &Queue,
        jobs: &[JobId],
        with_envelopes: bool,
    ) -> Result<Vec<Looked>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut reply = self
            .call_with_holders(operation, queue, &script::LOOK, |cmd| {
                cmd.arg(u8::from(with_envelopes));
                self.add_retention(cmd);
                cmd.arg(jobs.len());
                for job in jobs {
                    cmd.arg(job.as_bytes());
                }
            })
            .await?;
        let _now = reply.int()?;
        reply.rest(|reply| {
            let (state, envelope) = (self::state_of(&reply.bytes()?), reply.bytes()?);
            Ok(Looked { state, envelope })
        })
    }

    /// Calls a script that asks who holds a job, until it was passed all who may.
    pub(crate) async fn call_with_holders(
        &self,
        operation: &'static str,
        queue: &Queue,
        script: &Script,
        add_arguments: impl Fn(&mut Cmd),
    ) -> Result<Reply> {
        for _ in 0..MOST_CHANGES {
            let holders = queue.holders.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let named = Named::default();
            let mut cmd = script.call_with_holders(&queue.keys, &named, &holders);
            add_arguments(&mut cmd);
            cmd.arg(&holders);
            let mut reply = Reply::new(operation, self.call(operation, queue, &cmd).await?);
            if reply.peek_text() != Some("others") {
                if reply.peek_text() == Some("ok") {
                    reply.text()?;
                }
                return Ok(reply);
            }
            reply.text()?;
            let others = reply.list()?.rest(Reply::text)?;
            *queue.holders.lock().unwrap_or_else(PoisonError::into_inner) = others;
        }
        let message = "the workers of the queue changed every time it was looked at";
        Err(AdapterError::new(ErrorKind::Unavailable, operation, message))
    }

    /// A page of jobs, as the server's own scan brings them. A cursor is where the scan is, and the
    /// last job of what it brought there that fitted on the page before.
    pub(crate) async fn find(&self, queue: &QueueName, find: &Find) -> Result<Found> {
        let operation = "find";
        self.check_open(operation)?;
        let queue = self.queue(queue);
        let limit = find.limit.clamp(1, MOST_FOUND);
        let (scan, after) = read_cursor(operation, find.after.as_ref())?;
        let mut cmd = redis::cmd("HSCAN");
        cmd.arg(queue.keys.jobs()).arg(&scan).arg("COUNT").arg(limit.max(100));
        let mut reply = Reply::new(operation, self.call(operation, &queue, &cmd).await?);
        let next_scan = reply.text()?;
        let mut scanned = reply.list()?.rest(|reply| Ok((reply.id()?, reply.bytes()?)))?;
        scanned.sort_unstable_by_key(|(id, _)| *id);
        scanned.dedup_by_key(|(id, _)| *id);
        scanned.retain(|(id, _)| after.is_none_or(|after| *id > after));

        let ids: Vec<_> = scanned.iter().map(|(id, _)| *id).collect();
        let looked = self.look(operation, &queue, &ids, false).await?;
        let mut found = Found::default();
        for ((id, envelope), Looked { state, .. }) in scanned.into_iter().zip(looked) {
            // It went, or is past its age.
            let Some(state) = state else { continue };
            let record = match Stored::read(id, envelope) {
                Ok(stored) => stored.to_record(&queue.name, state),
                Err(fault) => {
                    error!(job.id = %id, queue = %queue.name, fault = fault.0,
                        "a stored job cannot be read and is not listed");
                    continue;
                }
            };
            if !find.matches(&record) {
                continue;
            }
            found.jobs.push(record);
            if found.jobs.len() == limit && ids.last() != Some(&id) {
                found.next = Some(Cursor::new(format!("{scan}/{id}")));
                return Ok(found);
            }
        }
        found.next = (next_scan != "0").then(|| Cursor::new(next_scan));
        Ok(found)
    }

    pub(crate) async fn counts(&self, queue: &QueueName) -> Result<Counts> {
        let operation = "counts";
        self.check_open(operation)?;
        let queue = self.queue(queue);
        let mut cmd = script::COUNT.call(&queue.keys, &Named::default());
        self.add_retention(&mut cmd);
        let mut reply = Reply::new(operation, self.call(operation, &queue, &cmd).await?);
        let mut counts = Counts::default();
        for state in JobState::ALL {
            *counts.of_mut(state) = u64::try_from(reply.int()?).unwrap_or(0);
        }
        counts.paused = reply.int()? == 1;
        Ok(counts)
    }

    pub(crate) async fn queues(&self) -> Result<Vec<QueueName>> {
        let operation = "queues";
        self.check_open(operation)?;
        let mut cmd = redis::cmd("SMEMBERS");
        cmd.arg(&self.names.queues);
        let names =
            Reply::new(operation, self.call_home(operation, &cmd).await?).rest(Reply::text)?;
        let mut queues: Vec<_> = names
            .into_iter()
            .filter_map(|name| {
                QueueName::new(name)
                    .inspect_err(|fault| error!(%fault, "a stored queue has an impossible name"))
                    .ok()
            })
            .collect();
        queues.sort();
        Ok(queues)
    }

    /// What an incarnation holds, read in bounded steps and answered as one page.
    pub(crate) async fn held(
        &self,
        queue: &QueueName,
        incarnation: Incarnation,
        after: Option<JobId>,
    ) -> Result<HeldPage> {
        let operation = "held";
        self.check_open(operation)?;
        let queue = self.queue(queue);
        let named = queue.keys.of(incarnation);
        let mut page = HeldPage::default();
        let mut cursor = "0".to_owned();
        loop {
            let mut cmd = script::HELD.call(&queue.keys, &named);
            cmd.arg(&cursor);
            let mut reply = Reply::new(operation, self.call(operation, &queue, &cmd).await?);
            if reply.text()? != "ok" {
                page.expired = true;
                page.jobs.clear();
                return Ok(page);
            }
            cursor = reply.text()?;
            let entries = reply.list()?.rest(Reply::bytes)?;
            page.jobs.extend(entries.iter().filter_map(|entry| read_entry(entry)));
            if cursor == "0" {
                break;
            }
        }
        page.jobs.sort_unstable();
        page.jobs.dedup();
        page.jobs.retain(|(job, _)| after.is_none_or(|after| *job > after));
        Ok(page)
    }
}

/// Where the scan is, and after which job of what it brings there.
fn read_cursor(
    operation: &'static str,
    cursor: Option<&Cursor>,
) -> Result<(String, Option<JobId>)> {
    let Some(cursor) = cursor else { return Ok(("0".into(), None)) };
    let (scan, after) = match cursor.as_str().split_once('/') {
        Some((scan, after)) => (scan, after.parse().ok().map(Some)),
        None => (cursor.as_str(), Some(None)),
    };
    match (scan.parse::<u64>(), after) {
        (Ok(_), Some(after)) => Ok((scan.into(), after)),
        _ => {
            let seen: String = cursor.as_str().chars().take(64).collect();
            let message = format!(
                "{seen:?} is no cursor of this store; use the `next` of a page that it gave"
            );
            Err(AdapterError::new(ErrorKind::Invalid, operation, message))
        }
    }
}

fn state_of(name: &[u8]) -> Option<JobState> {
    state(*name.first()?)
}

impl Reply {
    /// The text that comes next, without taking it.
    fn peek_text(&self) -> Option<&str> {
        match self.peek()? {
            Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}
