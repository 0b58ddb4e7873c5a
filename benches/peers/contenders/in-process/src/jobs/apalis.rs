//! apalis on its memory backend: a channel whose payloads move as they are, and a tower service
//! called for each. It knows no state or lease, and what retries it has are layers not used here.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use apalis::prelude::*;
use futures::channel::mpsc;
use futures::lock::Mutex;
use futures::{SinkExt, StreamExt, stream};
use peers_protocol::{Batches, Failed, InProcess, NewJob, Payload, Producer, Tally, ToldInProcess};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

/// Jobs sent at once.
const BATCH: u64 = 200;

pub(crate) struct Apalis;

impl InProcess for Apalis {
    const VERSION: &'static str = "1.0.0";
    type Producer = Sends;
    type Worker = Running;

    async fn open(told: &ToldInProcess, tally: Arc<Tally>) -> Result<(Sends, Running)> {
        let (sink, storage) = match told.tuning.of("bound", 0) {
            0 => {
                let (sender, receiver) = mpsc::unbounded();
                (sink(sender.clone()), MemoryStorage::new_with(sink(sender), receiver.boxed()))
            }
            bound => {
                let (sender, receiver) = mpsc::channel(bound as usize);
                (sink(sender.clone()), MemoryStorage::new_with(sink(sender), receiver.boxed()))
            }
        };
        let handler = move |payload: Payload| {
            let tally = tally.clone();
            async move { tally.run(payload.number, payload.due) as Result<(), Failed> }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let signal = async move {
            // Who could send it is gone: that is a signal too.
            let _ = stopped.await;
            Ok::<(), std::io::Error>(())
        };
        let worker = WorkerBuilder::new("contender").backend(storage);
        let concurrency = told.work.concurrency as usize;
        // Layers cost what they do, and these handlers need none: each ends where it begins.
        let running = if told.tuning.of("spawns", 0) == 1 {
            let worker = worker.concurrency(concurrency).parallelize(tokio::spawn).build(handler);
            tokio::spawn(worker.run_until(signal))
        } else if told.tuning.of("limits", 0) == 1 {
            tokio::spawn(worker.concurrency(concurrency).build(handler).run_until(signal))
        } else {
            tokio::spawn(worker.build(handler).run_until(signal))
        };
        let batches = Batches { of: told.tuning.of("batch", BATCH), at_once: 1 };
        let yields = told.tuning.of("yields", 1) == 1;
        Ok((Sends { sink, batches, yields }, Running { stop, running }))
    }

    async fn stop(worker: Running) -> Result<()> {
        let _ = worker.stop.send(());
        Ok(worker.running.await??)
    }
}

/// A worker that runs.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), WorkerError>>,
}

/// One for who enqueues, and another for the worker, which asks its own whether it is ready
/// whenever it looks for a job: an enqueue that comes upon the lock of a shared one panics.
fn sink<S>(sender: S) -> MemorySink<Payload>
where
    S: futures::Sink<Task<Payload>, Error = mpsc::SendError> + Send + Sync + Unpin + 'static,
{
    MemorySink::new(Arc::new(Mutex::new(Box::new(sender.sink_map_err(MemoryStorageError::from)))))
}

#[derive(Clone)]
pub(crate) struct Sends {
    sink: MemorySink<Payload>,
    batches: Batches,
    yields: bool,
}

impl Producer for Sends {
    async fn one(&self, job: NewJob) -> Result<()> {
        let mut sink = self.sink.clone();
        let sent = sink.send(TaskBuilder::new(job.payload).build()).await;
        sent.map_err(|error| anyhow!("{error}"))
    }

    async fn bulk(&self, jobs: Vec<NewJob>) -> Result<()> {
        let mut sink = self.sink.clone();
        let tasks = jobs.into_iter().map(|job| Ok(TaskBuilder::new(job.payload).build()));
        let sent = sink.send_all(&mut stream::iter(tasks)).await;
        // Nothing makes it wait, so that it would enqueue all before any is run.
        if self.yields {
            yield_now().await;
        }
        sent.map_err(|error| anyhow!("{error}"))
    }

    fn batches(&self) -> Batches {
        self.batches
    }
}
