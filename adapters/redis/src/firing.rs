//! Making jobs of schedules: when an occurrence is due, and by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;
use redis::{Cmd, Value};
use shiftwork_adapter::{
    AdapterError, Effect, Fired, Firing, JobId, Overlap, QueueName, Result, Schedule, ScheduleId,
    Timestamp, Trigger, Triggered,
};

use crate::envelope::NewJob;
use crate::keys::Named;
use crate::reply::Reply;
use crate::schedules::{text, time};
use crate::script;
use crate::store::Store;

impl Store {
    /// Fires occurrences, each in a step of its own.
    pub(crate) async fn fire(&self, batch: &[Firing]) -> Result<Vec<Fired>> {
        let operation = "fire";
        self.check_open(operation)?;
        let mut answers = vec![Fired::Stale; batch.len()];
        let mut queues: BTreeMap<QueueName, Vec<(usize, Cmd)>> = BTreeMap::new();
        for (place, firing) in batch.iter().enumerate() {
            let Some(schedule) = self.definition(operation, firing).await? else { continue };
            let cmd = self.fire_command(firing, &schedule);
            queues.entry(schedule.queue.clone()).or_default().push((place, cmd));
        }
        let count = queues.values().map(Vec::len).sum();
        let fired = queues.into_iter().map(|(queue, commands)| self.fire_in(queue, commands));
        for fired in join_all(fired).await {
            for (place, answer) in fired.map_err(|error| in_part(error, count))? {
                let mut reply = Reply::new(operation, answer);
                let answer = reply.text()?;
                answers[place] = match answer.as_str() {
                    "job" => Fired::Job(job_of(&batch[place])),
                    "overlapped" => Fired::Overlapped,
                    "missed" => Fired::Missed,
                    "early" => Fired::Early,
                    "stale" => Fired::Stale,
                    unknown => return Err(reply.unknown(unknown)),
                };
            }
        }
        Ok(answers)
    }

    /// Fires occurrences of one queue; their places come back with the answers.
    async fn fire_in(
        &self,
        queue: QueueName,
        commands: Vec<(usize, Cmd)>,
    ) -> Result<Vec<(usize, Value)>> {
        let operation = "fire";
        let queue = self.queue(&queue);
        let (places, commands): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
        let answers = self.links.call_all(operation, queue.target(), commands).await?;
        let made_job =
            |answer: &Value| Reply::new(operation, answer.clone()).text().is_ok_and(|a| a == "job");
        if answers.iter().any(made_job) {
            // Its job makes the queue a used one.
            let registered = self.register(operation, &queue).await;
            registered.map_err(|error| error.with_effect(Effect::Stored))?;
        }
        Ok(places.into_iter().zip(answers).collect())
    }

    /// The definition of a firing's revision, as far as it is still known; else the one of now, by
    /// which the store sees that the firing is stale.
    async fn definition(
        &self,
        operation: &'static str,
        firing: &Firing,
    ) -> Result<Option<Arc<Schedule>>> {
        let as_read = |known: &BTreeMap<ScheduleId, (u64, Arc<Schedule>)>| {
            let (revision, schedule) = known.get(&firing.schedule)?;
            (*revision == firing.revision).then(|| schedule.clone())
        };
        let known = as_read(&self.definitions.lock().unwrap_or_else(PoisonError::into_inner));
        if known.is_some() {
            return Ok(known);
        }
        let stored = self.stored_schedule(operation, &firing.schedule).await?;
        Ok(stored.map(|(_, schedule)| schedule))
    }

    fn fire_command(&self, firing: &Firing, schedule: &Schedule) -> Cmd {
        let queue = self.queue(&schedule.queue);
        let job = NewJob::new(schedule.occurring(firing.run.unwrap_or(firing.occurrence)));
        let mut cmd = script::FIRE.call(&queue.keys, &Named::default());
        cmd.arg(firing.schedule.as_str())
            .arg(firing.revision)
            .arg(firing.occurrence.as_millis())
            .arg(text(firing.run))
            .arg(firing.missed)
            .arg(text(firing.next))
            .arg(u8::from(schedule.enabled))
            .arg(u8::from(schedule.overlap == Overlap::Skip))
            .arg(&self.names.schedules)
            .arg(job.id().as_bytes())
            .arg(job.kind.priority as u8)
            .arg(job.body())
            .arg(u8::from(job.kind.is_kept()))
            .arg(job.kind.keep_ms)
            .arg(self.settings.max_crashes.max(1));
        self.add_retention(&mut cmd);
        cmd
    }

    /// Enqueues a schedule's job by hand.
    pub(crate) async fn trigger(self: &Arc<Self>, trigger: Trigger) -> Result<Triggered> {
        let operation = "trigger";
        self.check_open(operation)?;
        let Some((_, schedule)) = self.stored_schedule(operation, &trigger.schedule).await? else {
            return Ok(Triggered::NoSuchSchedule);
        };
        let now = self.now(operation).await?;
        let queue = schedule.queue.clone();
        self.enqueue(operation, &queue, vec![schedule.triggered(trigger, now)]).await?;
        Ok(Triggered::Enqueued(queue))
    }

    /// The server's time.
    pub(crate) async fn now(&self, operation: &'static str) -> Result<Timestamp> {
        time(operation, self.call_home(operation, &redis::cmd("TIME")).await?)
    }
}

fn job_of(firing: &Firing) -> JobId {
    JobId::of_occurrence(&firing.schedule, firing.run.unwrap_or(firing.occurrence))
}

/// Of several firings, some may have been applied before the one that failed.
fn in_part(error: AdapterError, firings: usize) -> AdapterError {
    if firings > 1 { error.with_effect(Effect::Unknown) } else { error }
}
