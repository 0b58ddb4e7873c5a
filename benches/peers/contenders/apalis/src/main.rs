//! apalis on Redis as a contender.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use apalis::prelude::*;
use apalis_redis::{Config, RedisStorage};
use peers_protocol::{
    Batches, Contender, Failed, NewJob, Payload, Produce, Producer, Tally, Told, Work,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Jobs in one push, and pushes under way at once.
const BATCH: u64 = 500;
const AT_ONCE: u64 = 4;

/// Jobs that a worker fetches at once, at most.
const FETCHED: u64 = 250;

/// How often an idle worker looks. What is enqueued wakes nobody in this version: it is scheduled
/// for now, and only what is available without is published.
const POLL_MS: u64 = 5;

/// Moves some of what is due to where it is fetched from, as fetching does.
const PROMOTE: &str =
    "local ids = redis.call('ZRANGEBYSCORE', KEYS[1], 0, ARGV[1], 'LIMIT', 0, 1000)
if #ids > 0 then
    redis.call('RPUSH', KEYS[2], unpack(ids))
    redis.call('ZREM', KEYS[1], unpack(ids))
end
return #ids";

struct Apalis;

fn main() -> ExitCode {
    peers_protocol::play::<Apalis>()
}

impl Contender for Apalis {
    const VERSION: &'static str = "1.0.0";
    const THREADS: u64 = 0;
    type Producer = Pushes;
    type Worker = Running;

    async fn producer(told: &Told, _: &Produce) -> Result<Pushes> {
        let batches =
            Batches { of: told.tuned("batch", BATCH), at_once: told.tuned("at_once", AT_ONCE) };
        Ok(Pushes { storage: storage(told, FETCHED).await?, batches })
    }

    async fn work(told: &Told, work: &Work, tally: Arc<Tally>) -> Result<Running> {
        let fetched = told.tuned("fetched", FETCHED.min(work.concurrency));
        let poll = Duration::from_millis(told.tuned("poll_ms", POLL_MS));
        let storage = storage(told, fetched).await?.poll_with_interval(poll);
        let tally_of_handler = tally.clone();
        let handler = move |payload: Payload| {
            let tally = tally_of_handler.clone();
            async move { tally.run(payload.number, payload.due) as Result<(), Failed> }
        };
        tally.begin();
        promote(told).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let signal = async move {
            // Who could send it is gone: that is a signal too.
            let _ = stopped.await;
            Ok::<(), std::io::Error>(())
        };
        let worker = WorkerBuilder::new(format!("contender-{}", std::process::id()))
            .backend(storage)
            .concurrency(work.concurrency as usize)
            .build(handler);
        let running = tokio::spawn(async move {
            match worker.run_until(signal).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    eprintln!("the worker ended: {error}");
                    // What it cannot do is not done by waiting for it.
                    std::process::exit(1)
                }
            }
        });
        Ok(Running { stop, running })
    }

    async fn stop(worker: Running) -> Result<()> {
        let _ = worker.stop.send(());
        match tokio::time::timeout(Duration::from_secs(10), worker.running).await {
            Ok(ended) => ended?,
            Err(_) => bail!("it did not end within 10 s"),
        }
    }
}

/// A worker that runs.
struct Running {
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<()>>,
}

#[derive(Clone)]
struct Pushes {
    storage: RedisStorage<Payload>,
    batches: Batches,
}

impl Producer for Pushes {
    async fn one(&self, job: NewJob) -> Result<()> {
        let mut storage = self.storage.clone();
        match job.at_ms {
            Some(_) => self.bulk(vec![job]).await,
            None => storage.push(job.payload).await.map_err(|error| anyhow!("{error}")),
        }
    }

    async fn bulk(&self, jobs: Vec<NewJob>) -> Result<()> {
        let mut storage = self.storage.clone();
        let at_ms = jobs.first().and_then(|job| job.at_ms);
        let payloads = jobs.into_iter().map(|job| job.payload);
        let pushed = match at_ms {
            None => storage.push_bulk(payloads.collect()).await,
            Some(at_ms) => {
                let task = |payload| {
                    TaskBuilder::new(payload).run_at_timestamp(at_ms.div_ceil(1000)).build()
                };
                let tasks: Vec<_> = payloads.map(task).collect();
                storage.push_all(futures::stream::iter(tasks)).await
            }
        };
        pushed.map_err(|error| anyhow!("{error}"))
    }

    fn batches(&self) -> Batches {
        self.batches
    }
}

/// This version schedules every job, and a worker can begin on no queue with more than about 8,000
/// that are due: fetching moves them all in one call, whose arguments overflow. So that a full queue
/// can be drained at all, a worker moves what is there before it begins, a thousand at a time, as
/// its users would have to. That is part of what is measured.
async fn promote(told: &Told) -> Result<()> {
    let mut connection = apalis_redis::connect(told.redis.as_str()).await?;
    let config = Config::default().queue(&told.queue);
    let promote = redis::Script::new(PROMOTE);
    let now = peers_protocol::unix_ms() / 1000;
    loop {
        let moved: u64 = promote
            .key(config.scheduled_jobs_set())
            .key(config.active_jobs_list())
            .arg(now)
            .invoke_async(&mut connection)
            .await?;
        if moved == 0 {
            return Ok(());
        }
    }
}

/// Without what is optional: events, and locks, which its documentation would have only for tasks
/// that outlast a heartbeat. Results must be kept: without that nothing is settled.
async fn storage(told: &Told, fetched: u64) -> Result<RedisStorage<Payload>> {
    let connection = apalis_redis::connect(told.redis.as_str()).await?;
    let mut config = Config::default();
    // Seen to be gone after so many heartbeats of the default's.
    let beats = config.missed_heartbeats as u64;
    let lease = told.tuned("lease_ms", config.orphaned_duration().as_millis() as u64);
    config = config.heartbeat_interval(Duration::from_millis(lease / beats));
    let config =
        config.queue(&told.queue).batch_size(fetched as usize).lock_tasks(false).emit_events(false);
    Ok(RedisStorage::new(connection).with_config(config))
}
