//! Timers of this process that fire every second.

mod intervals;
mod shiftwork;
mod tokio_cron_scheduler;

pub(crate) use intervals::Intervals;
pub(crate) use shiftwork::Shiftwork;
pub(crate) use tokio_cron_scheduler::TokioCronScheduler;
