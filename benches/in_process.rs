//! The in-process path in parts: how many jobs a second are enqueued while none is run, and run
//! while none is enqueued; and how many bytes a waiting job takes. Both at once, and against others,
//! is a workload of `benches/peers`.
//!
//! `make bench-own`, or `cargo bench --bench in_process -- [JOBS] [CONCURRENCY]`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shiftwork::prelude::*;
use tokio::sync::Notify;

#[derive(Clone, Default)]
struct Counter(Arc<(AtomicU64, AtomicU64, Notify)>);

impl Counter {
    fn expect(&self, count: u64) {
        self.0.0.store(0, Ordering::SeqCst);
        self.0.1.store(count, Ordering::SeqCst);
    }

    fn add(&self) {
        if self.0.0.fetch_add(1, Ordering::Relaxed) + 1 == self.0.1.load(Ordering::Relaxed) {
            self.0.2.notify_one();
        }
    }

    async fn reached(&self) {
        self.0.2.notified().await;
    }
}

#[job]
async fn no_op(payload: String, counter: State<Counter>) {
    let _ = payload;
    counter.add();
}

#[tokio::main(worker_threads = 2)]
async fn main() -> shiftwork::Result<()> {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let jobs: u64 = numbers.next().unwrap_or(1_000_000);
    let concurrency = numbers.next().unwrap_or(500);
    println!("{jobs} no-op jobs with a payload of 100 bytes, {concurrency} at once");
    // First, while nothing that was freed can be used again.
    waiting(jobs).await?;
    for _ in 0..3 {
        run(jobs, concurrency).await?;
    }
    Ok(())
}

/// Filled, and then drained.
async fn run(count: u64, concurrency: u64) -> shiftwork::Result<()> {
    let counter = Counter::default();
    let jobs = start(concurrency, &counter).await?;
    jobs.pause("default").await?;
    let fill = Instant::now();
    enqueue(&jobs, count).await?;
    let fill = fill.elapsed();
    counter.expect(count);
    let drain = Instant::now();
    jobs.resume("default").await?;
    counter.reached().await;
    let drain = drain.elapsed();
    println!("enqueue {:>9}  run {:>9} jobs/s", rate(count, fill), rate(count, drain));
    jobs.shutdown().await
}

async fn start(concurrency: u64, counter: &Counter) -> shiftwork::Result<Jobs> {
    Jobs::from_vars([
        ("JOBS_CONCURRENCY", concurrency.to_string()),
        ("JOBS_MEMORY_CAPACITY", "20000000".into()),
    ])
    .state(counter.clone())
    .start()
    .await
}

async fn enqueue(jobs: &Jobs, count: u64) -> shiftwork::Result<()> {
    let payload = "x".repeat(98);
    let mut left = count;
    while left > 0 {
        let batch = left.min(1000);
        jobs.enqueue_many((0..batch).map(|_| no_op::job(payload.clone()))).await?;
        left -= batch;
    }
    Ok(())
}

async fn waiting(count: u64) -> shiftwork::Result<()> {
    let jobs = start(1, &Counter::default()).await?;
    jobs.pause("default").await?;
    let before = resident_bytes();
    enqueue(&jobs, count).await?;
    match (before, resident_bytes()) {
        (Some(before), Some(after)) => {
            println!("{} bytes per waiting job", after.saturating_sub(before) / count);
        }
        _ => println!("bytes per waiting job: not known on this system"),
    }
    Ok(())
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
}

fn rate(count: u64, took: Duration) -> String {
    format!("{:.0}", count as f64 / took.as_secs_f64())
}
