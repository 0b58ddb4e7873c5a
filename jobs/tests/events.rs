//! What a run tells the log. A binary of its own: which events are wanted is remembered for the
//! whole process, and tests beside it that want none would be heard.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde_json::{Value, json};
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

#[tokio::test]
async fn each_target_is_one_event_with_its_counts() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().json().with_writer(move || writer.clone()).init();
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

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Value| event["fields"]["retention.target"].is_string())
        .collect();
    assert_eq!(events.len(), 2, "{text}");
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
