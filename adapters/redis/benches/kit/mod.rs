//! What the benchmarks share: an adapter, jobs that are enqueued and run, and what a server has used.

// Each of them uses a part of it.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{
    Connection, Due, Exchange, ExchangeReply, Incarnation, JobAdapter, JobId, JobName, JobSpec,
    Namespace, Outcome, Payload, QueueName, Retention, Settlement, SystemClock, Timestamp,
};
use shiftwork_redis::RedisAdapter;
use shiftwork_test_kit::RedisServer;

pub(crate) async fn adapter(server: &RedisServer, namespace: &str) -> Arc<dyn JobAdapter> {
    adapter_at(&server.url(), namespace).await
}

pub(crate) async fn adapter_at(url: &str, namespace: &str) -> Arc<dyn JobAdapter> {
    adapter_with(url, namespace, &[]).await
}

pub(crate) async fn adapter_with(
    url: &str,
    namespace: &str,
    variables: &[(&'static str, String)],
) -> Arc<dyn JobAdapter> {
    let namespace = Namespace::new(namespace).expect("a valid name");
    let mut connection = Connection::new(namespace, Arc::new(SystemClock));
    connection.settings.keep_completed = Retention { age: Duration::ZERO, count: 0 };
    connection.variables.insert("JOBS_REDIS_URL", url.to_owned());
    connection.variables.extend(variables.iter().cloned());
    let adapter = Arc::new(RedisAdapter::new(connection).expect("a valid URL"));
    adapter.ping().await.expect("the server answers");
    adapter
}

pub(crate) fn queue() -> QueueName {
    QueueName::new("work").expect("a valid name")
}

/// Enqueues jobs with a payload of 200 bytes, that may run at once.
pub(crate) async fn enqueue(adapter: &dyn JobAdapter, jobs: usize, batch: usize) {
    enqueue_all(adapter, jobs, batch, || job(200)).await;
}

/// Enqueues so many jobs of a kind.
pub(crate) async fn enqueue_all(
    adapter: &dyn JobAdapter,
    jobs: usize,
    batch: usize,
    make: impl Fn() -> JobSpec,
) {
    for first in (0..jobs).step_by(batch) {
        let specs = (first..jobs.min(first + batch)).map(|_| make()).collect();
        adapter.enqueue(&queue(), specs).await.expect("it enqueues");
    }
}

/// A job with a payload of so many bytes, that may run at once.
pub(crate) fn job(bytes: usize) -> JobSpec {
    let name = JobName::new("measured_job").expect("a valid name");
    let payload = Payload::from_json_bytes(format!("\"{}\"", "x".repeat(bytes - 2)));
    JobSpec::new(JobId::new(Timestamp::now(), random()), name, payload)
}

/// The same, due at an instant.
pub(crate) fn job_due(bytes: usize, at: Timestamp) -> JobSpec {
    let mut spec = job(bytes);
    spec.due = Due::At(at);
    spec
}

/// Claims so many jobs and completes them, each batch with the claim of the next.
pub(crate) async fn run(adapter: &dyn JobAdapter, jobs: usize, batch: usize) {
    settle_all(adapter, jobs, batch, Outcome::Complete).await;
}

/// Claims so many jobs and settles them like this, each batch with the claim of the next.
pub(crate) async fn settle_all(
    adapter: &dyn JobAdapter,
    jobs: usize,
    batch: usize,
    outcome: Outcome,
) {
    let incarnation = Incarnation::new(Timestamp::now(), random());
    let mut settlements = Vec::new();
    let (mut number, mut claimed, mut done) = (0, 0, 0);
    while done < jobs {
        number += 1;
        let mut exchange = Exchange::new(queue(), incarnation, number);
        done += settlements.len();
        exchange.settlements = std::mem::take(&mut settlements);
        exchange.claim = batch.min(jobs - claimed);
        let reply = adapter.exchange(&exchange).await.expect("it exchanges");
        let ExchangeReply::Answered(answer) = reply else { panic!("not answered: {reply:?}") };
        assert!(answer.refused.is_empty());
        claimed += answer.claimed.len();
        settlements = answer
            .claimed
            .iter()
            .map(|job| Settlement::new(job.spec.id, job.generation, outcome))
            .collect();
    }
}

pub(crate) fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    fastrand::fill(&mut bytes);
    bytes
}

/// What a server has used so far, or between two moments.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// Seconds.
    pub(crate) cpu: f64,
    /// How many scripts clients have called.
    pub(crate) scripts: f64,
    /// All other commands, inside of scripts and beside them.
    pub(crate) inside: f64,
    /// µs inside of scripts.
    usec: f64,
    /// Bytes that it has received from its clients, and sent to them.
    pub(crate) received: f64,
    pub(crate) sent: f64,
    /// Bytes that it holds.
    pub(crate) memory: f64,
}

impl Usage {
    pub(crate) fn of(server: &RedisServer) -> Self {
        let cpu = server.info("cpu");
        let number = |text: Option<&String>| text.and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let stats = server.info("commandstats");
        let field = |line: &String, name: &str| {
            number(line.split(',').find_map(|f| f.strip_prefix(name)).map(String::from).as_ref())
        };
        let calls = |line| field(line, "calls=");
        let evalsha = stats.get("cmdstat_evalsha");
        let usec = evalsha.map_or(0.0, |line| field(line, "usec="));
        let scripts = evalsha.map_or(0.0, calls);
        let all: f64 = stats.values().map(calls).sum();
        let memory = number(server.info("memory").get("used_memory"));
        let stats = server.info("stats");
        Self {
            cpu: number(cpu.get("used_cpu_sys")) + number(cpu.get("used_cpu_user")),
            scripts,
            inside: all - scripts,
            usec,
            received: number(stats.get("total_net_input_bytes")),
            sent: number(stats.get("total_net_output_bytes")),
            memory,
        }
    }

    /// What was used from then to now, for each of so many jobs.
    pub(crate) fn since(&self, then: &Self, jobs: usize) -> Self {
        let per = |field: fn(&Self) -> f64| (field(self) - field(then)) / jobs as f64;
        Self {
            cpu: per(|usage| usage.cpu),
            scripts: per(|usage| usage.scripts),
            inside: per(|usage| usage.inside),
            usec: per(|usage| usage.usec),
            received: per(|usage| usage.received),
            sent: per(|usage| usage.sent),
            memory: per(|usage| usage.memory),
        }
    }

    pub(crate) fn row(
        &self,
        before: &Self,
        batch: usize,
        step: &str,
        jobs: usize,
        took: Duration,
        bytes: bool,
    ) {
        let used = self.since(before, jobs);
        let bytes = match bytes {
            true => format!("{:.0}", used.memory),
            false => String::new(),
        };
        println!(
            "| {batch} | {step} | {:.3} | {:.2} | {:.2} | {:.2} | {:.2} | {bytes} |",
            used.scripts,
            used.inside,
            used.usec,
            used.cpu * 1e6,
            took.as_secs_f64() * 1e6 / jobs as f64,
        );
    }
}
