//! Shiftwork on its memory adapter: states, leases, retries, timeout, panic guard and spans, as
//! they always are. Payloads are JSON, written and read.

use std::sync::Arc;

use anyhow::Result;
use peers_protocol::{Batches, InProcess, NewJob, Payload, Producer, Tally, ToldInProcess};
use shiftwork::prelude::*;
use tokio::task::yield_now;

/// Jobs in one call of `enqueue_many`, and calls under way at once.
const BATCH: u64 = 100;
const AT_ONCE: u64 = 1;

#[job(queue = "contest")]
async fn no_op(payload: Payload, tally: State<Arc<Tally>>) -> Result<(), JobError> {
    Ok(tally.run(payload.number, payload.due)?)
}

pub(crate) struct Shiftwork;

impl InProcess for Shiftwork {
    const VERSION: &'static str = "0.1.0 (this tree)";
    type Producer = Enqueues;
    type Worker = Jobs;

    async fn open(told: &ToldInProcess, tally: Arc<Tally>) -> Result<(Enqueues, Jobs)> {
        let jobs = Jobs::from_vars([
            ("JOBS_PROVIDER", "memory".to_owned()),
            ("JOBS_QUEUES", "contest".into()),
            ("JOBS_CONCURRENCY", told.work.concurrency.to_string()),
            // All of them, should they be enqueued before the first has run.
            ("JOBS_MEMORY_CAPACITY", told.produce.jobs.to_string()),
        ])
        .state(tally)
        .start()
        .await?;
        let (of, at_once) = (told.tuning.of("batch", BATCH), told.tuning.of("at_once", AT_ONCE));
        let batches = Batches { of, at_once };
        let yields = told.tuning.of("yields", 1) == 1;
        Ok((Enqueues { jobs: jobs.clone(), batches, yields }, jobs))
    }

    async fn stop(jobs: Jobs) -> Result<()> {
        Ok(jobs.shutdown().await?)
    }
}

#[derive(Clone)]
pub(crate) struct Enqueues {
    jobs: Jobs,
    batches: Batches,
    yields: bool,
}

impl Producer for Enqueues {
    async fn one(&self, job: NewJob) -> Result<()> {
        self.jobs.enqueue(no_op::job(job.payload)).await?;
        Ok(())
    }

    async fn bulk(&self, jobs: Vec<NewJob>) -> Result<()> {
        self.jobs.enqueue_many(jobs.into_iter().map(|job| no_op::job(job.payload))).await?;
        // Nothing makes it wait, so that it would enqueue all before any is run.
        if self.yields {
            yield_now().await;
        }
        Ok(())
    }

    fn batches(&self) -> Batches {
        self.batches
    }
}
