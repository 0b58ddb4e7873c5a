//! What a job costs: scripts, calls inside of them, bytes on the wire and in memory, as the server
//! counts them. Noise does not move these figures, so whoever makes a job dearer meets this file.
//!
//! A figure may rise by [`MARGIN`]. If more is wanted, what it buys is said in the commit, and the
//! lines that the test prints replace those of [`COSTS`]. So do they where a job has become cheaper,
//! that it stays so:
//!
//! ```text
//! cargo test -p shiftwork-redis --test suite cost:: -- --nocapture
//! ```

use std::fmt;

use crate::kit::{self, Usage, adapter, enqueue_all, job, job_due, settle_all};
use crate::support::*;

/// How many jobs each figure is of; each size of batch divides it.
const JOBS: usize = 1000;

/// The figures are the same to a thousandth from run to run: one command more in a script is
/// noticed. What the server says of itself, when it is asked, varies by a few bytes.
const MARGIN: f64 = 0.02;
const MARGIN_BYTES: f64 = 0.5;

/// Bytes that a waiting job with a payload of 100 bytes may take. It was 289, and 302 where the
/// server's table of jobs has just become twice as large: 131,072 fill one of 2^17 places.
const WAITING_BYTES: f64 = 350.0;
const ONE_MORE_THAN_FITS: usize = (1 << 17) + 1;

/// What one job costs, in one step, in batches of so many.
#[derive(Clone, Copy)]
struct Cost {
    step: &'static str,
    batch: usize,
    /// Scripts that clients call, and commands that these call.
    scripts: f64,
    calls: f64,
    /// Bytes that the server receives and sends.
    received: f64,
    sent: f64,
}

const fn cost(
    step: &'static str,
    batch: usize,
    [scripts, calls, received, sent]: [f64; 4],
) -> Cost {
    Cost { step, batch, scripts, calls, received, sent }
}

/// Of Redis 7.0.15: scripts, commands inside of them, bytes received, bytes sent; each a job.
const COSTS: [Cost; 38] = [
    cost("enqueue", 1, [1.000, 6.000, 539.9, 16.0]),
    cost("run", 1, [1.001, 17.012, 862.7, 249.1]),
    cost("retry", 1, [1.001, 19.011, 1007.7, 249.1]),
    cost("retry later", 1, [1.001, 22.011, 1013.7, 249.1]),
    cost("enqueue, result kept", 1, [1.000, 6.000, 567.0, 16.0]),
    cost("run, result kept", 1, [1.001, 21.013, 1007.7, 275.1]),
    cost("enqueue delayed", 1, [1.000, 8.000, 986.0, 32.0]),
    cost("run delayed", 1, [1.001, 18.020, 862.7, 276.1]),
    cost("run, all kept", 1, [1.001, 21.012, 830.7, 249.1]),
    cost("enqueue", 10, [0.100, 0.700, 276.9, 3.2]),
    cost("run", 10, [0.101, 1.712, 133.5, 203.3]),
    cost("retry", 10, [0.101, 1.911, 145.6, 203.4]),
    cost("retry later", 10, [0.101, 2.211, 151.6, 203.4]),
    cost("enqueue, result kept", 10, [0.100, 0.700, 303.0, 3.2]),
    cost("run, result kept", 10, [0.101, 2.113, 145.6, 229.4]),
    cost("enqueue delayed", 10, [0.100, 0.800, 305.3, 3.2]),
    cost("run delayed", 10, [0.101, 1.820, 133.5, 230.4]),
    cost("run, all kept", 10, [0.101, 2.112, 134.3, 203.4]),
    cost("enqueue", 100, [0.010, 0.070, 208.8, 0.3]),
    cost("run", 100, [0.011, 0.202, 59.3, 198.6]),
    cost("retry", 100, [0.011, 0.221, 57.8, 198.6]),
    cost("retry later", 100, [0.011, 0.251, 63.8, 198.6]),
    cost("enqueue, result kept", 100, [0.010, 0.070, 234.8, 0.3]),
    cost("run, result kept", 100, [0.011, 0.243, 57.8, 224.6]),
    cost("enqueue delayed", 100, [0.010, 0.080, 235.9, 0.3]),
    cost("run delayed", 100, [0.011, 0.220, 59.3, 225.6]),
    cost("run, all kept", 100, [0.011, 0.242, 64.5, 198.6]),
    cost("look for what is due", 1000, [0.001, 0.009, 17.2, 470.6]),
    cost("fire", 1, [1.000, 8.001, 843.7, 24.0]),
    cost("run of a schedule", 1, [1.001, 20.013, 1011.7, 170.0]),
    cost("fire again", 1, [1.000, 10.000, 866.7, 24.0]),
    cost("fire", 10, [0.100, 0.801, 365.4, 2.4]),
    cost("run of a schedule", 10, [0.101, 2.013, 149.1, 124.3]),
    cost("fire again", 10, [0.100, 1.000, 388.4, 2.4]),
    cost("fire", 100, [0.010, 0.081, 316.4, 0.2]),
    cost("run of a schedule", 100, [0.011, 0.233, 60.9, 119.6]),
    cost("fire again", 100, [0.010, 0.100, 339.3, 0.2]),
    cost("sweep an idle queue", 1, [1.000, 11.000, 559.0, 44.0]),
];

