//! A contender's process: started, talked to, and ended when its time is up.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use peers_protocol::{Order, Progress, Report, Span};
use serde::Serialize;

/// What is kept of what a contender says on standard error.
const LAST_WORDS: usize = 600;

/// How to start a contender.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) executable: PathBuf,
    /// Before what it is told.
    pub(crate) arguments: Vec<String>,
}

/// A contender that runs. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    reports: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    deadline: Instant,
    /// Of the peer, as it says.
    pub(crate) version: String,
}

impl Process {
    /// Starts it, and waits until it is ready. From then on it has `limit` for all it does.
    pub(crate) fn start(program: &Program, told: &impl Serialize, limit: Duration) -> Result<Self> {
        let told = serde_json::to_string(told).context("writing what it is told")?;
        let mut child = Command::new(&program.executable)
            .args(&program.arguments)
            .arg(told)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.executable.display()))?;
        let (send, reports) = channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let errors = child.stderr.take().map(|stderr| thread::spawn(move || last_words(stderr)));
        let orders = child.stdin.take();
        let deadline = Instant::now() + limit;
        let mut process = Self { child, orders, reports, errors, deadline, version: String::new() };
        match process.next()? {
            Report::Ready { version } => process.version = version,
            other => bail!("it said {other:?} before it was ready"),
        }
        Ok(process)
    }

    /// Waits until all is enqueued.
    pub(crate) fn produced(&mut self) -> Result<Span> {
        match self.next()? {
            Report::Produced(span) => Ok(span),
            other => bail!("it said {other:?} instead of having produced"),
        }
    }

    /// Waits until as many handlers have completed as were expected.
    pub(crate) fn done(&mut self) -> Result<Span> {
        match self.next()? {
            Report::Done(span) => Ok(span),
            other => bail!("it said {other:?} instead of being done"),
        }
    }

    /// Waits until it has ended by itself, however it did.
    pub(crate) fn ended(&mut self) -> Result<()> {
        match self.next() {
            Ok(other) => bail!("it said {other:?} instead of ending"),
            Err(_) if self.child.try_wait()?.is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The CPU it has used so far, in microseconds.
    pub(crate) fn cpu_us(&mut self) -> Result<u64> {
        self.order(Order::Cpu)?;
        match self.next()? {
            Report::Cpu { cpu_us } => Ok(cpu_us),
            other => bail!("it said {other:?} when it was asked for its CPU"),
        }
    }

    /// What it has done so far, of a process that goes on when it is done.
    pub(crate) fn progress(&mut self) -> Result<Progress> {
        self.order(Order::Progress)?;
        loop {
            match self.next()? {
                Report::Progress(progress) => return Ok(progress),
                // It has run all that was expected of it alone, and goes on.
                Report::Done(_) => {}
                other => bail!("it said {other:?} when it was asked for its progress"),
            }
        }
    }

    /// Ends it gracefully. Its log is then written.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.order(Order::Stop)?;
        self.deadline = self.deadline.max(Instant::now() + Duration::from_secs(20));
        loop {
            match self.next()? {
                Report::Stopped => return Ok(()),
                // It may have been on its way.
                Report::Done(_) => {}
                other => bail!("it said {other:?} when it was to stop"),
            }
        }
    }

    fn order(&mut self, order: Order) -> Result<()> {
        let orders = self.orders.as_mut().context("it has no standard input")?;
        writeln!(orders, "{}", order.line()).with_context(|| format!("ordering {order:?}"))
    }

    fn next(&mut self) -> Result<Report> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let line = match self.reports.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("its time was up"),
                Err(RecvTimeoutError::Disconnected) => bail!("it ended: {}", self.last_words()),
            };
            match serde_json::from_str(&line) {
                Ok(Report::Failed { why }) => bail!("it failed: {}", first_line(&why)),
                Ok(report) => return Ok(report),
                // Some peers print.
                Err(_) => continue,
            }
        }
    }

    fn last_words(&mut self) -> String {
        let status = self.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
        let errors = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        format!("{status}; {}", first_line(errors.trim()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_words(mut stderr: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count) = stderr.read(&mut buffer) {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(LAST_WORDS);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Enough for a table.
fn first_line(text: &str) -> String {
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    line.chars().take(200).collect()
}
