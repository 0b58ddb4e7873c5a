//! What a job costs the server: commands, CPU and bytes, for enqueueing and for running, at several
//! sizes of batch. Starts a server of its own.
//!
//! ```text
//! cargo bench -p shiftwork-redis --bench cost
//! ```

mod kit;

use std::time::Instant;

use kit::{Usage, adapter, enqueue, run};
use shiftwork_test_kit::RedisServer;

/// How many jobs are measured at each size.
const JOBS: usize = 20_000;

/// Rounds, one size after the other in each, so that a machine that drifts drifts for all.
const ROUNDS: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let test = std::env::args().any(|arg| arg == "--test");
    let jobs = if test { 200 } else { JOBS };
    let rounds = if test { 1 } else { ROUNDS };
    let server = RedisServer::start();
    println!(
        "| batch | step | commands a job | calls in scripts a job | in scripts µs a job | server CPU µs a job | wall µs a job | bytes a waiting job |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for round in 0..rounds {
        for batch in [1, 10, 50, 100, 500] {
            let adapter = adapter(&server, &format!("round-{round}-{batch}")).await;
            let before = Usage::of(&server);
            let began = Instant::now();
            enqueue(&*adapter, jobs, batch).await;
            let took = began.elapsed();
            let after = Usage::of(&server);
            after.row(&before, batch, "enqueue", jobs, took, true);

            let before = Usage::of(&server);
            let began = Instant::now();
            run(&*adapter, jobs, batch).await;
            let took = began.elapsed();
            Usage::of(&server).row(&before, batch, "run", jobs, took, false);
            adapter.shutdown().await.expect("it shuts down");
        }
    }
}
