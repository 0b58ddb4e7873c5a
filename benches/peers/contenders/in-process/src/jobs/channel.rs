//! A bounded channel of tokio's, and a spawned task for each job: what there is without a
//! framework. It knows no state, lease, retry or timeout, and moves the payload as it is.

use std::sync::Arc;

use anyhow::{Result, bail};
use peers_protocol::{Batches, InProcess, NewJob, Producer, Tally, ToldInProcess};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Payloads made at once. They are sent one by one.
const BATCH: u64 = 100;

pub(crate) struct Channel;

impl InProcess for Channel {
    const VERSION: &'static str = "of tokio 1.54";
    type Producer = Sends;
    type Worker = JoinHandle<()>;

    async fn open(told: &ToldInProcess, tally: Arc<Tally>) -> Result<(Sends, JoinHandle<()>)> {
        let bound = told.tuning.of("bound", told.work.concurrency);
        let (sender, mut receiver) = mpsc::channel::<NewJob>(bound as usize);
        let receiving = tokio::spawn(async move {
            while let Some(job) = receiver.recv().await {
                let tally = tally.clone();
                tokio::spawn(async move { tally.run(job.payload.number, job.payload.due) });
            }
        });
        let batches = Batches { of: told.tuning.of("batch", BATCH), at_once: 1 };
        Ok((Sends { sender, batches }, receiving))
    }

    async fn stop(receiving: JoinHandle<()>) -> Result<()> {
        // All senders are gone, so that it ends.
        Ok(receiving.await?)
    }
}

#[derive(Clone)]
pub(crate) struct Sends {
    sender: mpsc::Sender<NewJob>,
    batches: Batches,
}

impl Producer for Sends {
    async fn one(&self, job: NewJob) -> Result<()> {
        match self.sender.send(job).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("nobody receives"),
        }
    }

    async fn bulk(&self, jobs: Vec<NewJob>) -> Result<()> {
        for job in jobs {
            self.one(job).await?;
        }
        Ok(())
    }

    fn batches(&self) -> Batches {
        self.batches
    }
}
