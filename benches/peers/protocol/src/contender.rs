//! A contender written in Rust, and its `main`.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::runtime;

use crate::clock::cpu_us;
use crate::produce::{Producer, produce};
use crate::report::{Order, Report};
use crate::tally::Tally;
use crate::told::{Produce, Role, Told, Work};

/// What is a peer's own.
pub trait Contender {
    /// Of the peer.
    const VERSION: &'static str;

    /// Threads of the runtime. 0: a runtime on the current thread alone.
    const THREADS: u64;

    /// How it enqueues.
    type Producer: Producer;

    /// What keeps its worker running.
    type Worker;

    /// Connects, to enqueue.
    fn producer(told: &Told, produce: &Produce) -> impl Future<Output = Result<Self::Producer>>;

    /// Runs jobs from now on. Their handlers call [`Tally::run`].
    fn work(
        told: &Told,
        work: &Work,
        tally: Arc<Tally>,
    ) -> impl Future<Output = Result<Self::Worker>>;

    /// Ends gracefully.
    fn stop(worker: Self::Worker) -> impl Future<Output = Result<()>>;
}

/// The `main` of a contender.
pub fn play<C: Contender>() -> ExitCode {
    match begin::<C>() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&Report::Failed { why: format!("{error:#}") });
            ExitCode::FAILURE
        }
    }
}

fn begin<C: Contender>() -> Result<()> {
    let told = std::env::args().nth(1).context("a contender is told what to do, as JSON")?;
    let told: Told = serde_json::from_str(&told).with_context(|| format!("told {told}"))?;
    let mut runtime = match told.tuned("threads", C::THREADS) {
        0 => runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = runtime::Builder::new_multi_thread();
            builder.worker_threads(threads as usize);
            builder
        }
    };
    let runtime = runtime.enable_all().build().context("building the runtime")?;
    runtime.block_on(async {
        match &told.role {
            Role::Produce(produce) => enqueue::<C>(&told, produce).await,
            Role::Work(work) => run::<C>(&told, work).await,
        }
    })?;
    // A peer may have left something behind that blocks.
    runtime.shutdown_background();
    Ok(())
}

async fn enqueue<C: Contender>(told: &Told, what: &Produce) -> Result<()> {
    let producer = C::producer(told, what).await.context("connecting to enqueue")?;
    say(&Report::Ready { version: C::VERSION.into() });
    let span = produce(what, producer).await.context("enqueueing")?;
    say(&Report::Produced(span));
    Ok(())
}

async fn run<C: Contender>(told: &Told, work: &Work) -> Result<()> {
    let tally = Arc::new(Tally::new(work));
    let worker = C::work(told, work, tally.clone()).await.context("starting to work")?;
    say(&Report::Ready { version: C::VERSION.into() });
    let mut orders = BufReader::new(stdin()).lines();
    let mut is_done = false;
    loop {
        tokio::select! {
            span = tally.done(), if !is_done => {
                is_done = true;
                say(&Report::Done(span));
            }
            line = orders.next_line() => match line.context("reading orders")? {
                Some(line) => match Order::read(&line) {
                    Some(Order::Cpu) => say(&Report::Cpu { cpu_us: cpu_us() }),
                    Some(Order::Stop) => break,
                    None => anyhow::bail!("no such order: {line:?}"),
                },
                // Who gives orders is gone.
                None => break,
            }
        }
    }
    C::stop(worker).await.context("stopping")?;
    tally.write_log(&work.log).with_context(|| format!("writing {}", work.log.display()))?;
    say(&Report::Stopped);
    Ok(())
}

fn say(report: &Report) {
    let line = serde_json::to_string(report).expect("a report can be written as JSON");
    // Nobody to say it to: the process is about to be ended.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
