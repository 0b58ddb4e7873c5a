//! The macros: what they accept, what they refuse and with which words, and what they make.

#![allow(clippy::disallowed_methods, reason = "tests let time pass")]

use std::io;
use std::sync::{Arc, Mutex};

use shiftwork::adapter::{Clock, TestClock, Timing};
use shiftwork::prelude::*;
use shiftwork::{FailureKind, JobResult, Misfire, Overlap, ScheduleRecord, Timestamp};

#[test]
fn what_is_sound_compiles_and_what_is_not_says_why() {
    let cases = trybuild::TestCases::new();
    cases.pass("pass/*.rs");
    cases.compile_fail("fail/*.rs");
}

#[derive(Clone)]
struct Mailer(&'static str);

#[derive(Clone, FromRef)]
struct AppState {
    mailer: Mailer,
    base_url: String,
    #[from_ref(skip)]
    _token: String,
}

#[job(queue = "mail", attempts = 3, priority = "high", backoff = "fixed(2s)")]
async fn fails(_payload: u8) -> Result<(), String> {
    Err("not today".into())
}

#[job(timeout = "1m", attempts = 1)]
async fn sleeps() {
    tokio::time::sleep(hours(1)).await;
}

#[job]
async fn many_arguments(
    State(url): State<String>,
    name: String,
    ctx: JobContext,
    State(Mailer(from)): State<Mailer>,
) -> Result<String, JobError> {
    Ok(format!("{from} to {name} by {url}, attempt {}", ctx.attempt()))
}

#[job(name = "blocks.2")]
fn blocks(words: Vec<String>, ctx: JobContext) -> Result<String, JobError> {
    Ok(format!("{}: {}", ctx.name(), words.join(" ")))
}

#[job(redact = without_password)]
async fn log_in(account: (String, String)) {
    drop(account);
}

fn without_password((user, _): &(String, String)) -> String {
    format!("account of {user}")
}

#[job(cron = "0 3 * * *", timezone = "UTC", overlap = "allow", misfire = "skip")]
async fn nightly() {}

#[job(every = "1h 30m", misfire = "all")]
async fn often(since: Option<u64>) {
    let _ = since;
}

#[derive(Serialize, Deserialize)]
struct WelcomeEmail {
    user_id: u64,
}

#[job(queue = "mail", attempts = 7)]
impl Job for WelcomeEmail {
    async fn run(self, ctx: JobContext, mailer: State<Mailer>) -> Result<String, JobError> {
        Ok(format!("{} to {} of {}", mailer.0.0, self.user_id, ctx.attempts()))
    }
}

#[derive(Serialize, Deserialize)]
struct HTTPPing;

#[job(cron = "@daily")]
impl Job for HTTPPing {
    async fn run(self) {}
}

/// A process that knows all jobs of this file, and whose time passes when everybody waits.
async fn process() -> (Jobs, Arc<TestClock>) {
    let clock = Arc::new(TestClock::new(Timestamp::from_millis(1_795_305_600_000)));
    let state = AppState {
        mailer: Mailer("us"),
        base_url: "https://example.com".into(),
        _token: String::new(),
    };
    let jobs = Jobs::from_vars([("JOBS_BACKOFF_JITTER", "false")])
        .state(state)
        .clock(clock.clone())
        .start()
        .await
        .expect("the process starts");
    (jobs, clock)
}

async fn result(jobs: &Jobs, job: NewJob) -> JobResult {
    let run = jobs.enqueue(job.keep_result(hours(48))).await.expect("it is enqueued");
    run.result(hours(24)).await.expect("the store answers").finished().expect("it ends in a day")
}

async fn text(jobs: &Jobs, job: NewJob) -> String {
    result(jobs, job).await.data().expect("text").expect("something")
}

#[tokio::test(start_paused = true)]
async fn the_options_of_a_function_hold() {
    let (jobs, clock) = process().await;
    let before = clock.now();
    let run = jobs.enqueue(fails::job(1).keep_result(hours(1))).await.unwrap();
    let job = jobs.job(run.id()).await.unwrap().unwrap();
    assert_eq!((job.queue.as_str(), job.spec.priority), ("mail", Priority::High));
    let failed = run.result(hours(1)).await.unwrap().finished().unwrap();
    assert_eq!(failed.attempts, 3);
    let took = clock.now().since(before);
    assert!(took >= seconds(4) && took < seconds(6), "two waits of 2 s, and it took {took:?}");

    let before = clock.now();
    let error = result(&jobs, sleeps::job()).await.error.unwrap();
    assert_eq!(error.kind, FailureKind::Timeout);
    let took = clock.now().since(before);
    assert!(took >= minutes(1) && took < minutes(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn each_argument_is_what_it_was_named() {
    let (jobs, _clock) = process().await;
    let sentence = text(&jobs, many_arguments::job("Ada".into())).await;
    assert_eq!(sentence, "us to Ada by https://example.com, attempt 1");
    let sentence = text(&jobs, blocks::job(vec!["a".into(), "b".into()])).await;
    assert_eq!(sentence, "blocks.2: a b");
    let sentence = text(&jobs, WelcomeEmail { user_id: 7 }.job()).await;
    assert_eq!(sentence, "us to 7 of 7");
}

#[tokio::test(start_paused = true)]
async fn schedules_are_as_their_options_say() {
    let (jobs, _clock) = process().await;
    let schedules = jobs.scheduled_jobs().await.unwrap();
    let found = |name: &str| -> ScheduleRecord {
        let found = schedules.iter().find(|record| record.schedule.id.as_str() == name);
        found.unwrap_or_else(|| panic!("no schedule {name:?}")).clone()
    };
    let cron = |pattern: &str| Timing::Cron { pattern: pattern.into(), timezone: "UTC".into() };
    let nightly = found("nightly").schedule;
    assert_eq!(nightly.timing, cron("0 3 * * *"));
    assert_eq!((nightly.overlap, nightly.misfire), (Overlap::Allow, Misfire::Skip));
    let often = found("often").schedule;
    assert_eq!(often.timing, Timing::Every { period_ms: 90 * 60 * 1000 });
    assert_eq!((often.overlap, often.misfire), (Overlap::Skip, Misfire::All));
    assert_eq!(found("http_ping").schedule.timing, cron("@daily"));
    assert_eq!(schedules.len(), 3);
}

#[test]
fn a_definition_knows_the_line_of_the_function() {
    const BEFORE: u32 = line!();
    #[job(queue = "mail")]
    /// A long way from the attribute.
    async fn placed() {}

    let shown = format!("{:?}", placed::definition());
    let expected = format!("line: {} ", BEFORE + 3);
    assert!(shown.contains(file!()) && shown.contains(&expected), "{shown} has no {expected}");
    assert_eq!(placed::NAME, "placed");
}

#[tokio::test(start_paused = true)]
async fn a_payload_is_logged_only_as_its_function_shows_it() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    // For all threads: with one for this alone, a callsite that another test meets first may be
    // taken for one that nobody listens to.
    tracing::subscriber::set_global_default(subscriber).expect("nobody else sets one");
    let (jobs, _clock) = process().await;
    result(&jobs, log_in::job(("ada".into(), "hunter2".into()))).await;
    jobs.shutdown().await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("account of ada"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_function_with_a_job_is_called_as_any_other() {
    assert_eq!(without_password(&("ada".into(), "x".into())), "account of ada");
    let call: fn(Vec<String>, JobContext) -> Result<String, JobError> = blocks;
    let _ = call;
}
