//! What every job carries: 100 bytes of JSON, typed.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// How long a payload is as JSON, to the byte.
pub const PAYLOAD_BYTES: usize = 100;

/// The payload of every job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Payload {
    /// Which job of the run it is, from 0.
    pub number: u64,
    /// What its delay is counted from: `CLOCK_MONOTONIC` in nanoseconds.
    pub due: u64,
    /// As long as it takes.
    pub pad: String,
}

impl Payload {
    /// The payload of a job, padded to [`PAYLOAD_BYTES`].
    pub fn new(number: u64, due: u64) -> Self {
        let bare = r#"{"number":,"due":,"pad":""}"#.len() + digits(number) + digits(due);
        let pad = "x".repeat(PAYLOAD_BYTES - bare);
        Self { number, due, pad }
    }

    /// Writes it as JSON, for who needs no serializer for that.
    pub fn write(&self, into: &mut String) {
        let Self { number, due, pad } = self;
        write!(into, r#"{{"number":{number},"due":{due},"pad":"{pad}"}}"#)
            .expect("a string takes all that is written");
    }
}

/// A job that is to be enqueued.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What it carries.
    pub payload: Payload,
    /// When it becomes due, in milliseconds since 1970; `None`: at once.
    pub at_ms: Option<u64>,
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_100_bytes_of_json_however_large_its_numbers() {
        for (number, due) in [(0, 0), (9, 10), (1_000_000, 12_345_678_901_234), (99, u64::MAX)] {
            let payload = Payload::new(number, due);
            let json = serde_json::to_string(&payload).unwrap();
            assert_eq!(json.len(), PAYLOAD_BYTES, "{json}");
            let mut written = String::new();
            payload.write(&mut written);
            assert_eq!(written, json);
        }
    }
}
