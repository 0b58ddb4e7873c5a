//! The whole of it in one program: digests every file under a directory, each as a job of its own,
//! and reports.
//!
//! ```text
//! cargo run --example quickstart               # the sources and documents of this repository
//! cargo run --example quickstart -- DIR        # what is under DIR
//! cargo run --example quickstart -- --stay     # goes on until Ctrl-C, and stops gracefully
//! ```
//!
//! 1. `jobs.rs`: `digest_file`, a job a file; some are made to fail. `report`, run by hand from
//!    code, made of the stored results of the others. `progress`, on a schedule.
//! 2. `input.rs`: which files.
//! 3. `output.rs`: what is shown; retries and dead letters come from the tracing events that
//!    every settled attempt leaves.

// An example exports nothing.
#![allow(unreachable_pub)]

mod input;
mod jobs;
mod output;

use std::process::ExitCode;
use std::time::Instant;

use shiftwork::prelude::*;
use shiftwork::{JobId, Role};
use shiftwork_jobs::data_retention::{
    DataRetention, ExpiredFiles, RetentionReport, RetentionTargets,
};
use shiftwork_jobs::days;

use crate::input::{Arguments, Input, Specimens};
use crate::jobs::{DigestFile, Report, ReportRequest, report};
use crate::output::Screen;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Outcome<()> {
    let Some(arguments) = Arguments::read(std::env::args().skip(1))? else { return Ok(()) };
    let screen = Screen::new();
    let specimens = Specimens::create()?;
    let input = Input::gather(&arguments, &specimens)?;

    let jobs =
        Jobs::from_env()
            .state(screen.clone())
            .state(RetentionTargets::new().with(
                ExpiredFiles::in_dir(specimens.backups()).older_than(days(30)).named("backups"),
            ))
            .start()
            .await?;
    let health = jobs.health().await;
    screen.line(format!("shiftwork: provider {}, role {}", health.provider, health.role));
    if matches!(health.role, Role::Worker | Role::Async | Role::Cron) && health.provider != "memory"
    {
        // With a store that processes share, this one works for another that enqueues.
        return Ok(jobs.run_until_shutdown().await?);
    }
    digest_and_report(&jobs, &screen, input).await?;
    if arguments.stay {
        // Polled in this order: when it is told, signals are listened for.
        let staying = async { screen.line("Staying until Ctrl-C, which is a graceful stop.") };
        tokio::join!(jobs.run_until_shutdown(), staying).0?;
        screen.line("Stopped: nothing was running, nothing is lost.");
    } else {
        jobs.shutdown().await?;
    }
    Ok(())
}

async fn digest_and_report(jobs: &Jobs, screen: &Screen, input: Input) -> Outcome<()> {
    screen.line(format!("Digesting {}, each as a job in the queue \"files\".", input.describe()));
    let began = Instant::now();
    // What is enqueued together is found together: by its correlation id.
    let batch = JobId::new(shiftwork::Timestamp::now(), std::array::from_fn(|_| fastrand::u8(..)));
    let mut runs = Vec::new();
    for files in input.files.chunks(1000) {
        let digests = files.iter().map(|path| {
            DigestFile { path: path.clone() }
                .job()
                .correlation_id(batch.to_string())
                .keep_result(hours(1))
        });
        runs.extend(jobs.enqueue_many(digests).await?);
        screen.expect(runs.len());
    }
    for run in &runs {
        while let RunStatus::Pending(_) = run.result(minutes(1)).await? {}
    }
    let took = began.elapsed();
    screen.finish();

    let cleaned = jobs.trigger(DataRetention::default().job()).await?;
    if let RunStatus::Finished(result) = cleaned.result(minutes(1)).await?
        && let Some(retention) = result.data::<RetentionReport>()?
    {
        for target in &retention.targets {
            screen.line(format!(
                "data-retention (from shiftwork-jobs): {} of {} old {} deleted",
                target.deleted, target.expired, target.name
            ));
        }
    }
    let request = ReportRequest { batch: batch.to_string(), root: input.root };
    let run = jobs.trigger(report::job(request)).await?;
    match run.result(minutes(1)).await? {
        RunStatus::Finished(result) if result.success => {
            let report = result.data::<Report>()?.unwrap_or_default();
            screen.report(&report, took, run.id());
        }
        other => screen.line(format!("the report could not be made: {other:?}")),
    }
    Ok(())
}
