//! Run a scheduled job by hand, from code, and wait for its result: `cargo run --example trigger`

use shiftwork::prelude::*;

#[derive(Debug, Serialize, Deserialize)]
struct Report {
    orders: u32,
    asked_by: String,
}

/// Every night at three, and whenever somebody asks.
#[job(cron = "0 3 * * *", queue = "reports")]
async fn nightly_report(ctx: JobContext) -> Result<Report, JobError> {
    let asked_by = ctx.actor().unwrap_or("nobody").to_owned();
    Ok(Report { orders: 42, asked_by })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let jobs = Jobs::from_env().start().await?;

    // By the schedule's id: with the schedule's own payload and options, its cadence untouched.
    let run = jobs.trigger("nightly_report").await?;
    if let RunStatus::Finished(result) = run.result(minutes(1)).await? {
        println!("by id:   {:?}", result.data::<Report>()?);
    }

    // By the job: with whatever one wants to say about it.
    let run = jobs.trigger(nightly_report::job().actor("ada").tenant("acme")).await?;
    if let RunStatus::Finished(result) = run.result(minutes(1)).await? {
        println!("by job:  {:?}", result.data::<Report>()?);
    }

    // A slip of the fingers is told before anything is stored.
    if let Err(error) = jobs.trigger("nightly_raport").await {
        println!("refused: {error}");
    }
    jobs.shutdown().await?;
    Ok(())
}
