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
    overlap = "queue",
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

#[job(attempts = "three", timeout = "five minutes", backoff = "exponential(soon)")]
async fn more() {}

fn main() {}
