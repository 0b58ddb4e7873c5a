//! The jobs, each in a queue of its own. All of them record what they do, and answer the id of
//! the process that did it.

use std::process;
use std::time::Duration;

use shiftwork::JobsBuilder;
use shiftwork::prelude::*;

use crate::journal::{Event, record};

/// Runs for a moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Brief {
    /// For how long.
    pub ms: u64,
}

/// The queue of [`Brief`].
pub const BRIEF: &str = "brief";

#[job(queue = "brief")]
impl Job for Brief {
    async fn run(self, ctx: JobContext) -> Result<u32, JobError> {
        record(Event::Start, &ctx);
        if self.ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.ms)).await;
        }
        Ok(process::id())
    }
}

/// Runs for as long as it says, and for another time once a worker has vanished with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slow {
    /// For how long, the first time.
    pub ms: u64,
    /// For how long, once it has crashed.
    pub ms_after_crash: u64,
    /// What it does where it is told to stop.
    pub told_to_stop: Told,
}

/// What a handler answers that is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// That it leaves its work.
    Leaves,
    /// That it has succeeded all the same. Where its lease is lost, nobody must believe that.
    Insists,
}

/// The queue of [`Slow`].
pub const SLOW: &str = "slow";

#[job(queue = "slow")]
impl Job for Slow {
    async fn run(self, ctx: JobContext) -> Result<u32, JobError> {
        record(Event::Start, &ctx);
        let ms = if ctx.crashes() == 0 { self.ms } else { self.ms_after_crash };
        tokio::select! {
            () = ctx.cancelled() => {
                record(Event::Stop, &ctx);
                if self.told_to_stop == Told::Leaves {
                    return Err(JobError::interrupted());
                }
            }
            () = tokio::time::sleep(Duration::from_millis(ms)) => record(Event::End, &ctx),
        }
        Ok(process::id())
    }
}

/// Ends its process, a moment after it began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Poison {
    /// After how long.
    pub after_ms: u64,
}

#[job(queue = "slow")]
impl Job for Poison {
    async fn run(self, ctx: JobContext) -> Result<u32, JobError> {
        record(Event::Start, &ctx);
        tokio::time::sleep(Duration::from_millis(self.after_ms)).await;
        process::abort()
    }
}

/// Blocks the thread of the runtime on which it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hog {
    /// For how long.
    pub ms: u64,
}

/// The queue of [`Hog`].
pub const HOGS: &str = "hogs";

#[job(queue = "hogs")]
impl Job for Hog {
    async fn run(self, ctx: JobContext) -> Result<u32, JobError> {
        record(Event::Start, &ctx);
        std::thread::sleep(Duration::from_millis(self.ms));
        record(Event::End, &ctx);
        Ok(process::id())
    }
}

/// Answers which process it ran in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Whereabouts;

#[job(queue = "questions")]
impl Job for Whereabouts {
    async fn run(self, ctx: JobContext) -> Result<u32, JobError> {
        record(Event::Start, &ctx);
        Ok(process::id())
    }
}

/// Declares what a release of the program has in its code: both have `kept`, and `changed` in two
/// ways; the first has `old`, the second `new`. None is due while tests run.
pub fn declare(jobs: JobsBuilder, release: &str) -> JobsBuilder {
    let declared = match release {
        "1" => [("kept", "0 0 1 1 *"), ("changed", "0 4 1 1 *"), ("old", "0 2 1 1 *")],
        _ => [("kept", "0 0 1 1 *"), ("changed", "0 5 1 1 *"), ("new", "0 3 1 1 *")],
    };
    let whereabouts = || Whereabouts.job();
    declared.into_iter().fold(jobs, |jobs, (id, pattern)| {
        jobs.schedule(NewSchedule::cron(id, pattern, whereabouts()))
    })
}

/// The queue of [`fn@tick`].
pub const TICKS: &str = "ticks";

/// Records its occurrence.
#[job(queue = "ticks", every = "1s", overlap = "allow", misfire = "all")]
pub async fn tick(ctx: JobContext) -> Result<u32, JobError> {
    record(Event::Start, &ctx);
    Ok(process::id())
}
