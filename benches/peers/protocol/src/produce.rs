//! Enqueueing, in every way there is, the same for all contenders.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::clock::{cpu_us, monotonic_ns};
use crate::payload::{NewJob, Payload};
use crate::report::Span;
use crate::told::{Produce, Shape};

/// A peer's way to enqueue. A clone is as good as the original, and shares its connections.
pub trait Producer: Clone + Send + Sync + 'static {
    /// Enqueues a job, and returns when it is acknowledged.
    fn one(&self, job: NewJob) -> impl Future<Output = Result<()>> + Send;

    /// Enqueues several, as the peer does it best, and returns when all are acknowledged.
    fn bulk(&self, jobs: Vec<NewJob>) -> impl Future<Output = Result<()>> + Send;

    /// The batches that it does best.
    fn batches(&self) -> Batches;
}

/// How bulk is enqueued.
#[derive(Clone, Copy, Debug)]
pub struct Batches {
    /// Jobs in one.
    pub of: u64,
    /// How many are under way at once.
    pub at_once: u64,
}

/// Enqueues what was told, and measures it.
///
/// # Errors
///
/// The first that the peer returns.
pub async fn produce<P: Producer>(told: &Produce, producer: P) -> Result<Span> {
    let (began_ns, cpu) = (monotonic_ns(), cpu_us());
    match told.shape {
        Shape::OneByOne => tasks(told, producer, 1).await?,
        Shape::Tasks { tasks: count } => tasks(told, producer, count).await?,
        Shape::Bulk => bulk(told, producer).await?,
        Shape::Paced { every_us } => paced(told, producer, Duration::from_micros(every_us)).await?,
        Shape::Open { rate } => open(told, producer, rate).await?,
    }
    Ok(Span { began_ns, ended_ns: monotonic_ns(), cpu_us: cpu_us() - cpu })
}

async fn tasks<P: Producer>(told: &Produce, producer: P, count: u64) -> Result<()> {
    let next = Arc::new(AtomicU64::new(told.first));
    let (end, at_ms) = (told.first + told.jobs, told.at_ms);
    let lane = |producer: P, next: Arc<AtomicU64>| async move {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                return Ok(());
            }
            producer.one(job(number, monotonic_ns(), at_ms)).await?;
        }
    };
    all((0..count).map(|_| lane(producer.clone(), next.clone()))).await
}

async fn bulk<P: Producer>(told: &Produce, producer: P) -> Result<()> {
    let Batches { of, at_once } = producer.batches();
    let next = Arc::new(AtomicU64::new(told.first));
    let (end, at_ms) = (told.first + told.jobs, told.at_ms);
    let lane = |producer: P, next: Arc<AtomicU64>| async move {
        loop {
            let first = next.fetch_add(of, Ordering::Relaxed);
            if first >= end {
                return Ok(());
            }
            let numbers = first..end.min(first + of);
            let due = monotonic_ns();
            let jobs = numbers.map(|number| job(number, due, at_ms)).collect();
            producer.bulk(jobs).await?;
        }
    };
    all((0..at_once).map(|_| lane(producer.clone(), next.clone()))).await
}

async fn paced<P: Producer>(told: &Produce, producer: P, every: Duration) -> Result<()> {
    let mut ticks = tokio::time::interval(every);
    for number in told.first..told.first + told.jobs {
        ticks.tick().await;
        producer.one(job(number, monotonic_ns(), told.at_ms)).await?;
    }
    Ok(())
}

/// A thread keeps the time, as tokio's timer is a millisecond coarse. No job waits for another.
async fn open<P: Producer>(told: &Produce, producer: P, rate: f64) -> Result<()> {
    let (send, mut receive) = mpsc::unbounded_channel();
    let (first, jobs) = (told.first, told.jobs);
    let began = monotonic_ns() + 10_000_000;
    thread::spawn(move || {
        for place in 0..jobs {
            let due = began + (place as f64 / rate * 1e9) as u64;
            let early = due.saturating_sub(monotonic_ns());
            if early > 0 {
                thread::sleep(Duration::from_nanos(early));
            }
            if send.send((first + place, due)).is_err() {
                return;
            }
        }
    });
    let mut under_way = JoinSet::new();
    while let Some((number, due)) = receive.recv().await {
        let (producer, at_ms) = (producer.clone(), told.at_ms);
        under_way.spawn(async move { producer.one(job(number, due, at_ms)).await });
        while let Some(ended) = under_way.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    Ok(())
}

/// Runs the lanes on tasks of their own, unless there is but one.
async fn all<F>(lanes: impl Iterator<Item = F>) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut lanes: Vec<F> = lanes.collect();
    if lanes.len() == 1
        && let Some(lane) = lanes.pop()
    {
        return lane.await;
    }
    let mut under_way: JoinSet<Result<()>> = lanes.into_iter().collect();
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    Ok(())
}

pub(crate) fn job(number: u64, due: u64, at_ms: Option<u64>) -> NewJob {
    NewJob { payload: Payload::new(number, due), at_ms }
}
