//! Functions that cannot be jobs.

use shiftwork::job;

#[job]
async fn generic<T: serde::de::DeserializeOwned>(payload: T)
where
    T: Send,
{
    let _ = payload;
}

#[job]
async unsafe fn not_safe() {}

#[job]
extern "C" fn foreign() {}

struct Service;

impl Service {
    #[job]
    async fn method(&self) {}
}

fn main() {}
