//! What the jobs of all processes did, in the order in which they did it: a file with a line for
//! each event.
//!
//! A line is written at once, to a file that is opened for appending. So those of many processes
//! do not mix, and a process that is killed has left all that it did.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::SystemTime;

use shiftwork::{JobContext, JobId, Timestamp};

/// The variable that says where the journal is.
pub const PATH: &str = "PROGRAM_JOURNAL";

/// The variable that says what the process is called.
pub const NAME: &str = "PROGRAM_NAME";

/// What happened to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its handler began.
    Start,
    /// Its handler came to its end.
    End,
    /// Its handler was told to stop.
    Stop,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// The name of the job.
    pub job: String,
    /// Its id.
    pub id: JobId,
    /// Which attempt it was.
    pub attempt: u32,
    /// How many crashes the job had when it was claimed.
    pub crashes: u32,
    /// What it was for: the occurrence of its schedule.
    pub scheduled_at: Timestamp,
    /// What the process is called.
    pub process: String,
    /// When, in microseconds since 1970.
    pub at_us: u64,
}

/// Writes a line, from inside a handler.
///
/// # Panics
/// If this process has no journal.
pub fn record(event: Event, ctx: &JobContext) {
    static JOURNAL: OnceLock<(File, String)> = OnceLock::new();
    let (file, process) = JOURNAL.get_or_init(|| {
        let path = std::env::var(PATH).expect("PROGRAM_JOURNAL says where the journal is");
        let file = File::options().append(true).create(true).open(path).expect("it can be opened");
        (file, std::env::var(NAME).unwrap_or_else(|_| std::process::id().to_string()))
    });
    let entry = Entry {
        event,
        job: ctx.name().to_string(),
        id: ctx.id(),
        attempt: ctx.attempt(),
        crashes: ctx.crashes(),
        scheduled_at: ctx.scheduled_at(),
        process: process.clone(),
        at_us: now_us(),
    };
    (&*file).write_all(format!("{entry}\n").as_bytes()).expect("the journal can be written");
}

/// All that was written so far.
///
/// # Errors
/// A line that is none, or a file that cannot be read; one that is not there has no lines.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    text.lines().map(|line| line.parse().map_err(io::Error::other)).collect()
}

/// Microseconds since 1970, by the machine's clock.
pub fn now_us() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("it is later than 1970");
    u64::try_from(since.as_micros()).expect("it is earlier than in half a million years")
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, job, id, attempt, crashes, scheduled_at, process, at_us } = self;
        let scheduled_ms = scheduled_at.as_millis();
        write!(f, "{event:?} {job} {id} {attempt} {crashes} {scheduled_ms} {process} {at_us}")
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let read = |line: &str| {
            let mut words = line.split(' ');
            let event = match words.next()? {
                "Start" => Event::Start,
                "End" => Event::End,
                "Stop" => Event::Stop,
                _ => return None,
            };
            Some(Self {
                event,
                job: words.next()?.to_owned(),
                id: words.next()?.parse().ok()?,
                attempt: words.next()?.parse().ok()?,
                crashes: words.next()?.parse().ok()?,
                scheduled_at: Timestamp::from_millis(words.next()?.parse().ok()?),
                process: words.next()?.to_owned(),
                at_us: words.next()?.parse().ok()?,
            })
        };
        read(line).ok_or_else(|| format!("this is no line of a journal: {line:?}"))
    }
}
