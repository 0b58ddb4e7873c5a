//! Functions whose names cannot be names of jobs.

use shiftwork::job;

#[job]
async fn _private() {}

#[job]
async fn grüße() {}

// Another name mends it.
#[job(name = "greetings")]
async fn grüße_auch() {}

fn main() {}
