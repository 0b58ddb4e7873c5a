//! What the environment may say, and what is answered where it says something else.

use shiftwork::{ErrorKind, Role};

use crate::support::*;
use shiftwork::prelude::*;

#[job(name = "data-import", queue = "imports", cron = "@daily")]
async fn data_import() {}

async fn start(vars: &[(&str, &str)]) -> shiftwork::Result<Jobs> {
    Jobs::from_vars(vars.iter().copied())
        .without_linked_jobs()
        .register(data_import::definition())
        .start()
        .await
}

async fn refusal(vars: &[(&str, &str)]) -> String {
    let error = start(vars).await.expect_err("it was accepted");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

#[tokio::test]
async fn every_wrong_value_is_refused_with_the_variable_the_value_and_what_is_allowed() {
    for (name, value, allowed) in [
        ("JOBS_ENABLED", "maybe", "use true or false"),
        ("JOBS_PROVIDER", "memroy", "did you mean \"memory\"?"),
        ("JOBS_PROVIDER", "redis", "not in this version of shiftwork yet"),
        ("JOBS_PROVIDER", "postgres", "use shiftwork_postgres as _;"),
        ("WORKER_ROLE", "wroker", "use web, worker, cron or async; did you mean \"worker\"?"),
        ("WORKER_ROLE", "web", "nobody else could run them"),
        ("JOBS_QUEUES", "import", "did you mean \"imports\"?"),
        ("JOBS_QUEUES", "*,imports", "*,!reports for all but some"),
        ("JOBS_QUEUES", "a:b", "contains ':'"),
        ("JOBS_NAMESPACE", "a{b}", "contains '{'"),
        ("JOBS_APP", "", ""),
        ("JOBS_APP", "a b", "contains ' '"),
        ("JOBS_CONCURRENCY", "0", "a whole number from 1 to 100000"),
        ("JOBS_CONCURRENCY", "many", "a whole number from 1 to 100000"),
        ("JOBS_QUEUE_IMPORTS_CONCURRENCY", "0", "a whole number from 1 to 100000"),
        ("JOBS_QUEUE_IMPORTS_WEIGHT", "-1", "a whole number from 1 to 1000"),
        ("JOBS_ATTEMPTS", "0", "a whole number from 1 to 1000"),
        ("JOBS_BACKOFF_TYPE", "linear", "use exponential or fixed"),
        ("JOBS_BACKOFF_DELAY", "soon", "a bare number is milliseconds"),
        ("JOBS_BACKOFF_MAX", "0", "from 1ms"),
        ("JOBS_BACKOFF_JITTER", "some", "use true or false"),
        ("JOBS_TIMEOUT", "30", "with its unit"),
        ("JOBS_LEASE", "10ms", "from 1s to 1h"),
        ("JOBS_MAX_CRASHES", "0", "a whole number from 1 to 1000"),
        ("JOBS_SHUTDOWN_GRACE", "-5s", "a length of time such as"),
        ("JOBS_MAX_PAYLOAD", "1GB", "64KiB or 1MiB"),
        ("JOBS_UNKNOWN_AFTER", "later", "a length of time such as"),
        ("JOBS_KEEP_COMPLETED", "1", "with its unit"),
        ("JOBS_KEEP_COMPLETED_COUNT", "all", "a whole number from 1"),
        ("JOBS_KEEP_DEAD", "forever", "a length of time such as"),
        ("JOBS_KEEP_DEAD_COUNT", "0", "a whole number from 1"),
        ("JOBS_DATA_IMPORT_SCHEDULE", "0 25 * * *", "hour is \"25\""),
        ("JOBS_DATA_IMPORT_ENABLED", "often", "use true or false"),
        ("JOBS_LOG", "xml", "use text or json"),
        ("JOBS_MEMORY_CAPACITY", "none", "JOBS_MEMORY_CAPACITY"),
    ] {
        if value.is_empty() {
            // Set and empty is not set.
            start(&[(name, value)]).await.unwrap();
            continue;
        }
        let error = start(&[(name, value)]).await.expect_err(name);
        let text = error.to_string();
        assert!(text.contains(name) || name == "JOBS_DATA_IMPORT_SCHEDULE", "{text}");
        assert!(text.contains(&format!("{value:?}")) || text.contains(value), "{text}");
        assert!(text.contains(allowed), "{name}={value}: {text}");
    }
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let text = refusal(&[
        ("JOBS_ATTEMPTS", "x"),
        ("JOBS_TIMEOUT", "y"),
        ("WORKER_ROLE", "z"),
        ("JOBS_DATA_IMPORT_SCHEDULE", "nonsense"),
        ("JOBS_CONCURENCY", "4"),
    ])
    .await;
    assert!(text.starts_with("5 things are wrong:"), "{text}");
    for name in ["JOBS_ATTEMPTS", "JOBS_TIMEOUT", "WORKER_ROLE", "nonsense", "JOBS_CONCURRENCY?"] {
        assert!(text.contains(name), "{text}");
    }
}

#[tokio::test]
async fn a_name_within_two_letters_of_a_known_one_is_a_slip_and_others_are_left_alone() {
    for (slip, meant) in [
        ("JOBS_ATTEMTPS", "JOBS_ATTEMPTS"),
        ("JOBS_TIMEOUTS", "JOBS_TIMEOUT"),
        ("JOBS_DATA_IMPORTS_ENABLED", "JOBS_DATA_IMPORT_ENABLED"),
        ("JOBS_QUEUE_IMPORT_CONCURRENCY", "JOBS_QUEUE_IMPORTS_CONCURRENCY"),
        ("JOBS_MEMORY_CAPACTIY", "JOBS_MEMORY_CAPACITY"),
    ] {
        let text = refusal(&[(slip, "1")]).await;
        assert!(text.contains(slip) && text.contains(&format!("did you mean {meant}?")), "{text}");
    }
    let others = [
        ("JOBS_SERVICE_HOST", "10.0.0.1"),
        ("JOBS_ANOTHER_JOB_SCHEDULE", "@daily"),
        ("JOBS_REDIS_URL", "redis://localhost"),
        ("UNRELATED", "x"),
    ];
    start(&others).await.unwrap().shutdown().await.unwrap();
}

#[tokio::test]
async fn two_names_that_one_variable_would_speak_of_are_an_error() {
    #[job(name = "data.import")]
    async fn twin() {}
    let error = Jobs::from_vars([("JOBS_PROVIDER", "memory")])
        .without_linked_jobs()
        .register(data_import::definition())
        .register(twin::definition())
        .start()
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\"data-import\" and \"data.import\""), "{text}");
    assert!(text.contains("JOBS_DATA_IMPORT_SCHEDULE"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_process_does_what_its_role_says() {
    let world = World::new().await;
    for (role, runs, fires) in
        [("worker", true, true), ("async", true, false), ("cron", false, true)]
    {
        let jobs = world.worker([("WORKER_ROLE", role)], [data_import::definition()]).await;
        let scheduled = jobs.is_scheduled("data-import").await.unwrap();
        assert_eq!(scheduled, fires, "{role}");
        let run = jobs.enqueue(data_import::job()).await.unwrap();
        tokio::time::sleep(seconds(1)).await;
        let ran = jobs.job(run.id()).await.unwrap().unwrap().state.is_finished();
        assert_eq!(ran, runs, "{role}");
        assert_eq!(jobs.health().await.role.as_str(), role);
        jobs.cancel("data-import").await.unwrap();
        jobs.cancel_job(run.id()).await.unwrap();
        jobs.shutdown().await.unwrap();
    }
    // Nothing said: under an adapter of one process, who else could?
    let jobs = world.worker([], [data_import::definition()]).await;
    assert_eq!(jobs.health().await.role, Role::Worker);
}
