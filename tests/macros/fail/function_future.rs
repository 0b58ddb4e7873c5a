//! A handler that cannot move between threads.

use std::rc::Rc;

use shiftwork::job;

#[job]
async fn not_send() {
    let here = Rc::new(7);
    std::future::ready(()).await;
    let _ = here;
}

fn main() {}
