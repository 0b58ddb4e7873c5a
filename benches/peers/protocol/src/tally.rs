//! What handlers tell: which jobs began, when, how often, and how many completed.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::clock::{cpu_us, monotonic_ns};
use crate::report::Span;
use crate::told::Work;

/// One record of the log: the job's number, when its handler began, and what its delay is counted
/// from, each as a `u64`, the lowest byte first.
const RECORD: usize = 24;

/// Shared by the handlers of a worker. It costs each of them a few tens of nanoseconds, the same
/// for every contender.
#[derive(Debug)]
pub struct Tally {
    expected: u64,
    fail_first: bool,
    timed: bool,
    /// How often each job has begun.
    begun: Box<[AtomicU8]>,
    records: Box<[[AtomicU64; 3]]>,
    recorded: AtomicUsize,
    completed: AtomicU64,
    first: OnceLock<(u64, u64)>,
    last: OnceLock<(u64, u64)>,
    done: Notify,
    /// After how many completed handlers the process dies, and where the log is.
    dies: Option<(u64, PathBuf)>,
    /// Who waits in [`reach`](Self::reach) is told at so many completed jobs.
    wanted: AtomicU64,
    reached: Notify,
}

/// What the first attempt of a job ends with, where it is told to fail.
#[derive(Clone, Copy, Debug)]
pub struct Failed;

impl Tally {
    /// For a worker that was told this.
    pub fn new(told: &Work) -> Self {
        let numbers = told.numbers as usize;
        // Twice for retries, and some for what is delivered more often than it should be.
        let records = numbers * if told.fail_first { 2 } else { 1 } + numbers / 10 + 1000;
        Self {
            expected: told.expected,
            fail_first: told.fail_first,
            timed: told.timed,
            begun: (0..numbers).map(|_| AtomicU8::new(0)).collect(),
            records: (0..records).map(|_| Default::default()).collect(),
            recorded: AtomicUsize::new(0),
            completed: AtomicU64::new(0),
            first: OnceLock::new(),
            last: OnceLock::new(),
            done: Notify::new(),
            dies: told.dies_after.map(|count| (count, told.log.clone())),
            wanted: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
        }
    }

    /// What is measured begins now, and not with the first handler: for a peer that has something
    /// to do before it.
    pub fn begin(&self) {
        self.first.get_or_init(|| (monotonic_ns(), cpu_us()));
    }

    /// What every contender's handler does with its payload, and all that it does.
    ///
    /// # Errors
    ///
    /// The first attempt of a job, where it was told to fail.
    pub fn run(&self, number: u64, due: u64) -> Result<(), Failed> {
        self.begin();
        if let Some((count, log)) = &self.dies
            && self.completed() >= *count
        {
            self.die(log);
        }
        let now = if self.timed { monotonic_ns() } else { 0 };
        // What finds no place shows in the log as missing, or in the count as too many.
        let place = self.recorded.fetch_add(1, Ordering::Relaxed);
        if let Some([n, began, from]) = self.records.get(place) {
            n.store(number, Ordering::Relaxed);
            began.store(now, Ordering::Relaxed);
            from.store(due, Ordering::Relaxed);
        }
        if self.fail_first {
            let begun = self.begun.get(number as usize);
            if begun.is_some_and(|begun| begun.fetch_add(1, Ordering::Relaxed) == 0) {
                return Err(Failed);
            }
        }
        let completed = self.completed.fetch_add(1, Ordering::SeqCst) + 1;
        if completed >= self.wanted.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
        if completed == self.expected {
            self.last.get_or_init(|| (monotonic_ns(), cpu_us()));
            self.done.notify_one();
        }
        Ok(())
    }

    /// Ends the process here and now, by a signal.
    fn die(&self, log: &Path) -> ! {
        if let Err(error) = self.write_log(log) {
            eprintln!("{}: {error}", log.display());
        }
        std::process::abort()
    }

    /// Waits for as many completed handlers as were expected.
    pub async fn done(&self) -> Span {
        loop {
            if let (Some(first), Some(last)) = (self.first.get(), self.last.get()) {
                return Span { began_ns: first.0, ended_ns: last.0, cpu_us: last.1 - first.1 };
            }
            self.done.notified().await;
        }
    }

    /// How many handlers have completed.
    pub fn completed(&self) -> u64 {
        self.completed.load(Ordering::SeqCst)
    }

    /// Waits for so many completed handlers. There is one who waits.
    pub(crate) async fn reach(&self, count: u64) {
        // Before it looks: a job that completes in between tells it.
        self.wanted.store(count, Ordering::SeqCst);
        while self.completed() < count {
            self.reached.notified().await;
        }
    }

    /// Appends to the log of deliveries. It is one write, so that workers can share a log.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_log(&self, path: &Path) -> io::Result<()> {
        let recorded = self.recorded.load(Ordering::Acquire).min(self.records.len());
        let words = self.records[..recorded].iter().flatten();
        let bytes: Vec<u8> =
            words.flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        File::options().create(true).append(true).open(path)?.write_all(&bytes)
    }
}

/// The records of a log: number, start, and what the delay is counted from.
///
/// # Errors
///
/// The file cannot be read.
pub fn read_log(path: &Path) -> io::Result<Vec<[u64; 3]>> {
    let bytes = fs::read(path)?;
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let record = |r: &[u8]| [word(&r[..8]), word(&r[8..16]), word(&r[16..])];
    Ok(bytes.chunks_exact(RECORD).map(record).collect())
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the first attempt fails, as it was told to")
    }
}

impl std::error::Error for Failed {}
