//! What is stored of a job: a header of fixed width that scripts read by offset, then what was
//! enqueued, then the report of the last attempt. `scripts/lib/envelope.lua` draws it.
//!
//! The body that was enqueued never changes:
//!
//! ```text
//!  4 bytes  its length, these four not counted
//!  1 byte   length of the job's name, then the name
//!  4 bytes  length of the options, then the options, as JSON; none: 0
//!  the rest the payload, as it was given
//! ```
//!
//! Numbers are big-endian.

use std::borrow::Cow;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize};
use shiftwork_adapter::{
    AttemptReport, Claimed, Due, Firing, JobId, JobName, JobRecord, JobSpec, JobState, Payload,
    Priority, Provenance, QueueName, Schedule, ScheduleId, ScheduledBy, Timestamp,
};

/// The version of all that is stored.
pub(crate) const VERSION: u8 = 1;

/// How long the header is.
const HEADER: usize = 49;

/// Lua's numbers are whole up to here; so are the times in headers. Later than that is never.
const MAX_MS: i64 = (1 << 53) - 1;

/// What is rare about a job.
#[derive(Serialize, Deserialize)]
struct Options<Id> {
    /// Its schedule and occurrence, in ms: in front of all others, where `scripts/lib/ends.lua` looks
    /// for it. They are missing in the provenance, which is [`Provenance::of_occurrence`] where it is
    /// left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<(Id, i64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempts: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_result_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provenance: Option<Box<Provenance>>,
}

/// A job on its way into the store.
pub(crate) struct NewJob<'a> {
    pub(crate) kind: Kind,
    spec: Cow<'a, JobSpec>,
    /// What is rare about it, written; mostly nothing.
    options: Vec<u8>,
}

/// What the header of a new job is made of. Jobs of one kind that follow each other share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) priority: Priority,
    /// 0: not kept for its result.
    pub(crate) keep_ms: u64,
    /// `N`, `A` or `T`.
    pub(crate) due: char,
    pub(crate) due_ms: i64,
}

impl<'a> NewJob<'a> {
    pub(crate) fn new(spec: JobSpec) -> Self {
        Self::of(Cow::Owned(spec))
    }

    /// The job that a firing makes, if it makes one.
    pub(crate) fn fired(firing: &'a Firing, schedule: &Schedule) -> Self {
        Self::of(match &firing.job {
            Some(job) => Cow::Borrowed(job),
            None => Cow::Owned(schedule.occurring(firing.run.unwrap_or(firing.occurrence))),
        })
    }

    fn of(spec: Cow<'a, JobSpec>) -> Self {
        let (due, due_ms) = match spec.due {
            Due::Now => ('N', 0),
            Due::After(delay) => {
                ('A', i64::try_from(millis(delay)).map_or(MAX_MS, |ms| ms.min(MAX_MS)))
            }
            Due::At(at) => ('T', at.as_millis().clamp(0, MAX_MS)),
        };
        let keep_ms = spec.keep_result.map_or(0, millis).min(MAX_MS.unsigned_abs() / 2);
        let kind = Kind { priority: spec.priority, keep_ms, due, due_ms };
        Self { kind, options: options(&spec), spec }
    }

    pub(crate) fn id(&self) -> JobId {
        self.spec.id
    }

    /// How long its body is.
    pub(crate) fn body_len(&self) -> usize {
        4 + self.len_after()
    }

    /// The body, written.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.body_len());
        self.put_body(&mut body);
        body
    }

    /// Writes the body.
    pub(crate) fn put_body(&self, body: &mut impl BufMut) {
        let name = self.spec.name.as_str().as_bytes();
        body.put_u32(u32_of(self.len_after()));
        // A name has at most 100 bytes.
        body.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        body.put_slice(name);
        body.put_u32(u32_of(self.options.len()));
        body.put_slice(&self.options);
        body.put_slice(self.spec.payload.as_bytes());
    }

    /// The length that a body begins with.
    fn len_after(&self) -> usize {
        1 + self.spec.name.as_str().len() + 4 + self.options.len() + self.spec.payload.len()
    }
}

impl Kind {
    /// Whether its end must be read to see how long it is kept: bit 0 of its stamp.
    pub(crate) fn is_kept(&self) -> bool {
        self.keep_ms > 0
    }

    /// The header of a job that is accepted at `now` and due then.
    pub(crate) fn header(&self, now: Timestamp) -> [u8; HEADER] {
        let now = now.as_millis().to_be_bytes();
        let mut header = [0; HEADER];
        header[0] = VERSION;
        header[1] = b'P';
        header[2] = b'0' + self.priority as u8;
        header[3..5].copy_from_slice(b"--");
        header[8] = u8::from(self.is_kept());
        header[17..25].copy_from_slice(&now);
        header[25..33].copy_from_slice(&now);
        header[41..49].copy_from_slice(&self.keep_ms.to_be_bytes());
        header
    }
}

