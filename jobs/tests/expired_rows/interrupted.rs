//! Others that use the database too, and batches that are dropped.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_the_same_time_delete_each_row_once() {
    for mode in [SqliteJournalMode::Wal, SqliteJournalMode::Delete] {
        let database = Database::with_accounts(300, |id| old().filter(|_| id > 100)).await;
        database.pool.close().await;
        let one = connect(&database.dir, |options| options.journal_mode(mode)).await;
        let other = connect(&database.dir, |options| options.journal_mode(mode)).await;
        let database = Database { dir: database.dir, pool: one };
        let (one, other) = (database.accounts(), accounts(other).build().unwrap());
        let other = tokio::spawn(async move { purge(&other, 7).await });
        let one = purge(&one, 7).await;
        let other = other.await.unwrap();
        assert_eq!(deleted(&one) + deleted(&other), 200, "{mode:?}");
        assert_eq!(failed(&one) + failed(&other), 0);
        assert_eq!(database.counts().await, [100, 200, 100, 200]);
    }
}

#[tokio::test]
async fn a_busy_database_is_an_error_that_another_attempt_may_not_meet() {
    let database = Database::with_accounts(10, |_| old()).await;
    let short = |options: SqliteConnectOptions| options.busy_timeout(Duration::from_millis(20));
    let rows = accounts(connect(&database.dir, short).await).build().unwrap();
    let writer = database.pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = rows.delete_batch(CUT, 100, &mut Default::default()).await.unwrap_err();
    assert!(!error.is_permanent());
    assert!(error.to_string().contains("the database is busy: "), "{error}");
    writer.rollback().await.unwrap();
    assert_eq!(deleted(&purge(&rows, 100).await), 10);
}

/// Drops a future once it has waited so often; `None` where it came to its end before.
async fn dropped_after<T>(waits: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut waited) = (pin!(work), 0);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if waited == waits => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn a_batch_that_is_dropped_wherever_it_is_has_deleted_all_or_none_of_a_row() {
    let mut dropped = 0;
    for waits in 0.. {
        let database = Database::with_accounts(10, |_| old()).await;
        database.execute("INSERT INTO invoices (account_id) VALUES (7)").await;
        let (rows, mut cursor) = (database.accounts(), Default::default());
        let batch = dropped_after(waits, rows.delete_batch(CUT, 8, &mut cursor)).await;
        // What it began is over: nobody else has to wait for it.
        database.execute("BEGIN IMMEDIATE; COMMIT").await;
        let [accounts, sessions, orders, lines] = database.counts().await;
        assert_eq!([sessions, orders, lines], [2 * accounts, accounts, 2 * accounts], "{waits}");
        assert_eq!(database.count("pragma_foreign_key_check").await, 0);
        // And a new run does the rest.
        let rest = purge(&rows, 8).await;
        assert_eq!((deleted(&rest), failed(&rest)), (accounts as u64 - 1, 1), "{waits}");
        match batch {
            None => dropped += 1,
            Some(batch) => {
                assert_eq!(batch.unwrap().deleted, 7);
                break;
            }
        }
    }
    assert!(dropped > 20, "it was dropped at {dropped} points only");
}

#[tokio::test]
async fn what_a_batch_deleted_stays_deleted_when_the_next_one_is_dropped() {
    let database = Database::with_accounts(20, |_| old()).await;
    let (rows, mut cursor) = (database.accounts(), Default::default());
    assert_eq!(rows.delete_batch(CUT, 5, &mut cursor).await.unwrap().deleted, 5);
    let writer = database.pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let next =
        tokio::time::timeout(Duration::from_millis(50), rows.delete_batch(CUT, 5, &mut cursor));
    assert!(next.await.is_err(), "it should wait for the writer");
    writer.rollback().await.unwrap();
    assert_eq!(database.counts().await, [15, 30, 15, 30]);
}
