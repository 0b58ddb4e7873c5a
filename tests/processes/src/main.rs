//! A process of the application: what it does, `WORKER_ROLE` says. It logs to its standard error,
//! and ends as soon as its standard input does, so that none outlives its test.

use std::convert::Infallible;
use std::error::Error;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use shiftwork::Timestamp;
use shiftwork::adapter::{Clock, SystemClock};
use shiftwork::prelude::*;
// The jobs register themselves.
use shiftwork_process_tests as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    end_with_standard_input();
    let shown: Targets = std::env::var("PROGRAM_LOG")?.parse()?;
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(shown).init();
    let mut jobs = Jobs::from_env();
    if let Ok(off) = std::env::var("PROGRAM_CLOCK_OFF_S") {
        jobs = jobs.clock(Arc::new(Off { seconds: off.parse()? }));
    }
    if let Ok(release) = std::env::var("PROGRAM_RELEASE") {
        jobs = shiftwork_process_tests::jobs::declare(jobs, &release);
    }
    let jobs = jobs.start().await?;
    tokio::select! {
        biased;
        ended = jobs.run_until_shutdown() => Ok(ended?),
        // Polled once the other is: it listens for signals by now.
        never = ready() => match never {},
    }
}

/// Tells the tests that this process does what it is for, and ends when it is asked to.
async fn ready() -> Infallible {
    eprintln!("ready");
    std::future::pending().await
}

fn end_with_standard_input() {
    std::thread::spawn(|| {
        // It ends, or cannot be read: either way nobody is there any more.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::abort();
    });
}

/// A machine's clock that is wrong: ahead of all others by so much, or behind.
#[derive(Debug)]
struct Off {
    seconds: i64,
}

impl Clock for Off {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis() + self.seconds * 1000)
    }

    fn longest_sleep(&self) -> Option<Duration> {
        SystemClock.longest_sleep()
    }
}
