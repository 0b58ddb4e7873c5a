//! The contenders without a server, in one program: the first argument says what is done, jobs or
//! timers, the second by whom.

mod jobs;
mod timers;

use std::process::ExitCode;

use peers_protocol::{play_in_process, play_timers};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).take(2).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["jobs", "shiftwork"] => play_in_process::<jobs::Shiftwork>(),
        ["jobs", "apalis-memory"] => play_in_process::<jobs::Apalis>(),
        ["jobs", "channel"] => play_in_process::<jobs::Channel>(),
        ["timers", "shiftwork"] => play_timers::<timers::Shiftwork>(),
        ["timers", "tokio-cron-scheduler"] => play_timers::<timers::TokioCronScheduler>(),
        ["timers", "intervals"] => play_timers::<timers::Intervals>(),
        _ => {
            eprintln!("no such contender: {arguments:?}");
            ExitCode::FAILURE
        }
    }
}
