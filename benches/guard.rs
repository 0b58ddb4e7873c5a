//! Whether a job takes more instructions than it did: counted by valgrind, so that neither other
//! programs nor a hot machine move them, and held to `benches/guard.toml`.
//!
//! ```text
//! make bench-guard             # fails where a step takes more than its baseline and margin
//! make bench-guard UPDATE=1    # writes what it measures into the baseline
//! ```
//!
//! Each step runs as a process of its own, of one thread for all that is async, twice: with few jobs
//! and with many. The difference is what the jobs took, and the start-up is not in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};

use config::{Config, File, FileFormat};
use shiftwork::adapter::JobAdapter;
use shiftwork::prelude::*;
use shiftwork_test_kit::RedisServer;
use tokio::sync::Notify;

#[path = "../adapters/redis/benches/kit/mod.rs"]
mod kit;

const FEW: u64 = 2_000;
const MANY: u64 = 10_000;
const BATCH: u64 = 100;

/// How often at most a count that is too high is taken again.
const MOST_AGAIN: usize = 2;

/// A step whose name is told in the baseline, what its programs do, and what of it is not its own.
struct Step {
    /// The table of the baseline.
    part: &'static str,
    name: &'static str,
    /// Another step, which the program of this one does first.
    after: Option<&'static str>,
}

const STEPS: [Step; 5] = [
    Step { part: "memory", name: "enqueue", after: None },
    Step { part: "memory", name: "enqueue_batch", after: None },
    Step { part: "memory", name: "run", after: Some("enqueue_batch") },
    Step { part: "redis", name: "enqueue_batch", after: None },
    Step { part: "redis", name: "exchange", after: Some("enqueue_batch") },
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["work", part, name, jobs, url] => {
            let jobs = jobs.parse().expect("a number of jobs");
            work(part, name, jobs, url);
            ExitCode::SUCCESS
        }
        // `cargo test --benches` only wants to know that it runs.
        _ if words.contains(&"--test") => {
            let server = RedisServer::start();
            STEPS.iter().for_each(|step| work(step.part, step.name, BATCH, &server.url()));
            ExitCode::SUCCESS
        }
        _ => guard(),
    }
}

/// What one process does: so many jobs of a step.
fn work(part: &str, name: &str, jobs: u64, url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    match part {
        "memory" => runtime.block_on(in_memory(name, jobs)).expect("the memory adapter works"),
        _ => runtime.block_on(on_redis(name, jobs, url)),
    }
}

#[derive(Serialize, Deserialize)]
struct Filler {
    text: String,
    number: u32,
}

impl Filler {
    /// 100 bytes of JSON.
    fn new() -> Self {
        Self { text: "x".repeat(77), number: 7 }
    }
}

static LEFT: AtomicU64 = AtomicU64::new(0);
static ALL_RAN: Notify = Notify::const_new();

#[job]
async fn no_op(_: Filler) {
    if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        ALL_RAN.notify_one();
    }
}

async fn in_memory(name: &str, count: u64) -> shiftwork::Result<()> {
    let vars = [("JOBS_CONCURRENCY", "500"), ("JOBS_MEMORY_CAPACITY", "1000000")];
    let jobs = Jobs::from_vars(vars).start().await?;
    jobs.pause("default").await?;
    if name == "enqueue" {
        for _ in 0..count {
            jobs.enqueue(no_op::job(Filler::new())).await?;
        }
        return Ok(());
    }
    for _ in 0..count / BATCH {
        jobs.enqueue_many((0..BATCH).map(|_| no_op::job(Filler::new()))).await?;
    }
    if name == "run" {
        LEFT.store(count, Ordering::Relaxed);
        jobs.resume("default").await?;
        ALL_RAN.notified().await;
    }
    Ok(())
}

async fn on_redis(name: &str, count: u64, url: &str) {
    let namespace = format!("guard-{}", std::process::id());
    let adapter = kit::adapter_at(url, &namespace).await;
    let adapter: &dyn JobAdapter = &*adapter;
    let (count, batch) = (count as usize, BATCH as usize);
    kit::enqueue_all(adapter, count, batch, || kit::job(100)).await;
    if name == "exchange" {
        kit::run(adapter, count, batch).await;
    }
}

fn guard() -> ExitCode {
    let baseline = Baseline::read();
    let measured = measure();
    if std::env::var_os("UPDATE").is_some_and(|update| !update.is_empty()) {
        Baseline::write(&measured);
        return ExitCode::SUCCESS;
    }
    let measured = again_where_risen(measured, &baseline);
    println!("instructions a job, with {}:", compiler());
    let mut risen = None;
    for (step, now) in measured {
        let (was, margin) = baseline.of(step);
        let verdict = Verdict::of(was, now, margin);
        println!("{}", line(step, was, now, margin, verdict));
        if verdict == Verdict::Risen {
            risen = risen.or(Some(step));
        }
    }
    let Some(step) = risen else { return ExitCode::SUCCESS };
    println!("{}", advice(step, &baseline));
    ExitCode::FAILURE
}

/// On a machine that is busy otherwise, timers cut batches where they do not on an idle one, which
/// costs instructions too. What the code takes is there every time: so the least of several counts.
fn again_where_risen(mut least: Measured, baseline: &Baseline) -> Measured {
    for _ in 0..MOST_AGAIN {
        let has_risen = |(step, now): &(&'static Step, u64)| {
            let (was, margin) = baseline.of(step);
            Verdict::of(was, *now, margin) == Verdict::Risen
        };
        if !least.iter().any(has_risen) {
            break;
        }
        for ((_, least), (_, now)) in least.iter_mut().zip(measure()) {
            *least = now.min(*least);
        }
    }
    least
}

