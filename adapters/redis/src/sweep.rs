//! What time does to a queue. The script does what is due, and names the incarnations whose leases
//! have lapsed; their jobs are taken back in steps of their own.

use shiftwork_adapter::{
    Effect, JobId, QueueName, Recovered, Result, StoreSettings, SweepAnswer, Timestamp,
};
use std::time::Duration;
use tracing::error;

use crate::envelope::{Stored, millis, state};
use crate::keys::Named;
use crate::reply::Reply;
use crate::script;
use crate::store::{Queue, Store};

/// Why a job is dead whose workers vanished: `%d` is how often.
const CRASHED: [&str; 2] = [
    "its worker vanished %d while it ran; the last time, nothing ran beside it",
    "the process was killed, ran out of memory, or could not renew its lease while this job \
     blocked it",
];

/// How many jobs one sweep takes back at most.
const MOST_RECOVERED: usize = 1000;

impl Store {
    pub(crate) async fn sweep(&self, name: &QueueName) -> Result<SweepAnswer> {
        let operation = "sweep";
        self.check_open(operation)?;
        let queue = self.queue(name);
        queue.listen();
        let ticket = queue.wakeups.sweep.ticket();
        let StoreSettings { grace, lease, .. } = self.settings;
        let mut cmd = script::SWEEP.call(&queue.keys, &Named::default());
        cmd.arg(&self.local.process).arg(millis(grace)).arg(millis(lease));
        self.add_retention(&mut cmd);
        let mut reply = Reply::new(operation, self.call(operation, &queue, &cmd).await?);
        let mut answer = SweepAnswer::new(Timestamp::from_millis(reply.int()?), ticket);
        answer.promoted = count(reply.int()?);
        answer.trimmed = count(reply.int()?);
        answer.next = u64::try_from(reply.int()?).ok().map(Duration::from_millis);
        answer.claimable = reply.int()? == 1;
        while reply.len() > 0 {
            let (incarnation, lease_end) = (reply.text()?, reply.int()?);
            let more = self.recover(&queue, &incarnation, lease_end, &mut answer).await;
            // The sweep itself is done by now.
            let more = more.map_err(|error| error.with_effect(Effect::Unknown))?;
            // Recovering can leave more to do, or bring a next sweep that this one did not know.
            if more || reply.len() == 0 {
                answer.next = Some(Duration::ZERO);
            }
            if more {
                break;
            }
        }
        Ok(answer)
    }

    /// Takes back the jobs of an incarnation; answers whether there are more.
    async fn recover(
        &self,
        queue: &Queue,
        incarnation: &str,
        lease_end: i64,
        answer: &mut SweepAnswer,
    ) -> Result<bool> {
        let named = Named {
            held: queue.keys.held(incarnation),
            turn: queue.keys.turn(incarnation),
            ..Named::default()
        };
        let mut cmd = script::RECOVER.call(&queue.keys, &named);
        cmd.arg(incarnation).arg(lease_end).arg(self.settings.max_crashes.max(1));
        self.add_retention(&mut cmd);
        cmd.arg(&CRASHED[..]);
        while answer.recovered.len() < MOST_RECOVERED {
            let mut reply = Reply::new("sweep", self.call("sweep", queue, &cmd).await?);
            answer.now = Timestamp::from_millis(reply.int()?);
            let more = reply.int()? == 1;
            answer.promoted += count(reply.int()?);
            while reply.len() > 0 {
                let (id, envelope) = (reply.id()?, reply.bytes()?);
                let (crashes, state) = (reply.int()?, reply.text()?);
                answer.recovered.extend(recovered(queue, id, envelope, crashes, &state));
            }
            answer.claimable |= !answer.recovered.is_empty();
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn recovered(
    queue: &Queue,
    id: JobId,
    envelope: Vec<u8>,
    crashes: i64,
    name: &str,
) -> Option<Recovered> {
    match Stored::read(id, envelope) {
        Ok(stored) => {
            let state = name.bytes().next().and_then(state)?;
            Some(Recovered::new(stored.spec, u32::try_from(crashes).unwrap_or(u32::MAX), state))
        }
        Err(fault) => {
            error!(job.id = %id, queue = %queue.name, fault = fault.0,
                "a job that was taken back from a vanished worker cannot be read");
            None
        }
    }
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}
