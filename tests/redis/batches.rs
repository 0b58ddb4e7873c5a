//! Batches grow with load, and no timer decides.

use std::time::Duration;

use shiftwork::prelude::*;
use shiftwork_test_kit::RedisServer;

#[job(queue = "batches")]
async fn brief() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

async fn process(server: &RedisServer, role: &str, concurrency: &str) -> Jobs {
    let vars = [
        ("JOBS_PROVIDER", "redis"),
        ("JOBS_REDIS_URL", &server.url()),
        ("JOBS_NAMESPACE", "batches"),
        ("JOBS_QUEUES", "batches"),
        ("JOBS_CONCURRENCY", concurrency),
        ("WORKER_ROLE", role),
    ];
    Jobs::from_vars(vars).start().await.unwrap()
}

/// How many scripts the server has run.
fn scripts(server: &RedisServer) -> u64 {
    let stats = server.info("commandstats");
    let evalsha = stats.get("cmdstat_evalsha").map_or("calls=0", String::as_str);
    let calls = evalsha.split(',').find_map(|field| field.strip_prefix("calls="));
    calls.unwrap().parse().unwrap()
}

async fn until_empty(jobs: &Jobs) {
    let empty = async {
        while jobs.counts("batches").await.unwrap().total() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), empty).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_five_hundred_jobs_in_flight_the_mean_batch_is_fifty_at_least() {
    const JOBS: u64 = 20_000;
    let server = RedisServer::start();
    let web = process(&server, "web", "1").await;
    for _ in 0..JOBS / 1000 {
        web.enqueue_many((0..1000).map(|_| brief::job())).await.unwrap();
    }
    let before = scripts(&server);
    let worker = process(&server, "async", "500").await;
    until_empty(&web).await;
    // With the sweeps and the counting, which only make it more.
    let used = scripts(&server) - before;
    println!("{JOBS} jobs with {used} scripts: {:.1} a script", JOBS as f64 / used as f64);
    assert!(JOBS / used >= 50, "{JOBS} jobs took {used} scripts");
    worker.shutdown().await.unwrap();
}

#[tokio::test]
async fn one_job_at_a_time_is_sent_and_run_at_once() {
    const JOBS: u64 = 50;
    let server = RedisServer::start();
    let web = process(&server, "web", "1").await;
    let worker = process(&server, "async", "16").await;
    let before = scripts(&server);
    for _ in 0..JOBS {
        let run = web.enqueue(brief::job().keep_result(minutes(1))).await.unwrap();
        let ended = run.result(seconds(20)).await.unwrap();
        assert!(ended.finished().is_some_and(|result| result.success));
    }
    // Enqueue, claim, settle; and to await it: note it, look at it.
    let used = scripts(&server) - before;
    println!("{JOBS} jobs with {used} scripts");
    assert!((3 * JOBS..8 * JOBS).contains(&used), "{JOBS} jobs took {used} scripts");
    worker.shutdown().await.unwrap();
}

/// A claim that brings as many jobs as were asked for says nothing of what is to come: the worker
/// must ask once more, or nobody would wake it.
#[tokio::test]
async fn a_worker_that_was_full_is_woken_by_the_next_job() {
    let server = RedisServer::start();
    let web = process(&server, "web", "1").await;
    let worker = process(&server, "async", "1").await;
    for round in 0..5 {
        // Long enough for the last one to be settled.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let run = web.enqueue(brief::job().keep_result(minutes(1))).await.unwrap();
        let ended = run.result(seconds(1)).await.unwrap();
        assert!(ended.finished().is_some(), "job {round} was not begun within a second");
    }
    worker.shutdown().await.unwrap();
}
