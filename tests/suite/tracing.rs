//! What a job leaves in the trace, and what travels with it.

use tracing::Instrument;

use crate::events::{Fields, record};
use crate::support::*;
use shiftwork::prelude::*;

/// The events of a job's settled attempts. By name too: other tests have jobs of the same id, by
/// the same seed.
fn attempts(name: &str, job: shiftwork::JobId) -> Vec<Fields> {
    let id = job.to_string();
    record().with([("message", "attempt settled"), ("job.name", name), ("job.id", &id)])
}

#[tokio::test(start_paused = true)]
async fn each_settled_attempt_is_one_event_in_the_span_of_its_attempt() {
    #[job(attempts = 2)]
    async fn import(secret: String) -> Result<(), JobError> {
        let _ = secret;
        tokio::time::sleep(seconds(3)).await;
        Err(anyhow::anyhow!("connection refused").context("fetching the list").into())
    }
    record();
    let world = World::new().await;
    let jobs = world.worker([], [import::definition()]).await;
    let job = import::job("hunter2".into()).tenant("acme").actor("ada").correlation_id("req-1");
    let run = jobs.enqueue(job).await.unwrap();
    finished(&jobs, run.id()).await;
    let events = attempts("import", run.id());
    let [first, second] = &events[..] else { panic!("there are {}", events.len()) };
    let id = run.id().to_string();
    for (field, value) in [
        ("level", "WARN"),
        ("job.id", id.as_str()),
        ("job.name", "import"),
        ("job.queue", "default"),
        ("job.attempt", "1"),
        ("duration_ms", "3000"),
        ("outcome", "retry"),
        ("retry_in_ms", "2000"),
        ("error", "fetching the list: connection refused"),
        ("error.kind", "error"),
        ("correlation_id", "req-1"),
        ("tenant", "acme"),
        ("actor", "ada"),
        ("spans", "job"),
    ] {
        assert_eq!(first.get(field).map(String::as_str), Some(value), "{field} in {first:?}");
    }
    assert_eq!((&*second["outcome"], &*second["job.attempt"]), ("dead", "2"));
    assert!(!format!("{events:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_payload_is_logged_only_as_the_jobs_own_redaction_renders_it() {
    fn without_password((user, _): &(String, String)) -> String {
        format!("user {user}")
    }
    #[job(redact = without_password)]
    async fn login(who: (String, String)) {
        let _ = who;
    }
    record();
    let world = World::new().await;
    let jobs = world.worker([], [login::definition()]).await;
    let run = jobs.enqueue(login::job(("ada".into(), "hunter2".into()))).await.unwrap();
    finished(&jobs, run.id()).await;
    let events = attempts("login", run.id());
    assert_eq!(events[0]["payload"], "user ada");
    assert!(!format!("{events:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn correlation_id_and_traceparent_travel_from_the_enqueuers_span() {
    #[job]
    async fn travels(notes: State<Notes>, ctx: JobContext) {
        notes.add(format!("{} {:?}", ctx.correlation_id(), ctx.traceparent()));
    }
    record();
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(travels::definition());
    let jobs = process.start().await.unwrap();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = tracing::info_span!("request", correlation_id = "req-17", traceparent = parent);
    let inner = tracing::info_span!(parent: &request, "inner");
    async { jobs.enqueue(travels::job()).await.unwrap() }.instrument(inner.clone()).await;
    async { jobs.trigger("travels").await.unwrap() }.instrument(inner.clone()).await;
    let own = travels::job().correlation_id("given");
    async { jobs.enqueue(own).await.unwrap() }.instrument(inner).await;
    let mut all = notes.reach(3).await;
    all.sort();
    let [given, caused] = ["given", "req-17"].map(|id| format!("{id} Some({parent:?})"));
    assert_eq!(all, [given, caused.clone(), caused]);
}

#[tokio::test(start_paused = true)]
async fn the_start_line_says_provider_role_why_jobs_and_schedules() {
    #[job(cron = "@daily", queue = "nights")]
    async fn nightly_audit() {}
    record();
    let world = World::new().await;
    let vars = [("JOBS_APP", "start-line"), ("REDIS_URL", "redis://user:hunter2@host")];
    world.worker(vars, [nightly_audit::definition()]).await;
    let events = record().with([("message", "shiftwork started"), ("app", "start-line")]);
    for (field, value) in [
        ("provider", "memory"),
        ("providers", if cfg!(feature = "redis") { "memory, redis" } else { "memory" }),
        ("role", "worker"),
        ("role_reason", "WORKER_ROLE is not set, and no other process could run the jobs"),
        ("jobs", "1"),
        ("job_names", "nightly_audit"),
        ("queues", "nights"),
        ("schedules", "1"),
    ] {
        assert_eq!(events[0].get(field).map(String::as_str), Some(value), "{field}");
    }
    let warning = "REDIS_URL is set, and jobs are kept in this process's memory all the same: they \
                   are gone when it ends; set JOBS_PROVIDER=redis if they should not be";
    assert!(!record().with([("level", "WARN"), ("message", warning)]).is_empty());
    assert!(!format!("{:?}", record().with([])).contains("redis://user"));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_should_work_and_has_no_jobs_says_so() {
    record();
    let world = World::new().await;
    world.process([("WORKER_ROLE", "async")]).start().await.unwrap();
    let warnings = record().with([("level", "WARN")]);
    let told = |event: &Fields| {
        event["message"]
            .starts_with("this process should run jobs (its role is async) and has none")
            && event["message"].contains("use its_crate as _;")
    };
    assert!(warnings.iter().any(told));
}
