//! A contender written in Rust whose jobs are on a server, and its `main`.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::produce::{Producer, produce};
use crate::program::{obey, perform, say};
use crate::replace::replace;
use crate::report::Report;
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
    let threads = |told: &Told| told.tuned("threads", C::THREADS);
    perform(threads, |told: Told| async move {
        match &told.role {
            Role::Produce(produce) => enqueue::<C>(&told, produce).await,
            Role::Work(work) => run::<C>(&told, work, None).await,
            Role::Replace(what) => run::<C>(&told, &what.work, Some(&what.produce)).await,
        }
    })
}

async fn enqueue<C: Contender>(told: &Told, what: &Produce) -> Result<()> {
    let producer = C::producer(told, what).await.context("connecting to enqueue")?;
    say(&Report::Ready { version: C::VERSION.into() });
    let span = produce(what, producer).await.context("enqueueing")?;
    say(&Report::Produced(span));
    Ok(())
}

async fn run<C: Contender>(told: &Told, work: &Work, replaced: Option<&Produce>) -> Result<()> {
    let tally = Arc::new(Tally::new(work));
    let mut replacing = JoinSet::new();
    if let Some(what) = replaced {
        let producer = C::producer(told, what).await.context("connecting to enqueue")?;
        replacing.spawn(replace(what.clone(), producer, tally.clone()));
    }
    let worker = C::work(told, work, tally.clone()).await.context("starting to work")?;
    say(&Report::Ready { version: C::VERSION.into() });
    tokio::select! {
        obeyed = obey(tally.done(), &tally) => obeyed?,
        // When all is enqueued, it goes on running jobs.
        Err(error) = all_of(&mut replacing) => return Err(error.context("enqueueing")),
    }
    replacing.shutdown().await;
    C::stop(worker).await.context("stopping")?;
    tally.write_log(&work.log).with_context(|| format!("writing {}", work.log.display()))?;
    say(&Report::Stopped);
    Ok(())
}

/// Waits for all, or for the first that fails.
async fn all_of(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
