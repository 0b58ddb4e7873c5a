//! What ten thousand schedules cost, and how soon an occurrence has its job: in memory and on Redis,
//! of which it starts a server of its own.
//!
//! ```text
//! cargo bench --features redis --bench schedules
//! ```
//!
//! The queue of the jobs is paused, so that nothing but the clock works. The lag of an occurrence is
//! from when it is due to when its job was accepted, both by the store's clock and so whole
//! milliseconds; on Redis as the sender reckons that clock when it sends a batch, of which it has
//! three on their way. Beside what is due all at once stands what it takes to enqueue as many jobs, which
//! is the least that firing could do. Each part runs in a process of its own, for the memory it takes.

#![allow(clippy::disallowed_methods, reason = "a benchmark waits for what it measures")]

use std::collections::{BTreeMap, HashSet};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use shiftwork::adapter::Timestamp;
use shiftwork::prelude::*;
use shiftwork::{Find, Overlap};
use shiftwork_test_kit::RedisServer;
use tokio::time::sleep;

const QUEUE: &str = "scheduled";

/// How long is idled, and how long it fires.
const IDLE: Duration = Duration::from_secs(60);
const FIRING: Duration = Duration::from_secs(30);

#[job(queue = "scheduled")]
async fn nothing(number: usize) {
    let _ = number;
}

fn main() {
    let part = std::env::var("SHIFTWORK_BENCH_PART");
    // `cargo test --benches` only wants to know that it runs.
    let test = std::env::args().any(|arg| arg == "--test");
    if let Ok(part) = part {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        return runtime.block_on(run(&part));
    }
    let parts: &[&str] = match test {
        true => &["memory idle 10", "redis burst 10"],
        false => &[
            "memory idle 0",
            "memory idle 10000",
            "redis idle 0",
            "redis idle 10000",
            "memory spread 10000",
            "redis spread 10000",
            "memory enqueue 10000",
            "memory burst 10000",
            "redis enqueue 10000",
            "redis burst 10000",
            "redis shared 10000",
        ],
    };
    println!("| store | what | schedules | figures |\n|---|---|---|---|");
    for part in parts {
        let own = std::env::current_exe().expect("this program");
        let status = Command::new(own).env("SHIFTWORK_BENCH_PART", part).status();
        assert!(status.is_ok_and(|status| status.success()), "{part} failed");
    }
}

async fn run(part: &str) {
    let [store, what, count] = part.split(' ').collect::<Vec<_>>()[..] else {
        panic!("a part is a store, what and how many")
    };
    let count: usize = count.parse().expect("a number");
    let server = (store == "redis").then(RedisServer::start);
    let figures = match what {
        "idle" => idle(server.as_ref(), count).await,
        "enqueue" => enqueue(server.as_ref(), count).await,
        "spread" => fire(server.as_ref(), count, 1, spread).await,
        "shared" => fire(server.as_ref(), count, 3, burst).await,
        _ => fire(server.as_ref(), count, 1, burst).await,
    };
    println!("| {store} | {what} | {count} | {figures} |");
}

async fn process(server: Option<&RedisServer>) -> Jobs {
    let mut vars = vec![("JOBS_QUEUES", QUEUE.to_owned()), ("WORKER_ROLE", "worker".into())];
    if let Some(server) = server {
        vars.push(("JOBS_PROVIDER", "redis".into()));
        vars.push(("JOBS_REDIS_URL", server.url()));
    }
    let jobs = Jobs::from_vars(vars).start().await.expect("the process starts");
    jobs.pause(QUEUE).await.expect("the queue pauses");
    jobs
}

/// Defines so many schedules, a hundred at once.
async fn define(jobs: &Jobs, count: usize, make: impl Fn(usize) -> NewSchedule) {
    for from in (0..count).step_by(100) {
        let mut defining = tokio::task::JoinSet::new();
        for schedule in (from..count.min(from + 100)).map(&make) {
            let jobs = jobs.clone();
            defining.spawn(async move { jobs.schedule(schedule).await });
        }
        while let Some(defined) = defining.join_next().await {
            defined.expect("it does not panic").expect("it is defined");
        }
    }
}

/// What a process costs that has nothing to do for a minute, beside schedules that are due in a year.
async fn idle(server: Option<&RedisServer>, count: usize) -> String {
    let definer = match server {
        // Another process has defined them.
        Some(_) => process(server).await,
        None => process(None).await,
    };
    let before = resident_kib();
    let in_a_year = SystemTime::now() + Duration::from_secs(365 * 24 * 3600);
    define(&definer, count, |number| {
        let daily = NewSchedule::cron(format!("s-{number}"), "0 3 * * *", nothing::job(number));
        daily.starts(in_a_year)
    })
    .await;
    let grown = resident_kib().saturating_sub(before);
    let (sent, cpu) = (server.map(commands), cpu_ms());
    sleep(IDLE).await;
    let cpu = cpu_ms() - cpu;
    let commands = server.zip(sent).map(|(server, sent)| commands(server) - sent);
    let commands = commands.map_or_else(String::new, |sent| format!(", {sent} commands"));
    let window = IDLE.as_secs();
    format!("{grown} KiB more than without, {cpu} ms of CPU{commands} in {window} s")
}

