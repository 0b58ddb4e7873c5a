//! What is said by an option and in the impl too.

use serde::{Deserialize, Serialize};
use shiftwork::{Job, JobDefinition, job};

#[derive(Serialize, Deserialize)]
struct Report;

#[job(name = "weekly", queue = "reports", attempts = 2, redact = mask)]
impl Job for Report {
    const NAME: &'static str = "report";

    async fn run(self) {}

    fn configure(definition: JobDefinition) -> JobDefinition {
        definition.queue("mail")
    }
}

fn main() {}
