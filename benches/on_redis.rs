//! Jobs per second of one worker process on Redis, and how soon an idle one begins: the whole way,
//! engine and store. Starts a server of its own.
//!
//! ```text
//! cargo bench --features redis --bench on_redis
//! ```

#![allow(clippy::disallowed_methods, reason = "a benchmark lets time pass")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shiftwork::prelude::*;
use shiftwork_test_kit::RedisServer;

/// How many jobs are drained at each concurrency, and how many are begun by an idle worker.
const DRAINED: usize = 200_000;
const BEGUN: usize = 2_000;

static RUN: AtomicU64 = AtomicU64::new(0);
/// When the last job began, in µs of this process.
static BEGAN: AtomicU64 = AtomicU64::new(0);
static HAS_BEGUN: tokio::sync::Notify = tokio::sync::Notify::const_new();

#[derive(Serialize, Deserialize)]
struct Filler {
    text: String,
}

#[job(queue = "drain")]
async fn no_op(_: Filler) {
    RUN.fetch_add(1, Ordering::Relaxed);
}

#[job(queue = "latency")]
async fn begin() {
    BEGAN.store(micros(), Ordering::SeqCst);
    HAS_BEGUN.notify_one();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let test = std::env::args().any(|arg| arg == "--test");
    let (drained, begun) = if test { (1000, 20) } else { (DRAINED, BEGUN) };
    let server = RedisServer::start();
    println!("| concurrency | jobs/s | jobs a script | server CPU µs a job |");
    println!("|---|---|---|---|");
    for concurrency in [10, 100, 500] {
        drain(&server, concurrency, drained).await;
    }
    latency(&server, begun).await;
}

async fn process(server: &RedisServer, queue: &str, role: &str, concurrency: usize) -> Jobs {
    let vars = [
        ("JOBS_PROVIDER", "redis"),
        ("JOBS_REDIS_URL", &server.url()),
        ("JOBS_QUEUES", queue),
        ("JOBS_CONCURRENCY", &concurrency.to_string()),
        ("WORKER_ROLE", role),
    ];
    Jobs::from_vars(vars).start().await.expect("the server is there")
}

async fn drain(server: &RedisServer, concurrency: usize, jobs: usize) {
    let web = process(server, "drain", "web", 1).await;
    // 100 bytes of payload.
    let text = "x".repeat(89);
    for first in (0..jobs).step_by(1000) {
        let batch =
            (first..jobs.min(first + 1000)).map(|_| no_op::job(Filler { text: text.clone() }));
        web.enqueue_many(batch).await.expect("it enqueues");
    }
    RUN.store(0, Ordering::SeqCst);
    let (scripts, cpu) = used(server);
    let began = Instant::now();
    let worker = process(server, "drain", "async", concurrency).await;
    while RUN.load(Ordering::Relaxed) < jobs as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = began.elapsed();
    let (scripts_after, cpu_after) = used(server);
    println!(
        "| {concurrency} | {:.0} | {:.1} | {:.2} |",
        jobs as f64 / took.as_secs_f64(),
        jobs as f64 / (scripts_after - scripts),
        (cpu_after - cpu) * 1e6 / jobs as f64,
    );
    worker.shutdown().await.expect("it ends");
}

async fn latency(server: &RedisServer, jobs: usize) {
    let web = process(server, "latency", "web", 1).await;
    let worker = process(server, "latency", "async", 16).await;
    let mut begins = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        // As often as an idle worker would be.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let before = micros();
        web.enqueue(begin::job()).await.expect("it enqueues");
        HAS_BEGUN.notified().await;
        let began = BEGAN.load(Ordering::SeqCst);
        begins.push(began - before);
    }
    begins.sort_unstable();
    println!(
        "\nfrom before the enqueue to the begin, idle worker: p50 {} µs, p99 {} µs",
        begins[jobs / 2],
        begins[jobs * 99 / 100]
    );
    worker.shutdown().await.expect("it ends");
}

fn micros() -> u64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
}

/// How many scripts the server has run, and its CPU in seconds.
fn used(server: &RedisServer) -> (f64, f64) {
    let stats = server.info("commandstats");
    let evalsha = stats.get("cmdstat_evalsha").map_or("calls=0", String::as_str);
    let calls = evalsha.split(',').find_map(|field| field.strip_prefix("calls="));
    let cpu = server.info("cpu");
    let seconds = |name: &str| cpu.get(name).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let cpu: f64 = seconds("used_cpu_sys") + seconds("used_cpu_user");
    (calls.and_then(|calls| calls.parse().ok()).unwrap_or(0.0), cpu)
}
