//! A worker's whole conversation with a queue, and what of it the script is told.

use std::collections::HashSet;

use redis::Cmd;
use shiftwork_adapter::{
    Claimed, Exchange, ExchangeAnswer, ExchangeReply, JobId, JobName, JobSpec, Outcome, Payload,
    Result, Settlement, Timestamp,
};
use tracing::error;

use crate::enqueue::are_distinct;
use crate::envelope::{ENTRY, Stored, entry, millis, read_entry};
use crate::reply::Reply;
use crate::script;
use crate::store::{Queue, Store};

/// What the script answers in its flags.
const RECONCILE: i64 = 1;
const MORE: i64 = 2;
const SOLO_WAITING: i64 = 4;
const NEWER: i64 = 8;

/// So many keys, the last of them, have a use only where a settlement is of a job of a schedule.
const KEYS_OF_SCHEDULES: usize = 3;

/// So many before them, only where a settlement is none of a job that completed and is not kept.
const KEYS_OF_OTHERS: usize = 4;

/// Bit 0 of a generation: the job is kept for its result.
const KEPT: u64 = 1;

impl Store {
    pub(crate) async fn exchange(&self, exchange: &Exchange) -> Result<ExchangeReply> {
        let operation = "exchange";
        self.check_open(operation)?;
        let queue = self.queue(&exchange.queue);
        self.register(operation, &queue).await?;
        if exchange.claim > 0 {
            queue.listen();
        }
        // Before it is sent: what is pushed from now on, the answer has not seen.
        let ticket = queue.wakeups.work.ticket();
        let (cmd, impossible) = self.exchange_command(&queue, exchange);
        let mut reply = Reply::new(operation, self.call(operation, &queue, &cmd).await?);
        match reply.text()?.as_str() {
            "ok" => {}
            "expired" => return Ok(ExchangeReply::Expired),
            "refused" => return Ok(ExchangeReply::Refused),
            unknown => return Err(reply.unknown(unknown)),
        }
        let now = Timestamp::from_millis(reply.int()?);
        let flags = reply.int()?;
        let mut answer = ExchangeAnswer::new(now, ticket);
        answer.refused = reply.list()?.rest(Reply::id)?;
        answer.refused.extend(impossible);
        answer.cancelled = reply.list()?.rest(Reply::id)?;
        let (entries, envelopes) = (reply.bytes()?, reply.list()?);
        answer.claimed = claimed(&queue, &entries, envelopes)?;
        answer.reconcile = flags & RECONCILE != 0;
        answer.more = flags & MORE != 0;
        answer.solo_waiting = flags & SOLO_WAITING != 0;
        if flags & NEWER != 0 {
            error!(queue = %queue.name,
                "the next job of this queue was written by a newer shiftwork, and is left to \
                 workers that know its format; upgrade this program too");
        }
        Ok(ExchangeReply::Answered(answer))
    }

    /// The command, and the jobs of settlements that no claim can have had.
    fn exchange_command(&self, queue: &Queue, exchange: &Exchange) -> (Cmd, Vec<JobId>) {
        let Exchange { incarnation, number, settlements, held, claim, solo, .. } = exchange;
        let keeps =
            !self.settings.keep_completed.age.is_zero() && self.settings.keep_completed.count > 0;
        let is_common = |settlement: &Settlement| {
            settlement.outcome == Outcome::Complete && settlement.generation & KEPT == 0
        };
        let are_plain = !keeps && settlements.iter().all(is_common);
        let is_of_schedule = settlements.iter().any(|settlement| settlement.job.is_of_schedule());
        let unused = match (is_of_schedule, are_plain) {
            (true, _) => 0,
            (false, true) => KEYS_OF_SCHEDULES + KEYS_OF_OTHERS,
            (false, false) => KEYS_OF_SCHEDULES,
        };
        let keys = queue.keys.of(*incarnation);
        let mut cmd = script::EXCHANGE.call_without(unused, &queue.keys, &keys);
        cmd.arg(&self.local.process)
            .arg(incarnation.to_string())
            .arg(*number)
            .arg(*held)
            .arg(*claim)
            .arg(u8::from(*solo))
            .arg(millis(self.settings.lease))
            .arg(self.settings.max_crashes.max(1));
        self.add_retention(&mut cmd);
        let mut impossible = Vec::new();
        // Of jobs that completed, and either none of them is kept or all are.
        let (mut common, mut others) = (Vec::new(), Vec::new());
        let claims = settlements.iter().map(|settlement| (settlement.job, settlement.generation));
        let mut seen = (!are_distinct(claims.collect())).then(HashSet::new);
        let mut is_first = |entry| seen.as_mut().is_none_or(|seen| seen.insert(entry));
        for settlement in settlements {
            match entry(settlement.job, settlement.generation) {
                // One claim is settled once.
                Some(entry) if !is_first(entry) => impossible.push(settlement.job),
                None => impossible.push(settlement.job),
                Some(entry) if is_common(settlement) => common.push((entry, settlement)),
                Some(entry) => others.push((entry, settlement)),
            }
        }
        let (plain, kept) = if keeps { (0, common.len()) } else { (common.len(), 0) };
        cmd.arg(plain).arg(kept);
        for (entry, _) in &common {
            cmd.arg(&entry[..]);
        }
        for (_, settlement) in &common {
            cmd.arg(settlement.job.as_bytes());
        }
        if keeps {
            for (_, settlement) in &common {
                cmd.arg(report(settlement));
            }
        }
        for (entry, settlement) in others {
            let (outcome, delay) = match settlement.outcome {
                Outcome::Complete => ('C', 0),
                Outcome::Dead => ('X', 0),
                Outcome::Cancel => ('K', 0),
                Outcome::Retry(delay) => ('R', millis(delay)),
                Outcome::Release(delay) => ('L', millis(delay)),
                // What a later contract may add: to hand a job back loses nothing.
                _ => ('L', 0),
            };
            cmd.arg(&entry[..]).arg(outcome.to_string()).arg(delay).arg(report(settlement));
        }
        (cmd, impossible)
    }
}

/// Empty, where there is none.
fn report(settlement: &Settlement) -> Vec<u8> {
    let report = settlement.report.as_ref();
    // A report whose data are no JSON is told without them rather than not at all.
    report.map(|report| serde_json::to_vec(&**report).unwrap_or_default()).unwrap_or_default()
}

fn claimed(queue: &Queue, entries: &[u8], mut envelopes: Reply) -> Result<Vec<Claimed>> {
    let mut claimed = Vec::with_capacity(envelopes.len());
    let mut name = None;
    for entry in entries.chunks(ENTRY) {
        let envelope = envelopes.bytes_or_nil()?;
        let Some((id, generation)) = read_entry(entry) else {
            return Err(envelopes.unknown("an entry of another form"));
        };
        let stored = Stored::read_after(&mut name, id, envelope.unwrap_or_default());
        claimed.push(match stored {
            Ok(stored) => stored.to_claimed(),
            Err(fault) => {
                error!(job.id = %id, queue = %queue.name, fault = fault.0,
                    "a stored job cannot be read; it goes the way of jobs that nobody knows");
                unreadable(id, generation)
            }
        });
    }
    Ok(claimed)
}

/// A job of which nothing but its id is known: no program has a handler for it, and after a while
/// it is a dead letter that says so.
fn unreadable(id: JobId, generation: u64) -> Claimed {
    // A valid name, by its letters.
    let name = JobName::new("unreadable").unwrap_or_else(|_| unreachable!());
    let spec = JobSpec::new(id, name, Payload::none());
    Claimed::new(spec.into(), generation, Timestamp::EPOCH)
}