impl Cost {
    /// Which figures rose too far from these to those of `now`.
    fn risen(&self, now: &Self) -> Vec<String> {
        let figures = [
            ("scripts", 0.0, self.scripts, now.scripts),
            ("commands inside of scripts", 0.0, self.calls, now.calls),
            ("bytes received by the server", MARGIN_BYTES, self.received, now.received),
            ("bytes sent by the server", MARGIN_BYTES, self.sent, now.sent),
        ];
        let risen =
            figures.into_iter().filter(|(_, more, was, is)| *is > was * (1.0 + MARGIN) + more);
        let Self { step, batch, .. } = self;
        let tell = |(what, _, was, is)| {
            format!("{step}, in batches of {batch}: {what} rose from {was:.3} to {is:.3} a job")
        };
        risen.map(tell).collect()
    }
}

/// As it stands in [`COSTS`].
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, batch, scripts, calls, received, sent } = self;
        write!(
            f,
            "    cost({step:?}, {batch}, [{scripts:.3}, {calls:.3}, {received:.1}, {sent:.1}]),"
        )
    }
}

/// What one job costs of what is done meanwhile.
async fn measure(
    server: &RedisServer,
    step: &'static str,
    batch: usize,
    work: impl Future<Output = ()>,
) -> Cost {
    // To ask has its own cost, which is that between two questions.
    let first = Usage::of(server);
    let before = Usage::of(server);
    work.await;
    let used = Usage::of(server).since(&before, JOBS);
    let asked = before.since(&first, JOBS);
    Cost {
        step,
        batch,
        scripts: used.scripts - asked.scripts,
        calls: used.inside - asked.inside,
        received: used.received - asked.received,
        sent: used.sent - asked.sent,
    }
}

fn kept() -> JobSpec {
    let mut spec = job(100);
    spec.keep_result = Some(Duration::from_hours(1));
    spec
}

/// Delayed jobs, all of them enqueued before the first was due, and due by now.
async fn delayed(server: &RedisServer, adapter: &dyn JobAdapter, batch: usize) -> Cost {
    let mut wait = Duration::from_secs(1);
    loop {
        let due = adapter.ping().await.unwrap().now + wait;
        let later = || job_due(100, due);
        let cost =
            measure(server, "enqueue delayed", batch, enqueue_all(adapter, JOBS, batch, later));
        let cost = cost.await;
        let left = due.since(adapter.ping().await.unwrap().now);
        sleep(left + ms(1)).await;
        if !left.is_zero() {
            return cost;
        }
        // The machine is slow today.
        settle_all(adapter, JOBS, batch, Outcome::Complete).await;
        wait *= 4;
    }
}

/// Each step of a job's life, for each kind of job: who uses less pays less.
async fn costs(server: &RedisServer, batch: usize) -> Vec<Cost> {
    let adapter = adapter(server, &format!("in-batches-of-{batch}")).await;
    let adapter = &*adapter;
    let settle = |outcome| settle_all(adapter, JOBS, batch, outcome);
    // What a process does once, such as to make its queue known, is not the job's.
    enqueue_all(adapter, batch, batch, || job(100)).await;
    settle_all(adapter, batch, batch, Outcome::Complete).await;

    let plain = || enqueue_all(adapter, JOBS, batch, || job(100));
    let mut costs = vec![
        measure(server, "enqueue", batch, plain()).await,
        measure(server, "run", batch, settle(Outcome::Complete)).await,
    ];
    plain().await;
    costs.push(measure(server, "retry", batch, settle(Outcome::Retry(Duration::ZERO))).await);
    let later = Outcome::Retry(Duration::from_hours(1));
    costs.push(measure(server, "retry later", batch, settle(later)).await);
    let keep = enqueue_all(adapter, JOBS, batch, kept);
    costs.push(measure(server, "enqueue, result kept", batch, keep).await);
    costs.push(measure(server, "run, result kept", batch, settle(Outcome::Complete)).await);
    costs.push(delayed(server, adapter, batch).await);
    costs.push(measure(server, "run delayed", batch, settle(Outcome::Complete)).await);

    // Where a process keeps all that completed.
    let keeps = open_with(&server.url(), |settings| {
        settings.keep_completed = Retention { age: Duration::from_hours(1), count: 1_000_000 };
    });
    enqueue_all(&*keeps, JOBS + batch, batch, || job(100)).await;
    settle_all(&*keeps, batch, batch, Outcome::Complete).await;
    let run = settle_all(&*keeps, JOBS, batch, Outcome::Complete);
    costs.push(measure(server, "run, all kept", batch, run).await);
    costs
}

