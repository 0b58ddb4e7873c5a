//! What a run tells the log. A binary of its own: which events are wanted is remembered for the
//! whole process, and tests beside it that want none would be heard.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.
#![allow(clippy::disallowed_methods, reason = "tests let time pass")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::SystemTime;

use serde_json::{Value, json};
use shiftwork::Timestamp;
use shiftwork::adapter::TestClock;
use shiftwork::prelude::*;
use shiftwork_jobs::data_retention::{ExpiredFiles, RetentionTargets};
use shiftwork_jobs::days;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics here").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Those that have a field.
    fn events(&self, field: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let all = text.lines().map(|line| serde_json::from_str(line).unwrap());
        all.filter(|event: &Value| !event["fields"][field].is_null()).collect()
    }
}

/// What the whole process tells.
fn log() -> Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt().json().with_writer(move || writer.clone()).init();
        log
    });
    LOG.clone()
}

#[tokio::test]
async fn each_target_is_one_event_with_its_counts() {
    let log = log();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("new"), "four").unwrap();
    let old = File::create(dir.path().join("old")).unwrap();
    old.set_modified(SystemTime::now() - days(31)).unwrap();
    let targets = RetentionTargets::new()
        .with(ExpiredFiles::in_dir(dir.path()).older_than(days(30)).named("backups"))
        .with(ExpiredFiles::in_dir("nowhere").older_than(days(30)));
    let vars = [("JOBS_PROVIDER", "memory"), ("JOBS_ATTEMPTS", "1")];
    let jobs = Jobs::from_vars(vars).state(targets).start().await.unwrap();
    let run = jobs.trigger("data-retention").await.unwrap();
    run.result(minutes(1)).await.unwrap().finished().unwrap();
    jobs.shutdown().await.unwrap();

    let events = log.events("retention.target");
    assert_eq!(events.len(), 2, "{events:?}");
    let [backups, nowhere] = [&events[0]["fields"], &events[1]["fields"]];
    assert_eq!(events[0]["span"]["job.name"], "data-retention");
    assert_eq!((&events[0]["level"], &events[1]["level"]), (&json!("INFO"), &json!("WARN")));
    assert_eq!(backups["retention.target"], "backups");
    assert_eq!(backups["retention.dry_run"], false);
    assert_eq!([&backups["expired"], &backups["deleted"], &backups["bytes"]], [1, 1, 0]);
    assert_eq!(nowhere["retention.target"], "nowhere");
    let error = nowhere["error"].as_str().unwrap();
    assert!(error.starts_with("there is no directory nowhere; create it"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn each_late_schedule_is_one_error_with_what_is_known_of_it() {
    let log = log();
    // 2026-11-22T00:00:00Z
    let clock = Arc::new(TestClock::new(Timestamp::from_millis(1_795_305_600_000)));
    let vars = [("JOBS_PROVIDER", "memory"), ("JOBS_ATTEMPTS", "1")];
    let jobs = Jobs::from_vars(vars).state(RetentionTargets::new()).clock(clock);
    let jobs = jobs.start().await.unwrap();
    jobs.pause("closed").await.unwrap();
    let job = NewJob::new("data-retention", &()).queue("closed").foreign();
    jobs.schedule(NewSchedule::cron("waits", "30 * * * *", job)).await.unwrap();
    let sound = NewSchedule::cron("sound", "* * * * *", NewJob::new("data-retention", &()));
    jobs.schedule(sound).await.unwrap();
    tokio::time::sleep(minutes(46)).await;
    assert_eq!(log.events("late").len(), 0);
    // At :50 and :55.
    tokio::time::sleep(minutes(10)).await;
    let events = log.events("late");
    assert_eq!(events.len(), 2, "{events:?}");
    let last = jobs.scheduled_job("waits").await.unwrap().unwrap().last.unwrap();
    for event in &events {
        assert_eq!(
            (&event["level"], &event["span"]["job.name"]),
            (&json!("ERROR"), &json!("schedule-watchdog"))
        );
        let fields = &event["fields"];
        assert_eq!((&fields["schedule"], &fields["late"]), (&json!("waits"), &json!("waiting")));
        assert_eq!(fields["since"], "2026-11-22T00:30:00.000Z");
        assert_eq!(fields["last.occurrence"], "2026-11-22T00:30:00.000Z");
        assert_eq!(fields["last.job"], last.job.to_string());
        let message = fields["message"].as_str().unwrap();
        assert!(message.starts_with("the schedule waits has fired, and its job has"), "{message}");
    }
    jobs.shutdown().await.unwrap();
}
