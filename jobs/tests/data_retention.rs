//! The job `data-retention` as an application has it: registered by linking, run by the engine.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.
#![allow(clippy::disallowed_methods, reason = "tests let time pass")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use shiftwork::adapter::{Clock, Connection, JobAdapter, Namespace, Provider, TestClock, Timing};
use shiftwork::prelude::*;
use shiftwork::{ErrorKind, FailureKind, JobState, JobsBuilder, Timestamp};
use shiftwork_jobs::data_retention::{
    self, Batch, Count, RetentionReport, RetentionTarget, RetentionTargets, TargetReport,
};
use shiftwork_jobs::days;
use tokio::sync::Notify;

/// Items with the days since their deletion, and what was asked of them.
#[derive(Clone)]
struct Shelf {
    name: &'static str,
    items: Arc<Mutex<Vec<Timestamp>>>,
    batches: Arc<Mutex<Vec<u64>>>,
    fault: Arc<Mutex<Option<Fault>>>,
}

/// What a shelf does instead of what it should.
#[derive(Clone)]
enum Fault {
    FailsOnce(&'static str),
    FailsForGood(&'static str),
    Panics,
    SaysMore,
    CannotDeleteSome,
    HoldsUp(Arc<Notify>),
}

impl Shelf {
    /// So many items that were deleted 31 days ago, and as many of 29 days.
    fn new(name: &'static str, count: usize) -> Self {
        let now = Timestamp::now();
        let items = [now - days(31), now - days(29)].repeat(count);
        Self {
            name,
            items: Arc::new(Mutex::new(items)),
            batches: Arc::default(),
            fault: Arc::default(),
        }
    }

    fn with(self, fault: Fault) -> Self {
        *self.fault.lock().unwrap() = Some(fault);
        self
    }

    fn left(&self) -> usize {
        self.items.lock().unwrap().len()
    }

    fn batches(&self) -> Vec<u64> {
        self.batches.lock().unwrap().clone()
    }

    fn fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap().clone()
    }
}

impl RetentionTarget for Shelf {
    type Cursor = ();

    fn name(&self) -> &str {
        self.name
    }

    fn retention(&self) -> Duration {
        days(30)
    }

    async fn count(&self, older_than: Timestamp) -> Result<Count, JobError> {
        if let Some(Fault::HoldsUp(reached)) = self.fault() {
            reached.notify_one();
            std::future::pending::<()>().await;
        }
        let items = self.items.lock().unwrap();
        Ok(Count::of(items.iter().filter(|item| **item < older_than).count() as u64))
    }