/// Instructions a job, by step, in the order of [`STEPS`].
type Measured = Vec<(&'static Step, u64)>;

/// How many instructions a job takes in each step.
fn measure() -> Measured {
    let server = RedisServer::start();
    let mut wholes = BTreeMap::new();
    for step in &STEPS {
        let [few, many] = [FEW, MANY].map(|jobs| count(step, jobs, &server));
        wholes.insert((step.part, step.name), many.saturating_sub(few) / (MANY - FEW));
    }
    let own = |step: &Step| {
        let before = step.after.map_or(0, |name| wholes[&(step.part, name)]);
        wholes[&(step.part, step.name)].saturating_sub(before)
    };
    STEPS.iter().map(|step| (step, own(step))).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Same,
    Risen,
    /// So far that a rise back to the baseline would not be noticed.
    Fallen,
}

impl Verdict {
    fn of(was: u64, now: u64, margin: f64) -> Self {
        let change = change(was, now);
        if change > margin {
            Self::Risen
        } else if change < -margin {
            Self::Fallen
        } else {
            Self::Same
        }
    }
}

/// By how many per cent it is more.
fn change(was: u64, now: u64) -> f64 {
    (now as f64 / was as f64 - 1.0) * 100.0
}

fn line(step: &Step, was: u64, now: u64, margin: f64, verdict: Verdict) -> String {
    let Step { part, name, .. } = step;
    let change = change(was, now);
    let says = match verdict {
        Verdict::Same => "",
        Verdict::Risen => "  TOO MANY",
        Verdict::Fallen => "  fewer: `make bench-guard UPDATE=1` keeps it so",
    };
    format!(
        "  {part:<6} {name:<13} {now:>7}, baseline {was:>7}: {change:+.1} % of {margin} %{says}"
    )
}

fn advice(step: &Step, baseline: &Baseline) -> String {
    let Step { part, name, .. } = step;
    format!(
        "\nA job takes more instructions than when the baseline was measured, with {}. Where they \
         go, this tells, and the same of the program as it was before:\n\n  \
         valgrind --tool=callgrind --callgrind-out-file=/tmp/guard.out \\\n    {} work {part} {name} \
         {MANY} redis://127.0.0.1:6379\n  callgrind_annotate --inclusive=yes /tmp/guard.out | head \
         -50\n\nIf they are wanted, say in the commit what they buy, and let `make bench-guard \
         UPDATE=1` write the baseline.",
        baseline.measured_with,
        program().display(),
    )
}

fn count(step: &Step, jobs: u64, server: &RedisServer) -> u64 {
    let valgrind = std::env::var("SHIFTWORK_VALGRIND").unwrap_or_else(|_| "valgrind".into());
    let output = Command::new(&valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program())
        .args(["work", step.part, step.name, &jobs.to_string(), &server.url()])
        .output()
        .unwrap_or_else(|error| {
            panic!("{valgrind}: {error}; `make bench-guard` finds or installs it")
        });
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    match collected.and_then(|(_, number)| number.trim().parse().ok()) {
        Some(number) if output.status.success() => number,
        _ => panic!("{} {} of {jobs} jobs did not end well:\n{said}", step.part, step.name),
    }
}

fn program() -> std::path::PathBuf {
    std::env::current_exe().expect("a program knows its path")
}

/// Another compiler makes other instructions.
fn compiler() -> String {
    let version = Command::new("rustc").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = version.unwrap_or_default();
    let version: Vec<_> = version.split_whitespace().take(2).collect();
    format!("{} on {}", version.join(" "), std::env::consts::ARCH)
}

/// What `benches/guard.toml` says.
#[derive(Deserialize)]
struct Baseline {
    measured_with: String,
    memory: BTreeMap<String, f64>,
    redis: BTreeMap<String, f64>,
}

impl Baseline {
    fn path() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/guard.toml")
    }

    fn read() -> Self {
        let file = File::from(Self::path()).format(FileFormat::Toml);
        let read = Config::builder().add_source(file).build().and_then(Config::try_deserialize);
        read.unwrap_or_else(|error| panic!("{}: {error}", Self::path().display()))
    }

    /// The instructions of a step, and by how many per cent they may differ.
    fn of(&self, step: &Step) -> (u64, f64) {
        let part = if step.part == "memory" { &self.memory } else { &self.redis };
        let figure = |name: &str| match part.get(name) {
            Some(figure) => *figure,
            None => panic!("{} has no {}.{name}", Self::path().display(), step.part),
        };
        (figure(step.name) as u64, figure("margin_percent"))
    }

    /// Puts these figures in the places of the old ones, and leaves all else as it is.
    fn write(measured: &[(&Step, u64)]) {
        let text = std::fs::read_to_string(Self::path()).expect("the baseline can be read");
        let mut part = "";
        let mut lines = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[') {
                part = name.trim_end_matches(']');
            }
            let name = line.split_once(" = ").map(|(name, _)| name);
            let now = measured.iter().find(|(s, _)| s.part == part && Some(s.name) == name);
            lines.push(match (name, now) {
                (Some("measured_with"), _) => format!("measured_with = {:?}", compiler()),
                (Some(name), Some((_, now))) => format!("{name} = {now}"),
                _ => line.to_owned(),
            });
        }
        let text = lines.join("\n") + "\n";
        std::fs::write(Self::path(), &text).expect("the baseline can be written");
        println!("{} is now:\n\n{text}", Self::path().display());
    }
}
