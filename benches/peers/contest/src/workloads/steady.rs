//! What a job costs, enqueued and run, while as many wait as before: worker processes run jobs from
//! a queue that was filled, and enqueue another for each. What it took to start is not counted.

use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use peers_protocol::{Produce, Progress, Replace};

use super::jobs;
use crate::arena::{Arena, bulk};
use crate::entry::Entry;
use crate::process::Process;
use crate::server::Usage;

/// How long a run may take, and one with many jobs or queues: ten million jobs take their time, and
/// so do batches of which each job goes to another queue.
const LIMITS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];

/// From so many jobs on.
const MANY: u64 = 1_000_000;

/// What each worker process runs at once.
const CONCURRENCY: u64 = 100;

/// How many jobs are counted: of one that is fast, and of one that is slow.
const COUNTED: [u64; 2] = [100_000, 20_000];

/// From so many queues on, a fifth of them: there each call does little.
const QUEUES: u64 = 100;

/// A part of them runs before that, so that all that is needed once has been done.
const WARMING: u64 = 10;

/// How often the processes are asked how far they are: on the core that they work on.
const LOOK: Duration = Duration::from_millis(50);

/// How much there is of what a job's cost may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Jobs, over all queues.
    pub(crate) waiting: u64,
    /// Processes, each of which serves all queues.
    pub(crate) workers: u64,
    pub(crate) queues: u64,
}

/// Of a job.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    /// The server's CPU, microseconds.
    pub(crate) server: f64,
    /// That of all worker processes.
    pub(crate) client: f64,
    /// Calls of scripts.
    pub(crate) scripts: f64,
    pub(crate) version: String,
}

/// How long a run may take.
pub(crate) fn limit(setting: Setting) -> Duration {
    LIMITS[usize::from(setting.waiting >= MANY || setting.queues >= QUEUES)]
}

/// Lets as many jobs wait as there should.
pub(crate) fn fill(arena: &mut Arena, entry: &Entry, setting: Setting) -> Result<()> {
    arena.queues = setting.queues;
    arena.fill(entry, setting.waiting)
}

/// Measures, once it is filled.
pub(crate) fn cost(arena: &Arena, entry: &Entry, setting: Setting) -> Result<Cost> {
    let counted = jobs(entry, COUNTED[0], COUNTED[1]);
    // While others start and stop, a process runs more than are counted.
    let each = counted * 4;
    let counted = if setting.queues < QUEUES { counted } else { counted / 5 };
    let mut workers = start(arena, entry, setting, each)?;
    pass(&mut workers, counted / WARMING).context("warming")?;

    let (used, began) = (arena.usage(), progress(&mut workers)?);
    let ended = pass(&mut workers, counted).context("running")?;
    let used: Usage = arena.usage().since(&used);

    let version = workers.first().map(|worker| worker.version.clone()).unwrap_or_default();
    stop(&mut workers).context("stopping")?;
    let found = arena.deliveries(setting.waiting + setting.workers * each, 1)?;
    ensure!(found.again == 0, "{} run again", found.again);
    ensure!(found.unknown == 0, "{} run and never enqueued", found.unknown);
    let count = (ended.completed - began.completed) as f64;
    Ok(Cost {
        server: used.cpu * 1e6 / count,
        client: (ended.cpu_us - began.cpu_us) as f64 / count,
        scripts: used.scripts / count,
        version,
    })
}

/// Starts all processes at once: those that are there already would leave little of their core to
/// one that starts.
fn start(arena: &Arena, entry: &Entry, setting: Setting, each: u64) -> Result<Vec<Process>> {
    let start = |place: u64| {
        let produce = Produce { first: setting.waiting + place * each, ..bulk(each) };
        arena.replace(entry, Replace { work: arena.worker(CONCURRENCY, each), produce })
    };
    thread::scope(|scope| {
        let starting: Vec<_> =
            (0..setting.workers).map(|place| scope.spawn(move || start(place))).collect();
        starting.into_iter().map(joined).collect()
    })
}

/// Stops all at once: those that go on meanwhile would leave little to one that stops.
fn stop(workers: &mut [Process]) -> Result<()> {
    thread::scope(|scope| {
        let stopping: Vec<_> =
            workers.iter_mut().map(|worker| scope.spawn(|| worker.stop())).collect();
        stopping.into_iter().try_for_each(joined)
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("a thread of the run panicked")))
}

/// Waits until so many more jobs have been run.
fn pass(workers: &mut [Process], jobs: u64) -> Result<Progress> {
    let began = progress(workers)?;
    loop {
        let now = progress(workers)?;
        if now.completed >= began.completed + jobs {
            return Ok(now);
        }
        thread::sleep(LOOK);
    }
}

/// Of all processes together.
fn progress(workers: &mut [Process]) -> Result<Progress> {
    let mut sum = Progress::default();
    for worker in workers {
        let one = worker.progress()?;
        sum.completed += one.completed;
        sum.cpu_us += one.cpu_us;
    }
    Ok(sum)
}
