//! Expired files, deleted by the job as an application has it.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use shiftwork::prelude::*;
use shiftwork_jobs::data_retention::{
    self, DataRetention, ExpiredFiles, RetentionReport, RetentionTargets,
};
use shiftwork_jobs::days;

fn file(path: &Path, age: Duration) {
    fs::write(path, "four").unwrap();
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

async fn start(targets: RetentionTargets) -> Jobs {
    let jobs = Jobs::from_vars([("JOBS_PROVIDER", "memory"), ("JOBS_ATTEMPTS", "1")]);
    jobs.state(targets).start().await.unwrap()
}

async fn run(jobs: &Jobs, job: NewJob) -> (JobResult, RetentionReport) {
    let run = jobs.trigger(job).await.unwrap();
    let result = run.result(minutes(1)).await.unwrap().finished().unwrap();
    let report = result.data().unwrap().unwrap();
    (result, report)
}

#[tokio::test]
async fn old_backups_go_in_batches_and_once() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..25 {
        file(&dir.path().join(format!("old-{number}.gz")), days(31));
        file(&dir.path().join(format!("new-{number}.gz")), days(29));
    }
    let files = ExpiredFiles::in_dir(dir.path()).older_than(days(30)).named("backups");
    let jobs = start(RetentionTargets::new().with(files).batch_size(10)).await;

    let (_, dry) = run(&jobs, data_retention::dry_run()).await;
    assert_eq!(count(dir.path()), 50);
    let (result, real) = run(&jobs, DataRetention::default().job()).await;
    assert!(result.success);
    assert_eq!(count(dir.path()), 25);
    let (dry, real) = (&dry.targets[0], &real.targets[0]);
    assert_eq!(
        (dry.name.as_str(), dry.expired, dry.bytes, dry.deleted),
        ("backups", 25, Some(100), 0)
    );
    assert_eq!((real.expired, real.bytes, real.deleted), (25, Some(100), 25));

    let (_, again) = run(&jobs, DataRetention::default().job()).await;
    assert_eq!((again.targets[0].expired, again.targets[0].bytes), (0, Some(0)));
    jobs.shutdown().await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_outside_of_the_directory_is_touched() {
    let outside = tempfile::tempdir().unwrap();
    file(&outside.path().join("precious"), days(1000));
    let dir = tempfile::tempdir().unwrap();
    let link = |to: &Path, name| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
    link(&outside.path().join("precious"), "file");
    link(outside.path(), "directory");
    let files = ExpiredFiles::in_dir(dir.path()).older_than(days(30)).recursive();
    let jobs = start(RetentionTargets::new().with(files)).await;
    let (result, report) = run(&jobs, DataRetention::default().job()).await;
    assert!(result.success);
    assert_eq!((report.targets[0].expired, report.targets[0].skipped.count), (0, 0));
    assert_eq!((count(outside.path()), count(dir.path())), (1, 2));
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_is_missing_fails_the_run_after_the_others_are_done() {
    let dir = tempfile::tempdir().unwrap();
    file(&dir.path().join("old"), days(31));
    let targets = RetentionTargets::new()
        .with(ExpiredFiles::in_dir(dir.path().join("nowhere")).older_than(days(30)))
        .with(ExpiredFiles::in_dir(dir.path().join("no matter")).older_than(days(30)).or_missing())
        .with(ExpiredFiles::in_dir(dir.path()).older_than(days(30)));
    let jobs = start(targets).await;
    for (job, deleted) in [(data_retention::dry_run(), 0), (DataRetention::default().job(), 1)] {
        let (result, report) = run(&jobs, job).await;
        let error = result.error.unwrap().to_string();
        assert!(error.starts_with("1 of 3 retention targets failed: "), "{error}");
        assert!(error.contains("there is no directory "), "{error}");
        assert_eq!((report.targets[2].expired, report.targets[2].deleted), (1, deleted));
    }
    assert_eq!(count(dir.path()), 0);
    jobs.shutdown().await.unwrap();
}
