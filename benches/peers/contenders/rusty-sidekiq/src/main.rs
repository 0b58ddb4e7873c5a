//! Sidekiq.rs as a contender. A job is popped before it is run, so that it is lost with its
//! worker.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use bb8::Pool;
use peers_protocol::{
    Batches, Contender, NewJob, Payload, Produce, Producer, Tally, Told, Work, unix_ms,
};
use sidekiq::{
    Processor, ProcessorConfig, RedisConnectionManager, RedisPool, Worker, WorkerOpts, opts,
};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Connections that enqueue. There is no bulk: so many jobs are under way at once, of several
/// tasks.
const POOL: u64 = 16;
const AT_ONCE: u64 = 64;

/// Connections of a worker, at most: one for each that runs a job, which it holds while it waits for
/// one, and some for what they report. With more, each costs more than it brings; with fewer, loops
/// wait for each other even to end.
const CONNECTIONS: u64 = 128;
const SPARE: u64 = 8;

struct Sidekiq;

#[derive(Clone)]
struct NoOp {
    tally: Arc<Tally>,
}

#[async_trait]
impl Worker<Payload> for NoOp {
    fn opts() -> WorkerOpts<Payload, Self> {
        WorkerOpts::new()
    }

    async fn perform(&self, payload: Payload) -> sidekiq::Result<()> {
        let failed = |failed: peers_protocol::Failed| sidekiq::Error::Message(failed.to_string());
        self.tally.run(payload.number, payload.due).map_err(failed)
    }
}

fn main() -> ExitCode {
    peers_protocol::play::<Sidekiq>()
}

impl Contender for Sidekiq {
    const VERSION: &'static str = "0.15.2";
    const THREADS: u64 = 0;
    type Producer = Pushes;
    type Worker = (CancellationToken, JoinHandle<()>);

    async fn producer(told: &Told, _: &Produce) -> Result<Pushes> {
        let pool = pool(told, told.tuned("pool", POOL)).await?;
        Ok(Pushes { pool, queue: told.queue.clone(), at_once: told.tuned("at_once", AT_ONCE) })
    }

    async fn work(told: &Told, work: &Work, tally: Arc<Tally>) -> Result<Self::Worker> {
        let pool =
            pool(told, told.tuned("pool", CONNECTIONS.min(work.concurrency + SPARE))).await?;
        let config = ProcessorConfig::default().num_workers(work.concurrency as usize);
        let mut processor = Processor::new(pool, vec![told.queue.clone()]).with_config(config);
        processor.register(NoOp { tally });
        let token = processor.get_cancellation_token();
        Ok((token, tokio::spawn(processor.run())))
    }

    async fn stop((token, running): Self::Worker) -> Result<()> {
        token.cancel();
        // Each of its loops waits two seconds for a job before it looks.
        let ended = tokio::time::timeout(Duration::from_secs(18), running).await;
        ended.map_err(|_| anyhow!("it did not end within 18 s"))??;
        Ok(())
    }
}

#[derive(Clone)]
struct Pushes {
    pool: RedisPool,
    queue: String,
    at_once: u64,
}

impl Producer for Pushes {
    async fn one(&self, job: NewJob) -> Result<()> {
        let options = opts().queue(self.queue.as_str());
        let class = NoOp::class_name();
        match job.at_ms {
            Some(at_ms) => {
                let delay = Duration::from_millis(at_ms.saturating_sub(unix_ms()));
                options.perform_in(&self.pool, class, delay, job.payload).await?;
            }
            None => options.perform_async(&self.pool, class, job.payload).await?,
        }
        Ok(())
    }

    async fn bulk(&self, jobs: Vec<NewJob>) -> Result<()> {
        let mut under_way = JoinSet::new();
        for job in jobs {
            let own = self.clone();
            under_way.spawn(async move { own.one(job).await });
        }
        while let Some(ended) = under_way.join_next().await {
            ended??;
        }
        Ok(())
    }

    fn batches(&self) -> Batches {
        Batches { of: 16, at_once: self.at_once / 16 }
    }
}

/// Without a PING before each use of a connection, which is bb8's default.
async fn pool(told: &Told, size: u64) -> Result<RedisPool> {
    let manager = RedisConnectionManager::new(told.redis.as_str())?;
    let pool = Pool::builder().max_size(size as u32).min_idle(size as u32);
    Ok(pool.test_on_check_out(false).build(manager).await?)
}
