//! What the benchmarks share: an adapter, jobs that are enqueued and run, and what a server has used.

// Each of them uses a part of it.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{
    Connection, Exchange, ExchangeReply, Incarnation, JobAdapter, JobId, JobName, JobSpec,
    Namespace, Outcome, Payload, QueueName, Retention, Settlement, SystemClock, Timestamp,
};
use shiftwork_redis::RedisAdapter;
use shiftwork_test_kit::RedisServer;

pub(crate) async fn adapter(server: &RedisServer, namespace: &str) -> Arc<dyn JobAdapter> {
    let namespace = Namespace::new(namespace).expect("a valid name");
    let mut connection = Connection::new(namespace, Arc::new(SystemClock));
    connection.settings.keep_completed = Retention { age: Duration::ZERO, count: 0 };
    connection.variables.insert("JOBS_REDIS_URL", server.url());
    let adapter = Arc::new(RedisAdapter::new(connection).expect("a valid URL"));
    adapter.ping().await.expect("the server answers");
    adapter
}

pub(crate) fn queue() -> QueueName {
    QueueName::new("work").expect("a valid name")
}

pub(crate) async fn enqueue(adapter: &dyn JobAdapter, jobs: usize, batch: usize) {
    let name = JobName::new("measured_job").expect("a valid name");
    let payload = Payload::from_json_bytes(format!("\"{}\"", "x".repeat(198)));
    for first in (0..jobs).step_by(batch) {
        let specs = (first..jobs.min(first + batch)).map(|_| {
            let id = JobId::new(Timestamp::now(), random());
            JobSpec::new(id, name.clone(), payload.clone())
        });
        adapter.enqueue(&queue(), specs.collect()).await.expect("it enqueues");
    }
}

pub(crate) async fn run(adapter: &dyn JobAdapter, jobs: usize, batch: usize) {
    let incarnation = Incarnation::new(Timestamp::now(), random());
    let mut settlements = Vec::new();
    let (mut number, mut done) = (0, 0);
    while done < jobs {
        number += 1;
        let mut exchange = Exchange::new(queue(), incarnation, number);
        done += settlements.len();
        exchange.settlements = std::mem::take(&mut settlements);
        exchange.claim = batch;
        let reply = adapter.exchange(&exchange).await.expect("it exchanges");
        let ExchangeReply::Answered(answer) = reply else { panic!("not answered: {reply:?}") };
        assert!(answer.refused.is_empty());
        settlements = answer
            .claimed
            .iter()
            .map(|job| Settlement::new(job.spec.id, job.generation, Outcome::Complete))
            .collect();
    }
}

pub(crate) fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    fastrand::fill(&mut bytes);
    bytes
}

/// What a server has used so far.
pub(crate) struct Usage {
    /// Seconds.
    pub(crate) cpu: f64,
    evalsha: f64,
    inside: f64,
    usec: f64,
    memory: f64,
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
        let evalsha = evalsha.map_or(0.0, calls);
        let all: f64 = stats.values().map(calls).sum();
        Self {
            cpu: number(cpu.get("used_cpu_sys")) + number(cpu.get("used_cpu_user")),
            evalsha,
            inside: all - evalsha,
            usec,
            memory: number(server.info("memory").get("used_memory")),
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
        let per = |now: f64, then: f64| (now - then) / jobs as f64;
        let bytes = match bytes {
            true => format!("{:.0}", per(self.memory, before.memory)),
            false => String::new(),
        };
        println!(
            "| {batch} | {step} | {:.3} | {:.2} | {:.2} | {:.2} | {:.2} | {bytes} |",
            per(self.evalsha, before.evalsha),
            per(self.inside, before.inside),
            per(self.usec, before.usec),
            per(self.cpu, before.cpu) * 1e6,
            took.as_secs_f64() * 1e6 / jobs as f64,
        );
    }
}
