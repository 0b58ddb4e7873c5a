//! A program in another language enqueues, by docs/wire-format.md alone.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use shiftwork::prelude::*;
use shiftwork_test_kit::RedisServer;

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Greeting {
    name: String,
}

static GREETED: Mutex<Vec<(String, Option<String>)>> = Mutex::new(Vec::new());

#[job(queue = "foreign")]
async fn greet(greeting: Greeting, ctx: JobContext) -> Result<String, JobError> {
    let tenant = ctx.scope().map(|scope| scope.tenant.clone());
    GREETED.lock().unwrap().push((greeting.name.clone(), tenant));
    Ok(format!("Hello, {}, attempt 1 of {}", greeting.name, ctx.attempts()))
}

fn enqueue(server: &RedisServer, arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis/enqueue.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(server.port().to_string())
        .args(arguments)
        .output()
        .expect("python3 is there; install it");
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{wrong}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_job_that_python_enqueued_is_run_by_a_rust_worker() {
    let server = RedisServer::shared();
    let jobs = Jobs::from_vars([
        ("JOBS_PROVIDER", "redis"),
        ("JOBS_REDIS_URL", &server.url()),
        ("JOBS_NAMESPACE", "foreign"),
        ("WORKER_ROLE", "async"),
    ]);
    let jobs = jobs.start().await.unwrap();
    let options = r#"{"attempts": 7, "keep_result_ms": 60000,
        "provenance": {"scope": {"tenant": "acme"}, "actor": "python"}}"#;
    let told = tokio::task::spawn_blocking(move || {
        enqueue(server, &["foreign", "foreign", "greet", r#"{"name": "Ada"}"#, "1", options])
    })
    .await
    .unwrap();
    let id = told.split(' ').next().unwrap().parse().unwrap();

    let ended = async {
        loop {
            let job = jobs.job(id).await.unwrap().expect("it is kept for its result");
            if job.state.is_finished() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let job = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    assert_eq!(job.spec.priority, Priority::High);
    assert_eq!(job.spec.provenance.as_ref().unwrap().actor.as_deref(), Some("python"));
    let report = job.last_attempt.unwrap();
    let data = report.data.as_ref().unwrap().value();
    assert_eq!(data, Some("Hello, Ada, attempt 1 of 7".into()));
    let greeted = std::mem::take(&mut *GREETED.lock().unwrap());
    assert_eq!(greeted, [("Ada".into(), Some("acme".into()))], "once");
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_store_of_a_newer_format_is_refused_clearly() {
    let server = RedisServer::shared();
    server.call(&["SET", "{newer}:format", "2"]);
    let vars = [
        ("JOBS_PROVIDER", "redis"),
        ("JOBS_REDIS_URL", &server.url()),
        ("JOBS_NAMESPACE", "newer"),
        ("WORKER_ROLE", "worker"),
    ];
    let error = Jobs::from_vars(vars).start().await.unwrap_err().to_string();
    for part in ["{newer}:format", "\"2\"", "upgrade this program", "JOBS_NAMESPACE"] {
        assert!(error.contains(part), "{part:?} is missing: {error}");
    }
}
