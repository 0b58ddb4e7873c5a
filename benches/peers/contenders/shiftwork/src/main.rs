//! Shiftwork as a contender: roles, queues and retention by variables, as its documentation has
//! it. Timeout, panic guard, spans and leases are always on.

mod declared;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use peers_protocol::{Batches, Contender, NewJob, Payload, Produce, Producer, Tally, Told, Work};
use shiftwork::Timestamp;
use shiftwork::prelude::*;

/// Jobs in one call of `enqueue_many`, and calls under way at once.
const BATCH: u64 = 200;
const AT_ONCE: u64 = 4;

// The queue of nearly every run: a process serves those that its jobs declare. Where there are
// several, `declared` has them.
#[job(queue = "contest")]
async fn no_op(payload: Payload, tally: State<Arc<Tally>>) -> Result<(), JobError> {
    Ok(tally.run(payload.number, payload.due)?)
}

struct Shiftwork;

fn main() -> ExitCode {
    peers_protocol::play::<Shiftwork>()
}

impl Contender for Shiftwork {
    const VERSION: &'static str = "0.1.0 (this tree)";
    // The only thread there is for it: contenders have one core.
    const THREADS: u64 = 0;
    type Producer = Web;
    type Worker = Jobs;

    async fn producer(told: &Told, _: &Produce) -> Result<Web> {
        let jobs = declared::queues(Jobs::from_vars(variables(told, "web")), told.queues);
        let jobs = jobs.state(no_tally());
        let batches =
            Batches { of: told.tuned("batch", BATCH), at_once: told.tuned("at_once", AT_ONCE) };
        Ok(Web { jobs: jobs.start().await?, queues: told.queue_names().into(), batches })
    }

    async fn work(told: &Told, work: &Work, tally: Arc<Tally>) -> Result<Jobs> {
        let mut variables = variables(told, "async");
        variables.push(("JOBS_CONCURRENCY", work.concurrency.to_string()));
        if work.keep_completed {
            variables.push(("JOBS_KEEP_COMPLETED", "1h".into()));
            // By age alone, as the others keep them.
            variables.push(("JOBS_KEEP_COMPLETED_COUNT", "100000000".into()));
        }
        if work.fail_first {
            variables.push(("JOBS_BACKOFF_TYPE", "fixed".into()));
            variables.push(("JOBS_BACKOFF_DELAY", "1000".into()));
            variables.push(("JOBS_BACKOFF_JITTER", "false".into()));
        }
        let jobs = declared::queues(Jobs::from_vars(variables), told.queues);
        Ok(jobs.state(tally).start().await?)
    }

    async fn stop(worker: Jobs) -> Result<()> {
        Ok(worker.shutdown().await?)
    }
}

/// A web process.
#[derive(Clone)]
struct Web {
    jobs: Jobs,
    queues: Arc<[String]>,
    batches: Batches,
}

impl Producer for Web {
    async fn one(&self, job: NewJob) -> Result<()> {
        self.jobs.enqueue(self.job(job)).await?;
        Ok(())
    }

    async fn bulk(&self, jobs: Vec<NewJob>) -> Result<()> {
        self.jobs.enqueue_many(jobs.into_iter().map(|job| self.job(job))).await?;
        Ok(())
    }

    fn batches(&self) -> Batches {
        self.batches
    }
}

impl Web {
    fn job(&self, job: NewJob) -> shiftwork::NewJob {
        let place = job.payload.number as usize % self.queues.len();
        let new = no_op::job(job.payload).queue(self.queues[place].as_str());
        match job.at_ms {
            Some(at_ms) => new.at(Timestamp::from_millis(at_ms as i64)),
            None => new,
        }
    }
}

fn variables(told: &Told, role: &str) -> Vec<(&'static str, String)> {
    vec![
        ("JOBS_PROVIDER", "redis".into()),
        ("JOBS_REDIS_URL", told.redis.clone()),
        ("JOBS_QUEUES", told.queue_names().join(",")),
        ("WORKER_ROLE", role.into()),
    ]
}

/// A web process runs no handler, and yet all states are checked at start.
fn no_tally() -> Arc<Tally> {
    Arc::new(Tally::new(&Work {
        concurrency: 0,
        expected: 0,
        numbers: 0,
        fail_first: false,
        keep_completed: false,
        timed: false,
        dies_after: None,
        log: "".into(),
    }))
}
