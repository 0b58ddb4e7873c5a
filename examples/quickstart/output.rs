//! What is shown: a bar on a terminal, plain lines elsewhere.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use shiftwork::{JobId, LogFormat};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::jobs::Report;

/// Where everything is shown.
#[derive(Clone)]
pub struct Screen {
    bar: Option<ProgressBar>,
    expected: Arc<AtomicUsize>,
    last: Arc<Mutex<Option<u64>>>,
}

impl Screen {
    /// The screen, with the events of the library on it: as JSON where `JOBS_LOG` says so, else
    /// in words.
    pub fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let style = ProgressStyle::with_template("  {bar:40} {pos} of {len} files  {elapsed}");
        let bar = terminal.then(|| {
            let bar = ProgressBar::new(0);
            style.into_iter().for_each(|style| bar.set_style(style));
            bar
        });
        let screen = Self { bar, expected: Arc::default(), last: Arc::default() };
        let subscriber = tracing_subscriber::registry().with(shiftwork::telemetry::causes());
        match LogFormat::from_env() {
            LogFormat::Json => subscriber
                .with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr))
                .with(LevelFilter::INFO)
                .init(),
            _ => subscriber.with(InWords(screen.clone()).with_filter(LevelFilter::WARN)).init(),
        }
        screen
    }

    pub fn line(&self, line: impl fmt::Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    pub fn expect(&self, files: usize) {
        self.expected.store(files, Ordering::Relaxed);
        self.bar.iter().for_each(|bar| bar.set_length(files as u64));
    }

    /// One more is done.
    pub fn advance(&self) {
        self.bar.iter().for_each(|bar| bar.inc(1));
    }

    /// So many are left; told only where that is news.
    pub fn progress(&self, left: u64) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(left);
        if self.bar.is_none() && left > 0 && last != Some(left) {
            let done = (self.expected.load(Ordering::Relaxed) as u64).saturating_sub(left);
            self.line(format!("  {done} done, {left} to go"));
        }
    }

    pub fn finish(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }

    pub fn report(&self, report: &Report, took: Duration, id: JobId) {
        let Report { files, bytes, lines, .. } = report;
        let jobs = files + report.dead_count;
        let rate = jobs as f64 / took.as_secs_f64();
        self.line(format!("\nReport, by hand from code, as job {id}:"));
        self.line(format!(
            "  {files} files, {}, {lines} lines; {jobs} jobs in {took:.1?}, {rate:.0} jobs/s",
            HumanBytes(*bytes)
        ));
        for digest in &report.largest {
            let size = HumanBytes(digest.bytes).to_string();
            self.line(format!("  largest    {size:>11}  {}", digest.path.display()));
        }
        for paths in report.duplicates.iter().take(3) {
            let paths: Vec<_> =
                paths.iter().take(3).map(|path| path.display().to_string()).collect();
            self.line(format!("  the same   {}", paths.join(" = ")));
        }
        for letter in &report.dead {
            let (name, times) = (letter.path.file_name().unwrap_or_default(), letter.attempts);
            self.line(format!("  dead       {} ({times}×): {}", name.display(), letter.error));
        }
        if let Some(letter) = report.dead.first() {
            self.line(format!("Replay one: jobs.replay(\"{}\".parse()?).await?", letter.id));
        }
        self.line("Next: cargo run --example hello; examples/trigger.rs; docs/adding-a-job.md");
        self.line("On Redis, as two processes (make redis starts one for hand use):");
        self.line("  JOBS_PROVIDER=redis WORKER_ROLE=worker cargo run --features redis --example quickstart");
        self.line("  JOBS_PROVIDER=redis WORKER_ROLE=web    cargo run --features redis --example quickstart");
    }
}

/// Says what the library's warnings and errors say, in a line each.
struct InWords(Screen);

impl<S: Subscriber> Layer<S> for InWords {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let Told { message, attempt, attempts, payload, error, retry_in_ms, outcome, .. } = &told;
        let name = payload.rsplit('/').next().unwrap_or(payload);
        match outcome.as_str() {
            "retry" => self.0.line(format!(
                "  retry  {name}: attempt {attempt} of {attempts} failed, again in {retry_in_ms} ms: {error}"
            )),
            "dead" => self.0.line(format!(
                "  dead   {name}: attempt {attempt} of {attempts} failed for good: {error}"
            )),
            _ => self.0.line(format!("  {} {message}", event.metadata().level())),
        }
    }
}

/// The fields of an event.
#[derive(Default)]
struct Told {
    message: String,
    attempt: String,
    attempts: String,
    payload: String,
    error: String,
    retry_in_ms: String,
    outcome: String,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let told = match field.name() {
            "message" => &mut self.message,
            "job.attempt" => &mut self.attempt,
            "job.attempts" => &mut self.attempts,
            "payload" => &mut self.payload,
            "error" => &mut self.error,
            "retry_in_ms" => &mut self.retry_in_ms,
            "outcome" => &mut self.outcome,
            _ => return,
        };
        *told = value.to_owned();
    }
}
