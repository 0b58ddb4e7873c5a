//! A contender that enqueues and runs jobs in one process, without a server, and its `main`.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::produce::{Producer, produce};
use crate::program::{obey, perform, say};
use crate::report::Report;
use crate::tally::Tally;
use crate::told::{Produce, Work};
use crate::tuning::Tuning;

/// All that such a contender is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ToldInProcess {
    /// What it enqueues,
    pub produce: Produce,
    /// and runs meanwhile.
    pub work: Work,
    /// Threads of the runtime. 0: a runtime on the current thread alone.
    pub threads: u64,
    /// Settings that differ from its own.
    #[serde(default)]
    pub tuning: Tuning,
}

/// What is a peer's own.
pub trait InProcess {
    /// Of the peer.
    const VERSION: &'static str;

    /// How it enqueues.
    type Producer: Producer;

    /// What keeps its worker running.
    type Worker;

    /// Runs what is enqueued from now on. The handlers call [`Tally::run`].
    fn open(
        told: &ToldInProcess,
        tally: Arc<Tally>,
    ) -> impl Future<Output = Result<(Self::Producer, Self::Worker)>>;

    /// Ends gracefully.
    fn stop(worker: Self::Worker) -> impl Future<Output = Result<()>>;
}

/// The `main` of such a contender.
pub fn play_in_process<C: InProcess>() -> ExitCode {
    perform(|told: &ToldInProcess| told.tuning.of("threads", told.threads), run::<C>)
}

/// What is measured begins before the first enqueue, and ends with the last handler.
async fn run<C: InProcess>(told: ToldInProcess) -> Result<()> {
    let tally = Arc::new(Tally::new(&told.work));
    let (producer, worker) = C::open(&told, tally.clone()).await.context("opening")?;
    say(&Report::Ready { version: C::VERSION.into() });
    tally.begin();
    // On a thread of the runtime, as the handlers: with several, this future is on none of them.
    let producing = tokio::spawn(async move { produce(&told.produce, producer).await });
    let enqueueing = async {
        producing.await?.context("enqueueing")?;
        Ok(())
    };
    tokio::try_join!(enqueueing, obey(tally.done(), &tally))?;
    C::stop(worker).await.context("stopping")?;
    let log = &told.work.log;
    tally.write_log(log).with_context(|| format!("writing {}", log.display()))?;
    say(&Report::Stopped);
    Ok(())
}
