//! Values that are not what the option takes: all are reported, each at its place.

use shiftwork::job;

#[job(
    name = "",
    queue = "mail:out",
    attempts = 0,
    timeout = "30",
    priority = "hihg",
    backoff = "fixed",
    every = "0s",
    overlap = "queued",
    misfire = "twice"
)]
async fn every_one() {}

#[job(
    queue = "_mail",
    attempts = -1,
    timeout = 30,
    priority = high,
    backoff = "linear(2s)",
    cron = "",
    timezone = "",
    redact = "mask"
)]
async fn every_other_one(payload: Option<u8>) {
    let _ = payload;
}

#[job(every = "1h", starts = "", ends = 2027, limit = 0, jitter = "5", misfire_within = soon)]
async fn bounded() {}

#[job(limit = 3, jitter = "5s")]
async fn without_a_timing() {}

#[job(attempts = "three", timeout = "five minutes", backoff = "exponential(soon)")]
async fn more() {}

fn main() {}