/// How long it takes to enqueue so many jobs, by as many in each call as are fired in one.
async fn enqueue(server: Option<&RedisServer>, count: usize) -> String {
    const TOGETHER: usize = 250;
    let jobs = process(server).await;
    let (mut took, mut number) = (Duration::MAX, 0);
    // The first round warms up.
    for _ in 0..3 {
        let began = Instant::now();
        for _ in (0..count).step_by(TOGETHER) {
            let batch = (number..number + TOGETHER).map(nothing::job);
            number += TOGETHER;
            jobs.enqueue_many(batch).await.expect("it enqueues");
        }
        took = took.min(began.elapsed());
    }
    format!("{count} enqueued in {:.0} ms", took.as_secs_f64() * 1e3)
}

/// Ten seconds each, spread evenly.
fn spread(number: usize, from: Timestamp, of: usize) -> NewSchedule {
    let apart = Duration::from_secs(10).mul_f64(number as f64 / of as f64);
    let id = format!("s-{number}");
    NewSchedule::every(id, Duration::from_secs(10), nothing::job(number)).starts(from + apart)
}

/// Each minute, in many time zones.
fn burst(number: usize, _from: Timestamp, _of: usize) -> NewSchedule {
    const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"];
    let id = format!("s-{number}");
    NewSchedule::cron(id, "* * * * *", nothing::job(number)).timezone(ZONES[number % 4])
}

/// Fires for a while, and tells how late; by so many engines.
async fn fire(
    server: Option<&RedisServer>,
    count: usize,
    engines: usize,
    make: fn(usize, Timestamp, usize) -> NewSchedule,
) -> String {
    let jobs = process(server).await;
    let mut others = Vec::new();
    for _ in 1..engines {
        others.push(process(server).await);
    }
    // Late enough for all to be defined, of which a full minute is the next.
    let now = Timestamp::now().as_millis();
    let from = Timestamp::from_millis((now / 60_000 + 1) * 60_000);
    let in_minute = now % 60_000;
    let from = match in_minute > 35_000 {
        true => {
            sleep(Duration::from_millis(u64::try_from(60_500 - in_minute).unwrap_or(0))).await;
            from + Duration::from_secs(60)
        }
        false => from,
    };
    define(&jobs, count, |number| make(number, from, count).overlap(Overlap::Allow)).await;
    assert!(Timestamp::now() < from, "the definitions took too long");
    let (used, cpu) = (server.map(server_cpu), cpu_ms());
    let until = from + FIRING;
    let rest = until.since(Timestamp::now());
    sleep(rest).await;
    let cpu = cpu_ms() - cpu;
    let used = server.zip(used).map(|(server, used)| server_cpu(server) - used);
    let records = jobs.scheduled_jobs().await.expect("it lists");
    let missed: u64 = records.iter().map(|record| record.missed + record.overlapped).sum();
    assert_eq!(missed, 0, "some were missed");
    let (mut lags, mut seen) = (Vec::<i64>::new(), HashSet::new());
    let mut per_schedule: BTreeMap<String, u64> = BTreeMap::new();
    let mut find = Find::new().limit(1000);
    loop {
        let page = jobs.find(QUEUE, &find).await.expect("it finds");
        for job in &page.jobs {
            let provenance = job.spec.provenance.as_ref().expect("it says where it comes from");
            let by = provenance.schedule.as_ref().expect("a schedule");
            // While jobs come, one may be in several pages.
            if by.occurrence >= until || !seen.insert(job.spec.id) {
                continue;
            }
            lags.push(job.enqueued_at.as_millis() - by.occurrence.as_millis());
            *per_schedule.entry(by.schedule.to_string()).or_default() += 1;
        }
        match page.next {
            Some(next) => find = find.after(next),
            None => break,
        }
    }
    assert_eq!(per_schedule.len(), count, "each has fired");
    let (fewest, most) = (per_schedule.values().min(), per_schedule.values().max());
    assert_eq!(fewest, most, "each as often as the others");
    lags.sort_unstable();
    assert!(lags[0] >= 0, "one was early");
    let at = |part: f64| lags[((lags.len() - 1) as f64 * part) as usize];
    let fired = lags.len();
    let own = cpu as f64 * 1000.0 / fired as f64;
    let used = used.map_or_else(String::new, |used| {
        format!(", {:.1} µs of the server's", used * 1e6 / fired as f64)
    });
    format!(
        "{fired} fired, none early, none missed; lag in ms: half {}, p99 {}, most {}; {own:.1} µs \
         of CPU each{used}",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

/// How many commands clients have sent the server.
fn commands(server: &RedisServer) -> u64 {
    // Those inside of scripts are counted by name only.
    let stats = server.info("commandstats");
    let calls = |stat: &String| -> Option<u64> {
        stat.split(',').find_map(|field| field.strip_prefix("calls="))?.parse().ok()
    };
    let sent = ["evalsha", "smembers", "hget", "time", "ping"];
    sent.iter().filter_map(|name| stats.get(&format!("cmdstat_{name}"))).filter_map(calls).sum()
}

/// What the server has used of the CPU, in seconds.
fn server_cpu(server: &RedisServer) -> f64 {
    let cpu = server.info("cpu");
    let seconds = |name: &str| cpu.get(name).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let (system, user): (f64, f64) = (seconds("used_cpu_sys"), seconds("used_cpu_user"));
    system + user
}

/// What this process has in memory.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What this process has used of the CPU.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
    // A hundred a second.
    (ticks(11) + ticks(12)) * 10
}
