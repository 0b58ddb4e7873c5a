//! Mistakes that only the compiler can see: names and types around a job.

use shiftwork::job;

#[job]
async fn welcome_email(user_id: u64) {
    let _ = user_id;
}

#[job(redact = without_address)]
async fn redacted(text: String) {
    let _ = text;
}

fn main() {
    let _ = welcome_email::job("7");
    let _ = welcome_email::job();
}
