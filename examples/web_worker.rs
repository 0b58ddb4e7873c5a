//! One program, web process or worker by `WORKER_ROLE`; the store is Redis.
//!
//! ```text
//! make redis                # prints what to export: JOBS_PROVIDER and JOBS_REDIS_URL
//! WORKER_ROLE=worker cargo run --features redis --example web_worker
//! WORKER_ROLE=web    cargo run --features redis --example web_worker
//! curl -i -d '{"user": 7}' -H 'content-type: application/json' localhost:8080/welcome
//! curl -i localhost:8080/jobs/ID
//! curl -i -X POST localhost:8080/trigger/nightly_report
//! ```
//!
//! With `JOBS_PROVIDER=memory`, the default, one process is both. It listens on `PORT` of the
//! loopback, 8080 where that is not set; 0 is any free one.

use std::net::Ipv4Addr;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use shiftwork::prelude::*;
use shiftwork::{ErrorKind, JobRecord};

#[derive(Serialize, Deserialize)]
struct Welcome {
    user: u64,
}

#[job(queue = "mail", attempts = 5)]
async fn welcome(to: Welcome) -> Result<String, JobError> {
    Ok(format!("Welcome, user {}!", to.user))
}

#[derive(Serialize, Deserialize)]
struct Report {
    made_by_process: u32,
}

#[job(cron = "0 3 * * *", queue = "reports")]
async fn nightly_report() -> Result<Report, JobError> {
    Ok(Report { made_by_process: std::process::id() })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let jobs = Jobs::from_env().start().await?;
    let routes = Router::new()
        .route("/welcome", post(enqueue_welcome))
        .route("/jobs/{id}", get(show))
        .route("/trigger/{name}", post(trigger))
        .route("/health", get(health))
        .with_state(jobs.clone());
    let port = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, routes).await });
    // SIGTERM: requests are cut off; jobs are not, they have JOBS_SHUTDOWN_GRACE to end.
    Ok(jobs.run_until_shutdown().await?)
}

type Answer = (StatusCode, Json<Value>);

/// 202: the job is stored, and will run.
async fn enqueue_welcome(Shared(jobs): Shared<Jobs>, Json(to): Json<Welcome>) -> Answer {
    // Kept for an hour, so that who asked for it can ask what became of it.
    match jobs.enqueue(welcome::job(to).keep_result(hours(1))).await {
        Ok(run) => (StatusCode::ACCEPTED, Json(json!({ "id": run.id().to_string() }))),
        Err(error) => refused(&error),
    }
}

/// The job's state, and its result once it has one.
async fn show(Shared(jobs): Shared<Jobs>, Path(id): Path<String>) -> Answer {
    let Ok(id) = id.parse() else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "no job has such an id" })));
    };
    match jobs.job(id).await {
        Ok(Some(job)) => (StatusCode::OK, Json(describe(&job))),
        Ok(None) => (StatusCode::NOT_FOUND, Json(json!({ "error": "there is no such job" }))),
        Err(error) => refused(&error),
    }
}

/// Runs a schedule's job now, wherever there is a worker, and waits for its result.
async fn trigger(Shared(jobs): Shared<Jobs>, Path(name): Path<String>) -> Answer {
    let run = match jobs.trigger(name).await {
        Ok(run) => run,
        Err(error) => return refused(&error),
    };
    let id = run.id().to_string();
    match run.result(seconds(30)).await {
        Ok(RunStatus::Finished(result)) => {
            let data = result.data.and_then(|data| data.value());
            let answer = json!({ "id": id, "success": result.success, "data": data });
            (StatusCode::OK, Json(answer))
        }
        // It goes on: ask for it by its id.
        Ok(_) => (StatusCode::ACCEPTED, Json(json!({ "id": id }))),
        Err(error) => refused(&error),
    }
}

async fn health(Shared(jobs): Shared<Jobs>) -> (StatusCode, String) {
    let health = jobs.health().await;
    let status = if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, health.to_string())
}

fn describe(job: &JobRecord) -> Value {
    let report = job.last_attempt.as_deref();
    json!({
        "id": job.spec.id.to_string(),
        "name": job.spec.name.as_str(),
        "state": job.state.as_str(),
        "attempts": job.attempts,
        "result": report.and_then(|report| report.data.as_ref()?.value()),
        "error": report.and_then(|report| Some(report.failure.as_ref()?.to_string())),
    })
}

/// What is wrong with the request, or that the store is away: then nothing is promised.
fn refused(error: &shiftwork::Error) -> Answer {
    let status = match error.kind() {
        ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Store => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Json(json!({ "error": error.to_string() })))
}
