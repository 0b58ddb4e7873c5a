//! Payloads that cannot be stored, or not be read again.

use shiftwork::job;

struct Neither;

#[derive(serde::Serialize)]
struct OnlyWritten;

#[derive(serde::Deserialize)]
struct OnlyRead;

#[job]
async fn neither(payload: Neither) {
    let _ = payload;
}

#[job]
async fn only_written(payload: OnlyWritten) {
    let _ = payload;
}

#[job]
fn only_read(payload: OnlyRead) {
    let _ = payload;
}

fn main() {}
