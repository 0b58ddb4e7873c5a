//! Mistakes in the use of a job, where it is used.

use shiftwork::job;

#[job]
async fn welcome_email(user_id: u64) {
    let _ = user_id;
}

fn main() {
    let _ = welcome_email::job("7");
    let _ = welcome_email::job();
}
