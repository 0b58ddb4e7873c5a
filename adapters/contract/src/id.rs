//! Ids that machines choose: of jobs and of incarnations.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::{ScheduleId, Timestamp};

/// Says which job: a UUID made by whoever enqueues it, before anything is sent.
///
/// Version 7 (ordered by the time of making) for jobs that a program enqueues; version 8 for jobs
/// that a schedule makes: a hash of schedule and occurrence, so that an occurrence has one id
/// whoever computes it, or, where it is triggered by hand, chance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// A fresh id, of 48 bits of time and 74 of `random`.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        Self(Builder::from_unix_timestamp_millis(millis(now), &random).into_uuid())
    }

    /// The id of the job that `occurrence` of `schedule` makes.
    ///
    /// 122 bits of FNV-1a over the id, a zero byte and the milliseconds, high byte first: not
    /// for secrets, but the same on every machine and in every version from now on.
    pub fn of_occurrence(schedule: &ScheduleId, occurrence: Timestamp) -> Self {
        let id = schedule.as_str().bytes();
        let hash = fnv(id.chain([0]).chain(occurrence.as_millis().to_be_bytes()));
        Self(Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid())
    }

    /// A fresh id for a run of a schedule by hand, of 122 bits of `random`.
    pub fn by_hand(random: [u8; 16]) -> Self {
        Self(Builder::from_custom_bytes(random).into_uuid())
    }

    /// Whether it is an id of those that schedules make, at an occurrence or by hand. A caller's
    /// own id may look so.
    pub fn is_of_schedule(&self) -> bool {
        self.0.get_version_num() == 8
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes of the id, as they stand in keys.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

/// By their bytes. As numbers, they are compared at once and not byte by byte: searching for an id
/// is much of what a store in memory does.
impl Ord for JobId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_u128().cmp(&other.0.as_u128())
    }
}

impl PartialOrd for JobId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Uuid> for JobId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for JobId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| InvalidId { seen: text.chars().take(64).collect() })
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// 128 bits of FNV-1a.
pub(crate) fn fnv(bytes: impl Iterator<Item = u8>) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// One life of a worker in one queue: from its start, or from the loss of its lease, to the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(Uuid);

impl Incarnation {
    /// A fresh incarnation, of 48 bits of time and 74 of `random`.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        Self(Builder::from_unix_timestamp_millis(millis(now), &random).into_uuid())
    }

    /// The 16 bytes, as they stand in keys.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A text that is no job id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    seen: String,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a job id; use a UUID such as 0192f0c1-5b7a-7cc1-8f2e-3a5b6c7d8e9f (a key \
             of your own belongs in the payload)",
            self.seen
        )
    }
}

impl std::error::Error for InvalidId {}

fn millis(now: Timestamp) -> u64 {
    now.as_millis().max(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(id: &str) -> ScheduleId {
        ScheduleId::new(id).unwrap()
    }

    #[test]
    fn an_occurrence_has_one_id_wherever_it_is_computed() {
        let at = Timestamp::from_millis(1_772_330_400_000);
        let id = JobId::of_occurrence(&schedule("nightly"), at);
        // Fixed for good: another value would run an occurrence twice during a rollout.
        assert_eq!(id.to_string(), "b321ceea-7253-87ed-ada9-e268a2e2a288");
        assert_eq!(id, JobId::of_occurrence(&schedule("nightly"), at));
    }

    #[test]
    fn other_schedules_and_other_occurrences_have_other_ids() {
        let at = Timestamp::from_millis(1_000);
        let id = JobId::of_occurrence(&schedule("a"), at);
        assert_ne!(id, JobId::of_occurrence(&schedule("b"), at));
        assert_ne!(id, JobId::of_occurrence(&schedule("a"), Timestamp::from_millis(1_001)));
    }

    #[test]
    fn ids_made_later_sort_later() {
        let early = JobId::new(Timestamp::from_millis(1), [0xff; 10]);
        let late = JobId::new(Timestamp::from_millis(2), [0; 10]);
        assert!(early < late);
    }

    #[test]
    fn an_id_is_read_back_from_its_text_and_nonsense_is_refused() {
        let id = JobId::new(Timestamp::from_millis(1), [7; 10]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("order-17".parse::<JobId>().unwrap_err().to_string().contains("\"order-17\""));
    }
}
