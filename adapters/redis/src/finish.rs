//! Waiting for one job's end.
//!
//! Who waits notes it with the store first and looks then, in one step; the step that ends the job
//! tells this process. A slow look of one's own stands behind that.

use std::time::Duration;

use shiftwork_adapter::{JobId, JobRecord, QueueName, Result};
use tokio::time::{Instant, timeout_at};

use crate::envelope::millis;
use crate::keys::Named;
use crate::reply::Reply;
use crate::script;
use crate::store::{Queue, Store};

/// How often to look although nothing was told.
const POLL: Duration = Duration::from_secs(5);

/// How soon to look again after a store could not say.
const RETRY: Duration = Duration::from_millis(500);

/// How much longer than the wait the store remembers it, in ms.
const MARGIN_MS: u64 = 60_000;

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Gone,
    Ended,
    Pending,
}

impl Store {
    pub(crate) async fn await_finish(
        &self,
        name: &QueueName,
        job: JobId,
        within: Duration,
    ) -> Result<Option<JobRecord>> {
        self.check_open("await_finish")?;
        let queue = self.queue(name);
        let deadline = deadline(within);
        queue.listen();
        let awaiting = queue.wakeups.await_end(job);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let is_deaf = self.links.is_deaf(queue.slot);
            let mut pause = if is_deaf { self.server.poll().min(POLL) } else { POLL };
            match self.stage(&queue, job, left).await {
                Ok(Stage::Gone) => return Ok(None),
                Ok(Stage::Ended) => return self.job(name, job).await,
                Ok(Stage::Pending) => {}
                // There is time left, and the store may be better in a while.
                Err(error) if error.is_retryable() && Instant::now() < deadline => pause = RETRY,
                Err(error) => return Err(error),
            }
            let poll = deadline.min(Instant::now() + pause);
            let told = timeout_at(poll, awaiting.bell.notified()).await;
            self.check_open("await_finish")?;
            if told.is_err() && Instant::now() >= deadline {
                return self.job(name, job).await;
            }
        }
    }

    async fn stage(&self, queue: &Queue, job: JobId, left: Duration) -> Result<Stage> {
        let operation = "await_finish";
        let mut cmd = script::AWAIT.call(&queue.keys, &Named::default());
        let ttl = millis(left).min(MAX_TTL_MS) + MARGIN_MS;
        cmd.arg(job.as_bytes()).arg(&self.local.process).arg(ttl);
        self.add_retention(&mut cmd);
        let mut reply = Reply::new(operation, self.call(operation, queue, &cmd).await?);
        let stage = reply.text()?;
        match stage.as_str() {
            "gone" => Ok(Stage::Gone),
            "ended" => Ok(Stage::Ended),
            "pending" => Ok(Stage::Pending),
            unknown => Err(reply.unknown(unknown)),
        }
    }
}

/// A year: whoever waits longer asks again meanwhile.
const MAX_TTL_MS: u64 = 365 * 24 * 3600 * 1000;

fn deadline(within: Duration) -> Instant {
    let longest = Duration::from_millis(MAX_TTL_MS);
    Instant::now() + within.min(longest)
}
