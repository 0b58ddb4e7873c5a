//! An option that does not exist.

use shiftwork::job;

#[job(attemps = 3, colour = "red")]
async fn unknown() {}

#[job(retries = 3)]
async fn known_elsewhere() {}

fn main() {
    // The job is there all the same: one slip is one error.
    let _ = unknown::job();
}
