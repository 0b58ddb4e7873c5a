//! A job that was enqueued, to be asked about.

use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{JobId, JobState, QueueName};

use crate::shared::Shared;
use crate::{JobResult, Result};

/// A job that was enqueued or triggered: its id, and how it ends.
///
/// Dropping it changes nothing for the job.
#[derive(Clone, Debug)]
pub struct Run {
    shared: Arc<Shared>,
    queue: QueueName,
    id: JobId,
    existed: bool,
}

/// How a job is when somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunStatus {
    /// It ended.
    Finished(JobResult),
    /// It has not, and is in this state.
    Pending(JobState),
    /// The store knows it no more: it ended, and its result was not kept, or not for so long.
    Expired,
}

impl RunStatus {
    /// The result, if it ended and was kept.
    pub fn finished(self) -> Option<JobResult> {
        match self {
            Self::Finished(result) => Some(result),
            Self::Pending(_) | Self::Expired => None,
        }
    }
}

impl Run {
    pub(crate) fn new(shared: Arc<Shared>, queue: QueueName, id: JobId, existed: bool) -> Self {
        Self { shared, queue, id, existed }
    }

    /// The job's id.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The queue it is in.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Whether a job of this id was known already, and stays as it was.
    pub fn existed(&self) -> bool {
        self.existed
    }

    /// Waits until the job has ended, but no longer than `within`: its result, wherever it ran;
    /// else its state.
    ///
    /// A job whose result is not kept ([`keep_result`](crate::NewJob::keep_result), or
    /// `JOBS_KEEP_COMPLETED`) is [`Expired`](RunStatus::Expired) as soon as it has completed.
    ///
    /// # Errors
    /// Where the store cannot be asked.
    ///
    /// # Cancellation
    /// Nothing changes when the future is dropped.
    pub async fn result(&self, within: Duration) -> Result<RunStatus> {
        let record = self.shared.adapter.await_finish(&self.queue, self.id, within).await?;
        Ok(record.map_or(RunStatus::Expired, |record| match JobResult::of(&record) {
            Some(result) => RunStatus::Finished(result),
            None => RunStatus::Pending(record.state),
        }))
    }
}