fn options(spec: &JobSpec) -> Vec<u8> {
    let JobSpec { id, due, attempts, timeout, keep_result, provenance, .. } = spec;
    let plain = *due == Due::Now
        && attempts.is_none()
        && timeout.is_none()
        && keep_result.is_none()
        && provenance.is_none();
    if plain {
        return Vec::new();
    }
    let by = provenance.as_ref().and_then(|said| said.schedule.as_ref());
    let said = provenance.as_ref().filter(|said| by.is_none() || !goes_without_saying(said, *id));
    let mut said = said.cloned();
    if let Some(said) = &mut said {
        said.schedule = None;
    }
    let options = Options {
        by: by.map(|by| (&by.schedule, by.occurrence.as_millis())),
        due_after_ms: if let Due::After(delay) = due { Some(millis(*delay)) } else { None },
        due_at_ms: if let Due::At(at) = due { Some(at.as_millis()) } else { None },
        attempts: *attempts,
        timeout_ms: timeout.map(millis),
        keep_result_ms: keep_result.map(millis),
        provenance: said,
    };
    // There is no map in it whose keys could be no strings, and writing to memory does not fail.
    serde_json::to_vec(&options).unwrap_or_default()
}

/// Whether it is what a schedule says of the job of an occurrence.
fn goes_without_saying(said: &Provenance, job: JobId) -> bool {
    let Provenance { scope: None, actor: Some(actor), correlation_id: Some(correlated), .. } = said
    else {
        return false;
    };
    let mut id = [0; 36];
    actor == "system"
        && said.traceparent.is_none()
        && write!(&mut id[..], "{job}").is_ok()
        && correlated.as_bytes() == id
}

/// Whole milliseconds, rounded up.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn u32_of(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A stored job, read.
pub(crate) struct Stored {
    pub(crate) header: Header,
    pub(crate) spec: Arc<JobSpec>,
    report: Option<Arc<AttemptReport>>,
}

/// The header of a stored job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    priority: u8,
    pub(crate) cancel_requested: bool,
    pub(crate) solo: bool,
    pub(crate) stamp: u32,
    pub(crate) attempts: u32,
    pub(crate) crashes: u32,
    enqueued_at: i64,
    due_at: i64,
    finished_at: i64,
}

/// Why a stored job cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) String);

impl Stored {
    /// Reads what is stored under `id`.
    pub(crate) fn read(id: JobId, envelope: Vec<u8>) -> Result<Self, Unreadable> {
        Self::read_after(&mut None, id, envelope)
    }

    /// The same, after another, whose name this one often has: many of them then share one text.
    pub(crate) fn read_after(
        name_before: &mut Option<JobName>,
        id: JobId,
        envelope: Vec<u8>,
    ) -> Result<Self, Unreadable> {
        let envelope = Bytes::from(envelope);
        let header = Header::read(&envelope)?;
        let mut rest = Reader(&envelope[HEADER..]);
        let len = rest.u32()?;
        let mut body = Reader(rest.take(len)?);
        let name_len = body.u8()?;
        let name = body.take(name_len)?;
        let options_len = body.u32()?;
        let options = body.take(options_len)?;
        let payload = envelope.slice_ref(body.0);

        let name = match name_before {
            Some(before) if before.as_str().as_bytes() == name => before.clone(),
            _ => {
                let name = std::str::from_utf8(name)
                    .map_err(|_| "its name is no text".to_owned())
                    .and_then(|name| JobName::new(name).map_err(|fault| fault.to_string()))
                    .map_err(Unreadable)?;
                name_before.insert(name).clone()
            }
        };
        let mut spec = JobSpec::new(id, name, Payload::from_json_bytes(payload));
        spec.priority = header.priority()?;
        if !options.is_empty() {
            let options: Options<ScheduleId> = serde_json::from_slice(options)
                .map_err(|fault| Unreadable(format!("its options: {fault}")))?;
            spec.due = match options {
                Options { due_at_ms: Some(at), .. } => Due::At(Timestamp::from_millis(at)),
                Options { due_after_ms: Some(ms), .. } => Due::After(Duration::from_millis(ms)),
                _ => Due::Now,
            };
            spec.attempts = options.attempts;
            spec.timeout = options.timeout_ms.map(Duration::from_millis);
            spec.keep_result = options.keep_result_ms.map(Duration::from_millis);
            spec.provenance = options.provenance;
            if let Some((schedule, occurrence)) = options.by {
                let occurrence = Timestamp::from_millis(occurrence);
                let said =
                    spec.provenance.get_or_insert_with(|| Provenance::of_occurrence(id).into());
                said.schedule = Some(ScheduledBy { schedule, occurrence });
            }
        }
        let report = match rest.0 {
            [] => None,
            // What a newer version says of an attempt need not keep this one from running the next.
            report => serde_json::from_slice(report).ok().map(Arc::new),
        };
        Ok(Self { header, spec: Arc::new(spec), report })
    }