/// What schedules cost, as many as there are jobs, whose occurrences are all due: to read ahead what is
/// to come, to fire it, and to run what that makes; then to fire the next, with a run before.
async fn fired(server: &RedisServer, batch: usize) -> Vec<Cost> {
    let adapter = adapter(server, &format!("fired-by-{batch}")).await;
    let adapter = &*adapter;
    let at = |second: i64| Timestamp::from_millis(1000 * second);
    // So that it is known to this process, and to the server, before anything is measured.
    for number in 0..=JOBS {
        let definition = schedule(&format!("number-{number}"), &kit::queue());
        adapter.schedule(definition, Some(at(1))).await.unwrap();
    }
    adapter.cancel(&ScheduleId::new(format!("number-{JOBS}")).unwrap()).await.unwrap();
    let read = async || {
        let due = adapter.due(None, Duration::ZERO, 2 * JOBS).await.unwrap();
        due.queues.into_iter().flat_map(|queue| queue.records).collect::<Vec<_>>()
    };
    let fire = async |second: i64| {
        let firing = |record| Firing::new(record, at(second), Some(at(second + 1)));
        let firings: Vec<_> = read().await.iter().map(firing).collect();
        let fire = async {
            for firings in firings.chunks(batch) {
                let fired = adapter.fire(firings).await.unwrap();
                assert!(fired.iter().all(|fired| matches!(fired, Fired::Job(_))), "{fired:?}");
            }
        };
        let step = if second == 1 { "fire" } else { "fire again" };
        measure(server, step, batch, fire).await
    };
    let mut costs = Vec::new();
    if batch == 1 {
        // As many as there are at once, whatever the batch.
        let look = async { assert_eq!(read().await.len(), JOBS) };
        costs.push(measure(server, "look for what is due", JOBS, look).await);
    }
    costs.push(fire(1).await);
    let run = settle_all(adapter, JOBS, batch, Outcome::Complete);
    costs.push(measure(server, "run of a schedule", batch, run).await);
    costs.push(fire(2).await);
    costs
}

/// A sweep of a queue in which nothing is to be done, as often as there are jobs elsewhere.
async fn idle_sweep(server: &RedisServer) -> Cost {
    let adapter = adapter(server, "idle").await;
    adapter.sweep(&kit::queue()).await.unwrap();
    let sweeps = async {
        for _ in 0..JOBS {
            adapter.sweep(&kit::queue()).await.unwrap();
        }
    };
    measure(server, "sweep an idle queue", 1, sweeps).await
}

#[tokio::test]
async fn no_job_costs_the_server_more_than_it_did() {
    let server = RedisServer::start();
    let mut measured = Vec::new();
    for batch in [1, 10, 100] {
        measured.extend(costs(&server, batch).await);
        measured.extend(fired(&server, batch).await);
    }
    measured.push(idle_sweep(&server).await);
    let known =
        |now: &Cost| COSTS.iter().find(|cost| (cost.step, cost.batch) == (now.step, now.batch));
    let risen = measured.iter().flat_map(|now| match known(now) {
        Some(cost) => cost.risen(now),
        None => vec![format!("{} in batches of {} is not known", now.step, now.batch)],
    });
    let risen: Vec<_> = risen.collect();
    println!("COSTS would be:");
    measured.iter().for_each(|cost| println!("{cost}"));
    assert!(
        risen.is_empty(),
        "\n{}\nNo more than {} % is allowed. If it is wanted, say in the commit what it buys, and \
         let COSTS be what is printed above\n",
        risen.join("\n"),
        MARGIN * 100.0,
    );
}

#[tokio::test]
async fn a_waiting_job_takes_no_more_memory_than_is_promised() {
    let server = RedisServer::start();
    let adapter = adapter(&server, "waiting").await;
    let before = Usage::of(&server);
    let mut waiting = 0;
    for jobs in [100_000, ONE_MORE_THAN_FITS] {
        enqueue_all(&*adapter, jobs - waiting, 1000, || job(100)).await;
        waiting = jobs;
        let bytes = Usage::of(&server).since(&before, jobs).memory;
        println!("{jobs} waiting: {bytes:.0} bytes each");
        assert!(
            bytes <= WAITING_BYTES,
            "a waiting job takes {bytes:.0} bytes where {jobs} wait, and {WAITING_BYTES} are \
             allowed; if more is wanted, docs/production.md has to say so as well"
        );
    }
}
