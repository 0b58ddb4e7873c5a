//! `#[job]` where it does not belong.

use shiftwork::job;

#[job]
struct Payload;

#[job]
impl Payload {}

#[job]
impl Default for Payload {
    fn default() -> Self {
        Self
    }
}

#[job]
mod jobs {}

fn main() {}
