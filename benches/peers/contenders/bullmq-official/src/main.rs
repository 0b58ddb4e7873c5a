//! BullMQ for Rust as a contender.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bullmq::options::RedisConnectionOptions;
use bullmq::types::{BackoffStrategy, KeepJobs, RemoveOnFinish};
use bullmq::{BulkJob, Error, Job, JobOptions, Queue, QueueOptions, Worker, WorkerOptions};
use peers_protocol::{
    Batches, Contender, NewJob, Payload, Produce, Producer, Tally, Told, Work, unix_ms,
};
use tokio::task::JoinSet;

/// Jobs in one `add_bulk`, which sends a script for each of them over one connection, and calls
/// under way at once.
const BATCH: u64 = 100;
const AT_ONCE: u64 = 4;

/// Workers in the process, which share its concurrency. Each has a connection and one loop that
/// fetches.
const WORKERS: u64 = 1;

/// How long a lock lasts, and how often those that lapsed are looked for: its default.
const LEASE_MS: u64 = 30_000;

/// Its only name of a job.
const NAME: &str = "no-op";

struct BullMq;

fn main() -> ExitCode {
    peers_protocol::play::<BullMq>()
}

impl Contender for BullMq {
    const VERSION: &'static str = "1.4.4";
    const THREADS: u64 = 0;
    type Producer = Adds;
    type Worker = Vec<Worker>;

    async fn producer(told: &Told, produce: &Produce) -> Result<Adds> {
        let mut queues = Vec::new();
        for name in told.queue_names() {
            let options = QueueOptions::new().connection(at(told));
            queues.push(Queue::with_options(&name, options).await?);
        }
        let batches =
            Batches { of: told.tuned("batch", BATCH), at_once: told.tuned("at_once", AT_ONCE) };
        Ok(Adds { queues: queues.into(), retried: produce.retried, batches })
    }

    async fn work(told: &Told, work: &Work, tally: Arc<Tally>) -> Result<Vec<Worker>> {
        let names = told.queue_names();
        // A worker serves one queue, and runs one job at least.
        let concurrency = work.concurrency.div_ceil(told.queues);
        let count = told.tuned("workers", WORKERS).min(concurrency);
        let keep = match work.keep_completed {
            true => RemoveOnFinish::Options(KeepJobs { age: Some(3600), count: None, limit: None }),
            false => RemoveOnFinish::Bool(true),
        };
        let mut workers = Vec::new();
        for (name, place) in names.iter().flat_map(|name| (0..count).map(move |n| (name, n))) {
            let share = concurrency / count + u64::from(place < concurrency % count);
            let lease = Duration::from_millis(told.tuned("lease_ms", LEASE_MS));
            let options = WorkerOptions::new()
                .lock_duration(lease)
                .stalled_interval(lease)
                .connection(at(told))
                .concurrency(share as usize)
                .remove_on_complete(keep.clone());
            let tally = tally.clone();
            let processor = move |job: Job, _| {
                let tally = tally.clone();
                async move {
                    let payload: Payload = serde_json::from_value(job.data().clone())?;
                    tally
                        .run(payload.number, payload.due)
                        .map_err(|failed| Error::ProcessingError(failed.to_string()))?;
                    Ok(serde_json::Value::Null)
                }
            };
            workers.push(Worker::with_options(name, processor, options).await?);
        }
        Ok(workers)
    }

    async fn stop(workers: Vec<Worker>) -> Result<()> {
        // Each may wait for seconds in a call that blocks.
        let mut closing = JoinSet::new();
        for worker in workers {
            closing.spawn(async move { worker.close(5_000).await });
        }
        while let Some(closed) = closing.join_next().await {
            closed??;
        }
        Ok(())
    }
}

/// What enqueues.
#[derive(Clone)]
struct Adds {
    queues: Arc<[Queue]>,
    retried: bool,
    batches: Batches,
}

impl Producer for Adds {
    async fn one(&self, job: NewJob) -> Result<()> {
        let options = self.options(&job);
        let queue = &self.queues[self.place(&job)];
        queue.add(NAME, job.payload).options(options).await?;
        Ok(())
    }

    async fn bulk(&self, jobs: Vec<NewJob>) -> Result<()> {
        let mut by_queue: BTreeMap<usize, Vec<BulkJob>> = BTreeMap::new();
        for job in jobs {
            let (place, options) = (self.place(&job), self.options(&job));
            let job = BulkJob::with_options(NAME, job.payload, options);
            by_queue.entry(place).or_default().push(job);
        }
        for (place, jobs) in by_queue {
            self.queues[place].add_bulk(jobs).await?;
        }
        Ok(())
    }

    fn batches(&self) -> Batches {
        self.batches
    }
}

impl Adds {
    fn place(&self, job: &NewJob) -> usize {
        job.payload.number as usize % self.queues.len()
    }

    fn options(&self, job: &NewJob) -> JobOptions {
        let mut options = JobOptions::new();
        if let Some(at_ms) = job.at_ms {
            options = options.delay(Duration::from_millis(at_ms.saturating_sub(unix_ms())));
        }
        if self.retried {
            options = options.attempts(3).backoff(BackoffStrategy::Fixed(1000));
        }
        options
    }
}

fn at(told: &Told) -> RedisConnectionOptions {
    RedisConnectionOptions::new().url(&told.redis)
}
