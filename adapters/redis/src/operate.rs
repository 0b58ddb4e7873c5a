//! What people do to a queue and its jobs: cancel, replay, discard, pause, resume.

use shiftwork_adapter::{CancelJob, JobId, Operated, QueueName, Result};

use crate::envelope::state;
use crate::keys::Named;
use crate::reply::Reply;
use crate::script;
use crate::store::Store;

impl Store {
    /// Cancels a job here and now, or has its worker told.
    pub(crate) async fn cancel_job(&self, queue: &QueueName, job: JobId) -> Result<CancelJob> {
        let operation = "cancel_job";
        self.check_open(operation)?;
        let queue = self.queue(queue);
        let mut reply = self
            .call_with_holders(operation, &queue, &script::CANCEL, |cmd| {
                cmd.arg(job.as_bytes()).arg(self.settings.max_crashes.max(1));
                self.add_retention(cmd);
                cmd.arg("");
            })
            .await?;
        let answer = reply.text()?;
        match answer.as_str() {
            "cancelled" => Ok(CancelJob::Cancelled),
            "requested" => Ok(CancelJob::Requested),
            "unknown" => Ok(CancelJob::NotFound),
            ended => match ended.bytes().next().and_then(state) {
                Some(state) => Ok(CancelJob::Finished(state)),
                None => Err(reply.unknown(ended)),
            },
        }
    }

    /// Lets a dead or cancelled job wait again.
    pub(crate) async fn replay(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        let operation = "replay";
        self.check_open(operation)?;
        let queue = self.queue(queue);
        let mut cmd = script::REPLAY.call(&queue.keys, &Named::default());
        cmd.arg(job.as_bytes()).arg(self.settings.max_crashes.max(1));
        self.add_retention(&mut cmd);
        let reply = Reply::new(operation, self.call(operation, &queue, &cmd).await?);
        self.operated(&queue.name, job, reply).await
    }

    /// Forgets a finished job.
    pub(crate) async fn discard(&self, queue: &QueueName, job: JobId) -> Result<Operated> {
        let operation = "discard";
        self.check_open(operation)?;
        let queue = self.queue(queue);
        let mut cmd = script::DISCARD.call(&queue.keys, &Named::default());
        cmd.arg(job.as_bytes());
        self.add_retention(&mut cmd);
        let reply = Reply::new(operation, self.call(operation, &queue, &cmd).await?);
        self.operated(&queue.name, job, reply).await
    }

    async fn operated(&self, queue: &QueueName, job: JobId, mut reply: Reply) -> Result<Operated> {
        let answer = reply.text()?;
        match answer.as_str() {
            "done" => Ok(Operated::Done),
            "unknown" => Ok(Operated::NotFound),
            // Which of the pending states it is in takes another look.
            "P" => {
                let now = self.job(queue, job).await?;
                Ok(now.map_or(Operated::NotFound, |job| Operated::Refused(job.state)))
            }
            ended => match ended.bytes().next().and_then(state) {
                Some(state) => Ok(Operated::Refused(state)),
                None => Err(reply.unknown(ended)),
            },
        }
    }

    /// Lets claims answer nothing; answers whether they did not already.
    pub(crate) async fn pause(&self, queue: &QueueName) -> Result<bool> {
        let queue = self.queue(queue);
        self.check_open("pause")?;
        self.register("pause", &queue).await?;
        self.set_paused("pause", &queue.name).await
    }

    /// The end of a pause; answers whether there was one.
    pub(crate) async fn resume(&self, queue: &QueueName) -> Result<bool> {
        self.check_open("resume")?;
        self.set_paused("resume", queue).await
    }

    async fn set_paused(&self, operation: &'static str, queue: &QueueName) -> Result<bool> {
        let queue = self.queue(queue);
        let mut cmd = script::PAUSE.call(&queue.keys, &Named::default());
        cmd.arg(operation);
        Ok(Reply::new(operation, self.call(operation, &queue, &cmd).await?).int()? == 1)
    }
}