    /// As a worker is given it.
    pub(crate) fn to_claimed(&self) -> Claimed {
        let Header { stamp, attempts, crashes, solo, .. } = self.header;
        let mut claimed = Claimed::new(self.spec.clone(), stamp.into(), self.enqueued_at());
        claimed.attempts = attempts;
        claimed.crashes = crashes;
        claimed.due_at = self.due_at();
        claimed.solo = solo;
        claimed
    }

    /// As others see it; a pending job's state is where it is found.
    pub(crate) fn to_record(&self, queue: &QueueName, state: JobState) -> JobRecord {
        let mut record = JobRecord::new(queue.clone(), self.spec.clone(), self.enqueued_at());
        record.state = state;
        record.generation = self.header.stamp.into();
        record.attempts = self.header.attempts;
        record.crashes = self.header.crashes;
        record.due_at = self.due_at();
        record.cancel_requested = self.header.cancel_requested;
        record.last_attempt.clone_from(&self.report);
        if state.is_finished() {
            record.finished_at = Some(Timestamp::from_millis(self.header.finished_at));
        }
        record
    }

    fn enqueued_at(&self) -> Timestamp {
        Timestamp::from_millis(self.header.enqueued_at)
    }

    /// The time in the header; what that cannot state, as it was enqueued.
    fn due_at(&self) -> Timestamp {
        match (self.header.due_at, self.spec.due) {
            (0 | MAX_MS, Due::At(at)) => at,
            (MAX_MS, due) => due.at(self.enqueued_at()),
            (ms, _) => Timestamp::from_millis(ms),
        }
    }
}

impl Header {
    /// Reads the first bytes of an envelope.
    pub(crate) fn read(envelope: &[u8]) -> Result<Self, Unreadable> {
        match envelope.first() {
            Some(&VERSION) => {}
            Some(&version) if version > VERSION => {
                return Err(Unreadable(format!(
                    "it is of format {version}, and this program knows up to {VERSION}: a newer \
                     shiftwork wrote it; upgrade this program too"
                )));
            }
            _ => return Err(Unreadable("it is no envelope of a job".into())),
        }
        let Some((header, _)) = envelope.split_at_checked(HEADER) else {
            return Err(Unreadable(format!("it has {} bytes, less than a header", envelope.len())));
        };
        let u32_at = |at: usize| {
            header[at..at + 4].iter().fold(0, |number: u32, &byte| number << 8 | u32::from(byte))
        };
        let ms_at = |at: usize| {
            header[at..at + 8].iter().fold(0, |number: i64, &byte| number << 8 | i64::from(byte))
        };
        Ok(Self {
            priority: header[2],
            cancel_requested: header[3] == b'c',
            solo: header[4] == b's',
            stamp: u32_at(5),
            attempts: u32_at(9),
            crashes: u32_at(13),
            enqueued_at: ms_at(17),
            due_at: ms_at(25),
            finished_at: ms_at(33),
        })
    }

    fn priority(&self) -> Result<Priority, Unreadable> {
        let place = usize::from(self.priority.wrapping_sub(b'0'));
        Priority::ALL
            .get(place)
            .copied()
            .ok_or_else(|| Unreadable(format!("its priority is {:?}", char::from(self.priority))))
    }
}

/// The state that a script names.
pub(crate) fn state(name: u8) -> Option<JobState> {
    Some(match name {
        b'W' => JobState::Waiting,
        b'D' => JobState::Delayed,
        b'A' => JobState::Active,
        b'C' => JobState::Completed,
        b'X' => JobState::Dead,
        b'K' => JobState::Cancelled,
        _ => return None,
    })
}

/// How long an entry is.
pub(crate) const ENTRY: usize = 20;

/// Id and stamp, as lists and sets have them.
pub(crate) fn entry(id: JobId, generation: u64) -> Option<[u8; ENTRY]> {
    let stamp = u32::try_from(generation).ok()?;
    let mut entry = [0; ENTRY];
    entry[..16].copy_from_slice(id.as_bytes());
    entry[16..].copy_from_slice(&stamp.to_be_bytes());
    Some(entry)
}

/// The id and stamp of an entry.
pub(crate) fn read_entry(entry: &[u8]) -> Option<(JobId, u64)> {
    let (id, stamp) = entry.split_first_chunk::<16>()?;
    let stamp: [u8; 4] = stamp.try_into().ok()?;
    Some((JobId::from_bytes(*id), u32::from_be_bytes(stamp).into()))
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) =
            self.0.split_at_checked(len).ok_or_else(|| Unreadable("it is cut off".into()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<usize, Unreadable> {
        Ok(self.take(1)?[0].into())
    }

    fn u32(&mut self) -> Result<usize, Unreadable> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }
}
