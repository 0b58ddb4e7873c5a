//! The `main` of every contender written in Rust: it reads what it is told, plays it on a runtime,
//! reports, and obeys.

use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::runtime;

use crate::clock::cpu_us;
use crate::report::{Order, Progress, Report, Span};
use crate::tally::Tally;

/// Plays what is told in the last argument, on a runtime of so many threads. 0: on the current
/// thread alone.
pub(crate) fn perform<T, F>(threads: impl FnOnce(&T) -> u64, play: impl FnOnce(T) -> F) -> ExitCode
where
    T: DeserializeOwned,
    F: Future<Output = Result<()>>,
{
    match begin(threads, play) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&Report::Failed { why: format!("{error:#}") });
            ExitCode::FAILURE
        }
    }
}

/// Reports when it is done, and obeys until it is told to stop. Its progress is what was counted.
pub(crate) async fn obey(done: impl Future<Output = Span>, counted: &Tally) -> Result<()> {
    let mut orders = BufReader::new(stdin()).lines();
    let mut done = pin!(done);
    let mut is_done = false;
    loop {
        tokio::select! {
            span = &mut done, if !is_done => {
                is_done = true;
                say(&Report::Done(span));
            }
            line = orders.next_line() => match line.context("reading orders")? {
                Some(line) => match Order::read(&line) {
                    Some(Order::Cpu) => say(&Report::Cpu { cpu_us: cpu_us() }),
                    Some(Order::Progress) => say(&Report::Progress(progress(counted))),
                    Some(Order::Stop) => return Ok(()),
                    None => anyhow::bail!("no such order: {line:?}"),
                },
                // Who gives orders is gone.
                None => return Ok(()),
            }
        }
    }
}

pub(crate) fn say(report: &Report) {
    let line = serde_json::to_string(report).expect("a report can be written as JSON");
    // Nobody to say it to: the process is about to be ended.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn progress(counted: &Tally) -> Progress {
    Progress { completed: counted.completed(), cpu_us: cpu_us() }
}

fn begin<T, F>(threads: impl FnOnce(&T) -> u64, play: impl FnOnce(T) -> F) -> Result<()>
where
    T: DeserializeOwned,
    F: Future<Output = Result<()>>,
{
    let told = std::env::args().skip(1).last();
    let told = told.context("a contender is told what to do, as JSON")?;
    let told: T = serde_json::from_str(&told).with_context(|| format!("told {told}"))?;
    let mut runtime = match threads(&told) {
        0 => runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = runtime::Builder::new_multi_thread();
            builder.worker_threads(threads as usize);
            builder
        }
    };
    let runtime = runtime.enable_all().build().context("building the runtime")?;
    runtime.block_on(play(told))?;
    // A peer may have left something behind that blocks.
    runtime.shutdown_background();
    Ok(())
}