    async fn delete_batch(
        &self,
        older_than: Timestamp,
        limit: u32,
        _: &mut (),
    ) -> Result<Batch, JobError> {
        let fault = self.fault();
        match &fault {
            Some(Fault::FailsOnce(why)) => {
                *self.fault.lock().unwrap() = None;
                return Err((*why).into());
            }
            Some(Fault::FailsForGood(why)) => return Err(JobError::permanent(*why)),
            Some(Fault::Panics) => panic!("out of shelves"),
            Some(Fault::HoldsUp(reached)) => {
                reached.notify_one();
                // Until the run must have been told.
                tokio::time::sleep(seconds(1)).await;
            }
            _ => {}
        }
        let mut items = self.items.lock().unwrap();
        let expired = items.extract_if(.., |item| *item < older_than);
        let deleted = expired.take(limit as usize).count() as u64;
        self.batches.lock().unwrap().push(deleted);
        let mut batch = Batch::of(deleted, limit);
        match fault {
            Some(Fault::SaysMore) => batch.more = true,
            Some(Fault::CannotDeleteSome) => batch.failed.add("item 7: it is referred to"),
            _ => {}
        }
        Ok(batch)
    }
}

fn vars<const N: usize>(vars: [(&str, &str); N]) -> JobsBuilder {
    let defaults =
        [("JOBS_PROVIDER", "memory"), ("JOBS_ATTEMPTS", "1"), ("JOBS_BACKOFF_DELAY", "1")];
    let mut all = HashMap::from(defaults);
    all.extend(vars);
    Jobs::from_vars(all)
}

async fn start(targets: RetentionTargets) -> Jobs {
    vars([]).state(targets).start().await.unwrap()
}

async fn run(jobs: &Jobs, job: impl Into<NewJob>) -> JobResult {
    let run = jobs.trigger(job.into()).await.unwrap();
    run.result(minutes(1)).await.unwrap().finished().unwrap()
}

fn purge() -> NewJob {
    NewJob::new("data-retention", &())
}

fn report(result: &JobResult) -> RetentionReport {
    result.data().unwrap().unwrap()
}

fn counts(target: &TargetReport) -> (u64, u64) {
    (target.expired, target.deleted)
}

#[tokio::test]
async fn what_is_expired_is_deleted_in_batches_and_what_is_not_stays() {
    let (users, orders) = (Shelf::new("users", 25), Shelf::new("orders", 10));
    let targets = RetentionTargets::new().with(users.clone()).with(orders.clone()).batch_size(10);
    let jobs = start(targets).await;
    let result = run(&jobs, purge()).await;
    assert!(result.success);
    assert_eq!(result.message.as_deref(), Some("deleted items: 35, targets: 2"));
    assert_eq!(users.batches(), [10, 10, 5]);
    assert_eq!(orders.batches(), [10, 0]);
    assert_eq!((users.left(), orders.left()), (25, 10));
    let report = report(&result);
    assert!(!report.dry_run);
    assert_eq!(report.targets.iter().map(counts).collect::<Vec<_>>(), [(25, 25), (10, 10)]);
    assert_eq!(report.targets[0].name, "users");
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_second_run_finds_nothing_more() {
    let users = Shelf::new("users", 25);
    let jobs = start(RetentionTargets::new().with(users.clone())).await;
    assert!(run(&jobs, purge()).await.success);
    let again = run(&jobs, purge()).await;
    assert!(again.success);
    assert_eq!(counts(&report(&again).targets[0]), (0, 0));
    assert_eq!(users.left(), 25);
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_dry_run_deletes_nothing_and_counts_what_a_run_then_deletes() {
    let users = Shelf::new("users", 25);
    let jobs = start(RetentionTargets::new().with(users.clone()).batch_size(10)).await;
    let dry = run(&jobs, data_retention::dry_run()).await;
    assert_eq!(dry.message.as_deref(), Some("dry run; expired items: 25, targets: 1"));
    assert!(report(&dry).dry_run);
    assert_eq!(counts(&report(&dry).targets[0]), (25, 0));
    assert_eq!((users.left(), users.batches()), (50, vec![]));
    let real = run(&jobs, purge()).await;
    assert_eq!(counts(&report(&real).targets[0]), (25, 25));
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_target_that_fails_does_not_stop_the_others_and_all_errors_are_told() {
    let (first, last) = (Shelf::new("first", 1), Shelf::new("last", 1));
    let some = Shelf::new("some", 1).with(Fault::CannotDeleteSome);
    let targets = RetentionTargets::new()
        .with(first.clone())
        .with(Shelf::new("closed", 1).with(Fault::FailsForGood("the store is closed")))
        .with(Shelf::new("broken", 1).with(Fault::Panics))
        .with(some)
        .with(last.clone());
    let jobs = start(targets).await;
    let result = run(&jobs, purge()).await;
    assert!(!result.success);
    assert_eq!((first.left(), last.left()), (1, 1));
    assert_eq!(
        result.error.as_ref().unwrap().chain,
        ["3 of 5 retention targets failed: closed: the store is closed; \
          broken: panicked: out of shelves; \
          some: could not delete 1 of what is expired, such as item 7: it is referred to"]
    );
    let report = report(&result);
    let all: Vec<_> = report.targets.iter().map(counts).collect();
    assert_eq!(all, [(1, 1), (0, 0), (0, 0), (2, 1), (1, 1)]);
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_run_that_failed_is_tried_again_and_does_the_rest() {
    let (users, orders) = (Shelf::new("users", 1), Shelf::new("orders", 1));
    let users = users.with(Fault::FailsOnce("busy"));
    let targets = RetentionTargets::new().with(users.clone()).with(orders.clone());
    let jobs = vars([("JOBS_ATTEMPTS", "3")]).state(targets).start().await.unwrap();
    let result = run(&jobs, purge()).await;
    assert!(result.success);
    assert_eq!(result.attempts, 2);
    assert_eq!((users.left(), orders.left()), (1, 1));
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_cannot_mend_itself_is_not_tried_again() {
    for (others, attempts) in [(None, 1), (Some(Fault::Panics), 3)] {
        let users = Shelf::new("users", 1).with(Fault::FailsForGood("no such table"));
        let orders = Shelf::new("orders", 1);
        *orders.fault.lock().unwrap() = others;
        let targets = RetentionTargets::new().with(users).with(orders);
        let jobs = vars([("JOBS_ATTEMPTS", "3")]).state(targets).start().await.unwrap();
        assert_eq!(run(&jobs, purge()).await.attempts, attempts);
        jobs.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_target_that_always_says_more_is_asked_no_longer_than_it_deletes() {
    let users = Shelf::new("users", 15).with(Fault::SaysMore);
    let jobs = start(RetentionTargets::new().with(users.clone()).batch_size(10)).await;
    let result = run(&jobs, purge()).await;
    let error = result.error.as_ref().unwrap();
    assert_eq!(error.kind, FailureKind::Permanent);
    assert!(error.to_string().contains("it would be asked for ever"), "{error}");
    assert_eq!(users.batches(), [10, 5, 0]);
    assert_eq!(counts(&report(&result).targets[0]), (15, 15));
    jobs.shutdown().await.unwrap();
}

/// A store that several processes have one after the other.
async fn store(clock: Arc<dyn Clock>) -> Arc<dyn JobAdapter> {
    let memory = Provider::linked().into_iter().find(|it| it.name == "memory").unwrap();
    (memory.connect)(Connection::new(Namespace::new("test").unwrap(), clock)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_told_of_a_shutdown_hands_itself_back_after_its_batch() {
    let clock = Arc::new(TestClock::new(Timestamp::now()));
    let store = store(clock.clone()).await;
    let reached = Arc::new(Notify::new());
    let users = Shelf::new("users", 25).with(Fault::HoldsUp(reached.clone()));
    let targets = RetentionTargets::new().with(users.clone()).batch_size(10);
    let process = async || {
        let jobs = vars([]).state(targets.clone()).adapter(store.clone()).clock(clock.clone());
        jobs.start().await.unwrap()
    };
    let first = process().await;
    let run = first.trigger("data-retention").await.unwrap();
    reached.notified().await;
    first.shutdown().await.unwrap();
    assert_eq!(users.batches(), [10]);
    let record = store.job(run.queue(), run.id()).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempts), (JobState::Waiting, 0));

    *users.fault.lock().unwrap() = None;
    let second = process().await;
    let record = store.await_finish(run.queue(), run.id(), minutes(1)).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempts), (JobState::Completed, 1));
    assert_eq!(users.left(), 25);
    second.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_that_is_told_of_a_shutdown_hands_itself_back_at_once() {
    let clock = Arc::new(TestClock::new(Timestamp::now()));
    let store = store(clock.clone()).await;
    let reached = Arc::new(Notify::new());
    let users = Shelf::new("users", 25).with(Fault::HoldsUp(reached.clone()));
    let jobs = vars([]).state(RetentionTargets::new().with(users)).adapter(store.clone());
    let jobs = jobs.clock(clock.clone()).start().await.unwrap();
    let run = jobs.trigger(data_retention::dry_run()).await.unwrap();
    reached.notified().await;
    let before = clock.now();
    jobs.shutdown().await.unwrap();
    assert_eq!(clock.now(), before);
    let record = store.job(run.queue(), run.id()).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempts), (JobState::Waiting, 0));
}

#[derive(Debug)]
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp::now() + self.0
    }

    fn longest_sleep(&self) -> Option<Duration> {
        Some(seconds(30))
    }
}

#[tokio::test]
async fn a_clock_that_is_ahead_makes_nothing_old_alone() {
    for (of_store, of_process) in [(days(0), days(10)), (days(10), days(0))] {
        let store = store(Arc::new(Ahead(of_store))).await;
        let users = Shelf::new("users", 1);
        let jobs = vars([]).state(RetentionTargets::new().with(users.clone())).adapter(store);
        let jobs = jobs.clock(Arc::new(Ahead(of_process))).start().await.unwrap();
        assert!(run(&jobs, purge()).await.success);
        assert_eq!(users.left(), 1, "what was deleted 29 days ago stays");
        jobs.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_payload_that_is_misspelt_deletes_nothing() {
    let users = Shelf::new("users", 1);
    let jobs = start(RetentionTargets::new().with(users.clone())).await;
    let result = run(&jobs, NewJob::new("data-retention", &json!({ "dryRun": true }))).await;
    let error = result.error.unwrap();
    assert_eq!(error.kind, FailureKind::Payload);
    assert!(error.to_string().contains("dry_run"), "{error}");
    assert_eq!(users.left(), 2);
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_run_without_targets_completes_and_says_that_there_are_none() {
    let jobs = start(RetentionTargets::new()).await;
    let result = run(&jobs, purge()).await;
    assert!(result.success);
    assert_eq!(result.message.as_deref(), Some("there are no targets"));
    assert_eq!(report(&result).targets, []);
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_process_that_would_run_it_and_was_given_no_targets_does_not_start() {
    for enabled in ["true", "false"] {
        let process = vars([("JOBS_DATA_RETENTION_ENABLED", enabled)]);
        let error = process.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let message = error.to_string();
        assert!(message.contains("the job \"data-retention\" (at "), "{message}");
        assert!(
            message.contains("RetentionTargets>, and nobody gave one; add .state("),
            "{message}"
        );
    }
    // One that only fires its schedule needs none.
    let jobs = vars([("WORKER_ROLE", "cron")]).start().await.unwrap();
    assert!(jobs.is_scheduled("data-retention").await.unwrap());
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn it_is_scheduled_at_two_in_the_night_unless_variables_say_otherwise() {
    for (set, pattern, enabled) in [
        ([].as_slice(), "0 2 * * *", true),
        (&[("JOBS_DATA_RETENTION_SCHEDULE", "30 4 * * 7")], "30 4 * * 7", true),
        (&[("JOBS_DATA_RETENTION_ENABLED", "false")], "0 2 * * *", false),
    ] {
        let all = set.iter().copied().chain([("JOBS_PROVIDER", "memory")]);
        let jobs = Jobs::from_vars(all).state(RetentionTargets::new()).start().await.unwrap();
        let record = jobs.scheduled_job("data-retention").await.unwrap().unwrap();
        let schedule = &record.schedule;
        assert_eq!((schedule.id.as_str(), schedule.enabled), ("data-retention", enabled));
        let timing = Timing::Cron { pattern: pattern.into(), timezone: "UTC".into() };
        assert_eq!(schedule.timing, timing);
        jobs.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn its_schedule_makes_a_run_that_deletes() {
    // 2026-11-22T01:59:00Z
    let start = Timestamp::from_millis(1_795_312_740_000);
    let users = Shelf::new("users", 0);
    users.items.lock().unwrap().extend([start - days(31), start - days(29)]);
    let jobs = vars([("JOBS_KEEP_COMPLETED", "1h")])
        .clock(Arc::new(TestClock::new(start)))
        .state(RetentionTargets::new().with(users.clone()));
    let jobs = jobs.start().await.unwrap();
    tokio::time::sleep(seconds(59)).await;
    assert_eq!(users.left(), 2);
    tokio::time::sleep(seconds(2)).await;
    assert_eq!((users.left(), users.batches()), (1, vec![1]));
    jobs.shutdown().await.unwrap();
}
