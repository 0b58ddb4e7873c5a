//! Jobs register themselves at link time. A binary of its own: it knows just the jobs below.

use shiftwork::prelude::*;

#[derive(Serialize, Deserialize)]
struct Resize {
    path: String,
}

#[job(queue = "images", attempts = 5)]
impl Job for Resize {
    async fn run(self, ctx: JobContext) -> Result<String, JobError> {
        Ok(format!("{} of {}: {}", ctx.attempt(), ctx.attempts(), self.path))
    }
}

#[derive(Clone)]
struct Settings {
    depth: u8,
}

#[derive(Clone)]
struct Mailer;

#[derive(Clone, FromRef)]
struct AppState {
    settings: Settings,
    mailer: Mailer,
}

#[job]
async fn needs_parts(settings: State<Settings>, _mailer: State<Mailer>) -> Result<u8, JobError> {
    Ok(settings.depth)
}

#[tokio::test]
async fn a_job_registers_itself_at_link_time() {
    let jobs = Jobs::from_vars([("JOBS_PROVIDER", "memory")])
        .state(AppState { settings: Settings { depth: 3 }, mailer: Mailer })
        .start()
        .await
        .unwrap();
    let run = jobs.trigger(Resize { path: "cat.png".into() }.job()).await.unwrap();
    assert_eq!(run.queue().as_str(), "images");
    let result = run.result(seconds(10)).await.unwrap().finished().unwrap();
    assert_eq!(result.data::<String>().unwrap().unwrap(), "1 of 5: cat.png");
    // A part of what was given, without anybody naming it.
    let run = jobs.trigger(needs_parts::job()).await.unwrap();
    let result = run.result(seconds(10)).await.unwrap().finished().unwrap();
    assert_eq!(result.data::<u8>().unwrap(), Some(3));
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_jobs_crate_that_no_code_names_is_not_there() {
    // shiftwork-jobs stands in Cargo.toml, and nothing here names it. Were its job here, its cron
    // schedule would be too, and `start` would ask for the `RetentionTargets` that it takes.
    let jobs = Jobs::from_vars([("JOBS_PROVIDER", "memory")])
        .state(AppState { settings: Settings { depth: 3 }, mailer: Mailer })
        .start()
        .await
        .unwrap();
    assert!(!jobs.is_scheduled("data-retention").await.unwrap());
    let error = jobs.trigger("data-retention").await.unwrap_err();
    assert_eq!(error.kind(), shiftwork::ErrorKind::Invalid);
    let fault = "nothing to trigger is named \"data-retention\"";
    assert!(error.to_string().contains(fault), "{error}");
    jobs.shutdown().await.unwrap();
}
