//! Expired rows of a real SQLite file, deleted with their dependents.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.
#![allow(clippy::disallowed_methods, reason = "tests let time pass")]

mod batches;
mod held;
mod interrupted;
mod job;
mod names;
mod times;

use std::time::Duration;

use shiftwork::{JobError, Timestamp};
use shiftwork_jobs::data_retention::{
    Batch, Dependents, ExpiredRows, ExpiredRowsBuilder, RetentionTarget, TimeFormat,
};
use shiftwork_jobs::days;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, SqlitePool};
use tempfile::TempDir;

/// Accounts with sessions that go with them by the schema, orders that do not, and invoices that
/// hold them.
const SCHEMA: &str = "
    CREATE TABLE accounts (id INTEGER PRIMARY KEY, email TEXT NOT NULL, deleted_at TEXT);
    CREATE INDEX accounts_deleted ON accounts (deleted_at, id) WHERE deleted_at IS NOT NULL;
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY,
        account_id INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE
    );
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY,
        account_id INTEGER NOT NULL REFERENCES accounts
    );
    CREATE TABLE order_lines (
        id INTEGER PRIMARY KEY,
        order_id INTEGER NOT NULL REFERENCES orders
    );
    CREATE TABLE invoices (
        id INTEGER PRIMARY KEY,
        account_id INTEGER NOT NULL REFERENCES accounts ON DELETE RESTRICT
    );";

/// What is before this is expired: 2026-08-24T00:00:00Z.
const CUT: Timestamp = Timestamp::from_millis(1_787_529_600_000);

/// A database in a file.
struct Database {
    dir: TempDir,
    pool: SqlitePool,
}

impl Database {
    async fn new(schema: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pool = connect(&dir, |options| options).await;
        let database = Self { dir, pool };
        database.execute(schema).await;
        database
    }

    /// Accounts from 1 to `count`, each with two sessions and an order of two lines.
    async fn with_accounts(count: u32, deleted_at: impl Fn(u32) -> Option<Timestamp>) -> Self {
        let database = Self::new(SCHEMA).await;
        database.add_accounts(count, deleted_at).await;
        database
    }

    async fn add_accounts(&self, count: u32, deleted_at: impl Fn(u32) -> Option<Timestamp>) {
        let mut sql = String::from("BEGIN;");
        for id in 1..=count {
            let at = deleted_at(id).map_or("NULL".into(), |at| format!("'{at}'"));
            sql += &format!(
                "INSERT INTO accounts VALUES ({id}, 'a{id}@example.org', {at});
                 INSERT INTO sessions (account_id) VALUES ({id}), ({id});
                 INSERT INTO orders VALUES ({id} * 10, {id});
                 INSERT INTO order_lines (order_id) VALUES ({id} * 10), ({id} * 10);"
            );
        }
        self.execute(&(sql + "COMMIT;")).await;
    }

    async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }

    async fn count(&self, what: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {what}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await.unwrap()
    }

    /// Of accounts, sessions, orders and their lines.
    async fn counts(&self) -> [i64; 4] {
        let mut counts = [0; 4];
        for (count, table) in
            counts.iter_mut().zip(["accounts", "sessions", "orders", "order_lines"])
        {
            *count = self.count(table).await;
        }
        counts
    }

    async fn ids(&self, table: &str) -> Vec<i64> {
        let sql = format!("SELECT id FROM {table} ORDER BY id");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.pool).await.unwrap()
    }

    fn accounts(&self) -> ExpiredRows {
        accounts(self.pool.clone()).build().unwrap()
    }
}

async fn connect(
    dir: &TempDir,
    with: impl FnOnce(SqliteConnectOptions) -> SqliteConnectOptions,
) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(dir.path().join("app.sqlite"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(60));
    SqlitePoolOptions::new().max_connections(3).connect_with(with(options)).await.unwrap()
}

fn accounts(pool: SqlitePool) -> ExpiredRowsBuilder {
    let orders = Dependents::in_table("orders", "account_id")
        .with_dependents("id", Dependents::in_table("order_lines", "order_id"));
    ExpiredRows::of(pool, "accounts")
        .deleted_at("deleted_at", TimeFormat::Text)
        .older_than(days(90))
        .with_dependents(orders)
}

/// The table `t` of a test of its own.
fn rows(database: &Database, format: TimeFormat) -> ExpiredRows {
    let rows = ExpiredRows::of(database.pool.clone(), "t").deleted_at("at", format);
    rows.older_than(days(90)).build().unwrap()
}

/// Every batch of a run.
async fn purge(rows: &ExpiredRows, limit: u32) -> Vec<Batch> {
    let (mut batches, mut cursor) = (Vec::new(), Default::default());
    loop {
        let batch = rows.delete_batch(CUT, limit, &mut cursor).await.unwrap();
        assert!(batch.deleted <= u64::from(limit) && (batch.deleted > 0 || !batch.more));
        let more = batch.more;
        batches.push(batch);
        if !more {
            return batches;
        }
    }
}

fn deleted(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| batch.deleted).sum()
}

fn failed(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| batch.failed.count).sum()
}

/// What a run ends with at once, and a dry run too.
async fn error(rows: &ExpiredRows) -> JobError {
    let counting = rows.count(CUT).await.unwrap_err();
    let deleting = rows.delete_batch(CUT, 10, &mut Default::default()).await.unwrap_err();
    assert_eq!(counting.to_string(), deleting.to_string());
    assert_eq!(counting.is_permanent(), deleting.is_permanent());
    deleting
}

async fn permanent(rows: &ExpiredRows) -> String {
    let error = error(rows).await;
    assert!(error.is_permanent(), "{error}");
    error.to_string()
}

fn old() -> Option<Timestamp> {
    Some(CUT - days(1))
}

fn young() -> Option<Timestamp> {
    Some(CUT + days(1))
}
