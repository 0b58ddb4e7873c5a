//! The job as an application has it.

use std::sync::Arc;

use shiftwork::FailureKind;
use shiftwork::adapter::{Clock, Connection, Namespace, Provider};
use shiftwork::prelude::*;
use shiftwork_jobs::data_retention::{self, DataRetention, RetentionReport, RetentionTargets};

use super::*;

async fn start(targets: RetentionTargets) -> Jobs {
    let jobs = Jobs::from_vars([("JOBS_PROVIDER", "memory"), ("JOBS_ATTEMPTS", "2")]);
    jobs.state(targets).start().await.unwrap()
}

async fn run(jobs: &Jobs, job: NewJob) -> (JobResult, RetentionReport) {
    let run = jobs.trigger(job).await.unwrap();
    let result = run.result(minutes(1)).await.unwrap().finished().unwrap();
    let report = result.data().unwrap().unwrap();
    (result, report)
}

fn since_now(age: Duration) -> Option<Timestamp> {
    Some(Timestamp::now() - age)
}

#[tokio::test]
async fn the_job_deletes_what_its_dry_run_counted() {
    let deleted_at = |id| since_now(days(if id <= 25 { 91 } else { 89 }));
    let database = Database::with_accounts(40, deleted_at).await;
    let accounts = accounts(database.pool.clone()).named("closed accounts").build().unwrap();
    let jobs = start(RetentionTargets::new().with(accounts).batch_size(10)).await;

    let (result, report) = run(&jobs, data_retention::dry_run()).await;
    assert_eq!(result.message.as_deref(), Some("dry run; expired items: 25, targets: 1"));
    let target = &report.targets[0];
    assert_eq!((target.name.as_str(), target.expired, target.deleted), ("closed accounts", 25, 0));
    assert_eq!(database.counts().await, [40, 80, 40, 80]);

    let (result, report) = run(&jobs, DataRetention::default().job()).await;
    assert!(result.success);
    let target = &report.targets[0];
    assert_eq!((target.expired, target.deleted, target.bytes), (25, 25, None));
    assert_eq!(database.counts().await, [15, 30, 15, 30]);

    let (_, report) = run(&jobs, DataRetention::default().job()).await;
    assert_eq!((report.targets[0].expired, report.targets[0].deleted), (0, 0));
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_job_tells_of_rows_that_are_held_without_saying_whose_they_are() {
    let database = Database::with_accounts(10, |_| since_now(days(91))).await;
    database.execute("INSERT INTO invoices (account_id) VALUES (3), (4)").await;
    database.execute("UPDATE accounts SET deleted_at = 'a5@example.org' WHERE id = 5").await;
    let jobs = start(RetentionTargets::new().with(database.accounts()).batch_size(4)).await;
    let (result, report) = run(&jobs, DataRetention::default().job()).await;
    assert!(!result.success);
    assert_eq!(
        result.error.unwrap().chain,
        ["1 of 1 retention targets failed: accounts: could not delete 2 of what is expired, such \
          as a row of accounts that invoices still refers to"]
    );
    // Of the second attempt.
    assert_eq!(result.attempts, 2);
    let target = &report.targets[0];
    assert_eq!((target.expired, target.deleted, target.failed.count), (2, 0, 2));
    assert_eq!(target.skipped.count, 1);
    assert!(!format!("{report:?}").contains("example.org"));
    assert_eq!(database.ids("accounts").await, [3, 4, 5]);
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_job_does_not_try_again_what_is_misspelt() {
    let database = Database::with_accounts(1, |_| since_now(days(91))).await;
    let rows = ExpiredRows::of(database.pool.clone(), "acounts");
    let rows = rows.deleted_at("deleted_at", TimeFormat::Text).older_than(days(90));
    let jobs = start(RetentionTargets::new().with(rows.build().unwrap())).await;
    let (result, _) = run(&jobs, DataRetention::default().job()).await;
    let error = result.error.unwrap();
    assert_eq!((error.kind, result.attempts), (FailureKind::Permanent, 1));
    assert!(error.to_string().contains("there is no table acounts"), "{error}");
    jobs.shutdown().await.unwrap();
}

/// The time of this machine, moved.
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
async fn its_schedule_makes_a_run_that_deletes_rows() {
    // Not a paused clock: SQLite has a thread of its own, which does not wait for one.
    const DAY: i64 = 86_400_000;
    let second_before_two = 2 * 3_600_000 - 1000;
    let ms = (second_before_two - Timestamp::now().as_millis()).rem_euclid(DAY);
    let clock = Arc::new(Ahead(Duration::from_millis(ms.unsigned_abs())));
    let now = clock.now();
    let at = |id| Some(now - days(if id <= 5 { 91 } else { 89 }));
    let database = Database::with_accounts(10, at).await;
    let memory = Provider::linked().into_iter().find(|it| it.name == "memory").unwrap();
    let connection = Connection::new(Namespace::new("test").unwrap(), clock.clone());
    let store = (memory.connect)(connection).await.unwrap();
    let jobs = Jobs::from_vars([("JOBS_PROVIDER", "memory")])
        .adapter(store)
        .clock(clock)
        .state(RetentionTargets::new().with(database.accounts()));
    let jobs = jobs.start().await.unwrap();
    let purged = async {
        while database.count("accounts").await == 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(seconds(60), purged).await.expect("it is two o'clock in a second");
    assert_eq!(database.counts().await, [5, 10, 5, 10]);
    jobs.shutdown().await.unwrap();
}
