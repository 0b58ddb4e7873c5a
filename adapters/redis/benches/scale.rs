//! Whether a job costs the same however many others there are: with 10,000 and with 1,000,000
//! waiting, and when 10,000 or 200,000 become due in one millisecond. Starts a server of its own.
//!
//! ```text
//! cargo bench -p shiftwork-redis --bench scale
//! ```

#![allow(clippy::disallowed_methods, reason = "a benchmark lets time pass")]

mod kit;

use std::sync::Arc;

use kit::{Usage, adapter, enqueue, enqueue_all, job_due, run};
use shiftwork_adapter::JobAdapter;
use shiftwork_test_kit::RedisServer;

/// How many jobs one measurement enqueues and runs.
const MEASURED: usize = 10_000;

const BATCH: usize = 100;

/// A script that takes longer than this is told.
const SLOW_MICROS: &str = "10000";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let test = std::env::args().any(|arg| arg == "--test");
    let (few, many, due, rounds) =
        if test { (100, 1000, [100, 200], 1) } else { (10_000, 1_000_000, [10_000, 200_000], 5) };
    let server = RedisServer::start();
    server.call(&["CONFIG", "SET", "slowlog-log-slower-than", SLOW_MICROS]);

    let sizes = [few, many];
    let mut queues = Vec::new();
    for size in sizes {
        let adapter = adapter(&server, &format!("waiting-{size}")).await;
        enqueue(&*adapter, size, 1000).await;
        queues.push(adapter);
    }
    println!("| waiting | round | server CPU µs a job, enqueued and run |\n|---|---|---|");
    let mut totals = [0.0; 2];
    for round in 0..rounds {
        for (which, adapter) in queues.iter().enumerate() {
            let before = Usage::of(&server).cpu;
            enqueue(&**adapter, MEASURED, BATCH).await;
            run(&**adapter, MEASURED, BATCH).await;
            let micros = (Usage::of(&server).cpu - before) * 1e6 / MEASURED as f64;
            totals[which] += micros;
            println!("| {} | {round} | {micros:.2} |", sizes[which]);
        }
    }
    println!("many / few: {:.3}\n", totals[1] / totals[0]);
    for adapter in queues {
        adapter.shutdown().await.expect("it shuts down");
    }

    println!("| due at once | server CPU µs a job, let wait and run |\n|---|---|");
    for round in 0..rounds.min(3) {
        for count in due {
            let adapter = adapter(&server, &format!("due-{count}-{round}")).await;
            delay(&adapter, count).await;
            let before = Usage::of(&server).cpu;
            run(&*adapter, count, BATCH).await;
            let micros = (Usage::of(&server).cpu - before) * 1e6 / count as f64;
            println!("| {count} | {micros:.2} |");
            adapter.shutdown().await.expect("it shuts down");
        }
    }
    let slow = server.call(&["SLOWLOG", "LEN"]).int();
    println!("commands that took longer than {SLOW_MICROS} µs: {slow}");
}

/// So many jobs, all of them due in one millisecond, which has come when this returns.
async fn delay(adapter: &Arc<dyn JobAdapter>, count: usize) {
    let now = adapter.ping().await.expect("it answers").now;
    // Ample for enqueueing: half of what it took on the slowest machine.
    let due = now + std::time::Duration::from_millis(500 + count as u64 / 40);
    enqueue_all(&**adapter, count, 1000, || job_due(200, due)).await;
    let left = due.since(adapter.ping().await.expect("it answers").now);
    assert!(
        !left.is_zero(),
        "the machine was too slow: the first were due before the last were in"
    );
    tokio::time::sleep(left).await;
}
