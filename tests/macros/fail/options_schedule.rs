//! Options that do not go together.

use shiftwork::job;

#[job(cron = "0 3 * * *", every = "1h")]
async fn two_timings() {}

#[job(timezone = "Europe/Berlin", overlap = "skip", misfire = "once")]
async fn no_timing() {}

#[job(every = "1h", timezone = "Europe/Berlin")]
async fn a_zone_for_an_interval() {}

#[job(cron = "0 3 * * *")]
async fn nobody_gives_the_payload(words: Vec<String>) {
    let _ = words;
}

#[job(every = "1h")]
async fn nor_here(ctx: shiftwork::JobContext, count: u64) {
    let _ = (ctx, count);
}

fn main() {}
