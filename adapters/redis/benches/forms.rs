//! What a job costs by the form of the server: encrypted, with a replica, waiting for it, and on
//! three masters instead of one. Starts servers of its own.
//!
//! ```text
//! cargo bench -p shiftwork-redis --all-features --bench forms
//! ```
//!
//! A machine with fewer cores than there are servers shows no gain of rate by having more of them.
//! What counts is what the busiest has to do for each job: the fewer µs, the more jobs a second.

mod kit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kit::{Usage, adapter_with, enqueue, run};
use shiftwork_adapter::JobAdapter;
use shiftwork_test_kit::{Certificates, Clustered, RedisServer};

/// How many queues are busy at the same time.
const QUEUES: usize = 3;

/// A form of the server.
struct Form<'a> {
    name: &'static str,
    masters: Vec<&'a RedisServer>,
    replicas: Vec<&'a RedisServer>,
    /// One for each queue.
    adapters: Vec<Arc<dyn JobAdapter>>,
}

type Variables<'a> = &'a [(&'static str, String)];

async fn adapters(
    url: &str,
    variables: Variables<'_>,
    namespaces: &[String],
) -> Vec<Arc<dyn JobAdapter>> {
    let adapters = namespaces.iter().map(|namespace| adapter_with(url, namespace, variables));
    join_all(adapters).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let test = std::env::args().any(|arg| arg == "--test");
    let (jobs, rounds) = if test { (300, 1) } else { (15_000, 5) };

    let single = RedisServer::start();
    let certificates = Certificates::new();
    let tls = RedisServer::options().tls(&certificates).start();
    let primary = RedisServer::options().args(["--repl-diskless-sync-delay", "0"]).start();
    let follows = ["--replicaof", "127.0.0.1", &primary.port().to_string()];
    let replica = RedisServer::options().args(follows).start();
    let cluster = Clustered::start();
    until_confirmed(&primary);

    let spread = namespaces_on_each_master(&cluster);
    let any: Vec<_> = (0..QUEUES).map(|number| format!("queue-{number}")).collect();
    let waiting = [("JOBS_REDIS_WAIT_REPLICAS", "1".to_owned())];
    let trusting = [("JOBS_REDIS_TLS_CA", certificates.ca().display().to_string())];
    let (masters, replicas) = cluster.nodes().split_at(QUEUES);
    let forms = [
        Form {
            name: "one server",
            masters: vec![&single],
            replicas: Vec::new(),
            adapters: adapters(&single.url(), &[], &any).await,
        },
        Form {
            name: "the same, by TLS",
            masters: vec![&tls],
            replicas: Vec::new(),
            adapters: adapters(&tls.tls_url(), &trusting, &any).await,
        },
        Form {
            name: "one with a replica",
            masters: vec![&primary],
            replicas: vec![&replica],
            adapters: adapters(&primary.url(), &[], &any).await,
        },
        Form {
            name: "the same, waiting for it",
            masters: vec![&primary],
            replicas: vec![&replica],
            adapters: adapters(&primary.url(), &waiting, &any).await,
        },
        Form {
            name: "three masters, each with a replica",
            masters: masters.iter().collect(),
            replicas: replicas.iter().collect(),
            adapters: adapters(&cluster.url(), &[], &spread).await,
        },
    ];
    println!(
        "Three queues at the same time; medians of {rounds} rounds. CPU is that of the servers, in \
         µs a job.\n"
    );
    println!(
        "| batch | form | step | calls a job | CPU, all masters | CPU, the busiest | CPU, replicas | \
         µs a batch takes |\n|---|---|---|---|---|---|---|---|"
    );
    for batch in [1, 100] {
        let jobs = if batch == 1 { jobs / 5 } else { jobs };
        let mut measured: Vec<[Vec<Row>; 2]> = forms.iter().map(|_| Default::default()).collect();
        // Interleaved: what the machine does meanwhile concerns all of them.
        for _ in 0..rounds {
            for (form, rows) in forms.iter().zip(&mut measured) {
                rows[0].push(form.measure(jobs, batch, true).await);
                rows[1].push(form.measure(jobs, batch, false).await);
            }
        }
        for (form, rows) in forms.iter().zip(measured) {
            for (step, rows) in ["enqueue", "run"].into_iter().zip(rows) {
                let median = |field: fn(&Row) -> f64| {
                    let mut all: Vec<_> = rows.iter().map(field).collect();
                    all.sort_by(f64::total_cmp);
                    all[all.len() / 2]
                };
                println!(
                    "| {batch} | {} | {step} | {:.3} | {:.2} | {:.2} | {:.2} | {:.0} |",
                    form.name,
                    median(|row| row.calls),
                    median(|row| row.all),
                    median(|row| row.busiest),
                    median(|row| row.replicas),
                    median(|row| row.took),
                );
            }
        }
    }
    for form in forms {
        join_all(form.adapters.iter().map(|adapter| adapter.shutdown())).await;
    }
}

/// What a step has cost: CPU in µs a job.
struct Row {
    calls: f64,
    all: f64,
    busiest: f64,
    replicas: f64,
    /// µs for each batch of a queue.
    took: f64,
}

impl Form<'_> {
    /// Enqueues or runs so many jobs, a third of them in each queue.
    async fn measure(&self, jobs: usize, batch: usize, is_enqueue: bool) -> Row {
        let of = |servers: &[&RedisServer]| -> Vec<Usage> {
            servers.iter().map(|server| Usage::of(server)).collect()
        };
        let before = (of(&self.masters), of(&self.replicas));
        let began = Instant::now();
        let share = jobs / QUEUES;
        join_all(self.adapters.iter().map(async |adapter| {
            if is_enqueue {
                enqueue(&**adapter, share, batch).await;
            } else {
                run(&**adapter, share, batch).await;
            }
        }))
        .await;
        let took = began.elapsed().as_secs_f64() * 1e6 / (share as f64 / batch as f64);
        let used = |servers: &[&RedisServer], before: Vec<Usage>| -> Vec<Usage> {
            let after = of(servers).into_iter().zip(before);
            after.map(|(after, before)| after.since(&before, jobs)).collect()
        };
        let (masters, replicas) = (used(&self.masters, before.0), used(&self.replicas, before.1));
        let cpu = |usage: &Usage| usage.cpu * 1e6;
        Row {
            calls: masters.iter().map(|usage| usage.scripts).sum(),
            all: masters.iter().map(cpu).sum(),
            busiest: masters.iter().map(cpu).fold(0.0, f64::max),
            replicas: replicas.iter().map(cpu).sum(),
            took,
        }
    }
}

/// One whose queue is on each of the masters.
fn namespaces_on_each_master(cluster: &Clustered) -> Vec<String> {
    let on = |master: &RedisServer| {
        let is_on = |namespace: &String| {
            let key = format!("{{{namespace}:{}}}:jobs", kit::queue());
            cluster.master_of(&key, None).port() == master.port()
        };
        (0..1000).map(|number| format!("queue-{number}")).find(is_on).expect("some is on each")
    };
    cluster.nodes()[..QUEUES].iter().map(on).collect()
}

/// Waits until a replica confirms what it is sent.
fn until_confirmed(primary: &RedisServer) {
    let deadline = Instant::now() + Duration::from_secs(20);
    primary.call(&["SET", "first", "1"]);
    loop {
        let info = primary.info("replication");
        let offset = format!("offset={},", info["master_repl_offset"]);
        let confirms = |is: &String| is.contains("state=online") && is.contains(&offset);
        if info.get("slave0").is_some_and(confirms) {
            return;
        }
        assert!(Instant::now() < deadline, "the replica does not follow");
        std::thread::sleep(Duration::from_millis(50));
    }
}
