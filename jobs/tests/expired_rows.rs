//! Expired rows of a real SQLite file, deleted with their dependents.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use shiftwork::adapter::{Clock, Connection, Namespace, Provider};
use shiftwork::prelude::*;
use shiftwork::{FailureKind, Timestamp};
use shiftwork_jobs::data_retention::{
    self, Batch, DataRetention, Dependents, ExpiredRows, ExpiredRowsBuilder, RetentionReport,
    RetentionTarget, RetentionTargets, TimeFormat,
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

#[tokio::test]
async fn accounts_that_were_deleted_long_ago_go_with_all_their_dependents_and_others_stay() {
    let deleted_at = |id| match id % 3 {
        0 => old(),
        1 => young(),
        _ => None,
    };
    let database = Database::with_accounts(9, deleted_at).await;
    let batches = purge(&database.accounts(), 1000).await;
    assert_eq!((deleted(&batches), failed(&batches), batches.len()), (3, 0, 1));
    assert_eq!(batches[0].bytes, None);
    assert_eq!(database.ids("accounts").await, [1, 2, 4, 5, 7, 8]);
    assert_eq!(database.ids("orders").await, [10, 20, 40, 50, 70, 80]);
    assert_eq!(database.counts().await, [6, 12, 6, 12]);
    assert_eq!(database.count("pragma_foreign_key_check").await, 0);
}

#[tokio::test]
async fn what_was_deleted_exactly_then_is_not_older() {
    let millisecond = Duration::from_millis(1);
    let at = [CUT - millisecond, CUT, CUT + millisecond];
    let database = Database::with_accounts(3, |id| Some(at[id as usize - 1])).await;
    assert_eq!(database.accounts().count(CUT).await.unwrap().expired, 1);
    assert_eq!(deleted(&purge(&database.accounts(), 10).await), 1);
    assert_eq!(database.ids("accounts").await, [2, 3]);
}

#[tokio::test]
async fn counting_changes_nothing_and_finds_what_is_then_deleted() {
    let database = Database::with_accounts(30, |id| old().filter(|_| id > 10)).await;
    let before = database.counts().await;
    let count = database.accounts().count(CUT).await.unwrap();
    assert_eq!((count.expired, count.bytes, count.skipped.count), (20, None, 0));
    assert_eq!(database.counts().await, before);
    assert_eq!(deleted(&purge(&database.accounts(), 1000).await), 20);
}

#[tokio::test]
async fn a_batch_deletes_no_more_than_it_is_told_to_and_begins_with_the_oldest() {
    let at = |id| Some(CUT - days(1) - Duration::from_secs(u64::from(id)));
    let database = Database::with_accounts(25, at).await;
    let (rows, mut cursor) = (database.accounts(), Default::default());
    let batch = rows.delete_batch(CUT, 10, &mut cursor).await.unwrap();
    assert_eq!((batch.deleted, batch.more), (10, true));
    assert_eq!(database.ids("accounts").await, (1..=15).collect::<Vec<_>>());
    let batch = rows.delete_batch(CUT, 10, &mut cursor).await.unwrap();
    assert_eq!((batch.deleted, batch.more), (10, true));
    let batch = rows.delete_batch(CUT, 10, &mut cursor).await.unwrap();
    assert_eq!((batch.deleted, batch.more), (5, false));
    assert_eq!(database.counts().await, [0; 4]);
}

#[tokio::test]
async fn rows_of_the_same_time_are_met_one_after_the_other() {
    let database = Database::with_accounts(25, |_| old()).await;
    let batches = purge(&database.accounts(), 7).await;
    let batches: Vec<_> = batches.iter().map(|batch| (batch.deleted, batch.more)).collect();
    assert_eq!(batches, [(7, true), (7, true), (7, true), (4, false)]);
}

#[tokio::test]
async fn a_second_run_deletes_nothing_more() {
    let database = Database::with_accounts(20, |id| if id > 10 { old() } else { young() }).await;
    assert_eq!(deleted(&purge(&database.accounts(), 3).await), 10);
    let again = purge(&database.accounts(), 3).await;
    assert_eq!((deleted(&again), failed(&again), again.len()), (0, 0, 1));
    assert_eq!(database.count("accounts").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_the_same_time_delete_each_row_once() {
    let database = Database::with_accounts(300, |id| old().filter(|_| id > 100)).await;
    let other = accounts(connect(&database.dir, |options| options).await).build().unwrap();
    let rows = database.accounts();
    let other = tokio::spawn(async move { purge(&other, 7).await });
    let one = purge(&rows, 7).await;
    let other = other.await.unwrap();
    assert_eq!(deleted(&one) + deleted(&other), 200);
    assert_eq!(failed(&one) + failed(&other), 0);
    assert_eq!(database.counts().await, [100, 200, 100, 200]);
}

#[tokio::test]
async fn a_row_that_another_table_holds_stays_with_its_dependents_and_the_others_go() {
    let database = Database::with_accounts(40, |_| old()).await;
    database.execute("INSERT INTO invoices (account_id) VALUES (1), (17), (18), (40)").await;
    let count = database.accounts().count(CUT).await.unwrap();
    for limit in [1000, 3] {
        let batches = purge(&database.accounts(), limit).await;
        // A dry run counts them: they are expired.
        let expected = if limit == 1000 { count.expired - 4 } else { 0 };
        assert_eq!((deleted(&batches), failed(&batches)), (expected, 4));
        let told: Vec<_> = batches.iter().flat_map(|batch| &batch.failed.first).collect();
        assert_eq!(told[0], "a row of accounts that invoices still refers to");
        assert_eq!(database.ids("accounts").await, [1, 17, 18, 40]);
        assert_eq!(database.counts().await, [4, 8, 4, 8]);
    }
}

#[tokio::test]
async fn a_whole_batch_that_is_held_does_not_end_the_run() {
    let database = Database::with_accounts(20, |_| old()).await;
    let held = "INSERT INTO invoices (account_id) SELECT id FROM accounts WHERE id <= 15";
    database.execute(held).await;
    let batches = purge(&database.accounts(), 5).await;
    assert_eq!((deleted(&batches), failed(&batches)), (5, 15));
    assert_eq!(database.ids("accounts").await, (1..=15).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_row_that_is_held_only_when_its_transaction_ends_is_told_of_too() {
    let database = Database::with_accounts(10, |_| old()).await;
    database
        .execute(
            "CREATE TABLE notes (account_id INTEGER
                 REFERENCES accounts DEFERRABLE INITIALLY DEFERRED);
             INSERT INTO notes VALUES (4);",
        )
        .await;
    let batches = purge(&database.accounts(), 100).await;
    assert_eq!((deleted(&batches), failed(&batches)), (9, 1));
    // Which of the two it is, SQLite does not say.
    let told = "a row of accounts that invoices or notes still refers to";
    assert_eq!(batches[0].failed.first, [told]);
    assert_eq!(database.counts().await, [1, 2, 1, 2]);
}

#[tokio::test]
async fn a_row_that_a_trigger_keeps_is_told_of_without_what_the_trigger_says() {
    let database = Database::with_accounts(10, |_| old()).await;
    database
        .execute(
            "CREATE TRIGGER hold BEFORE DELETE ON accounts WHEN old.id = 3
             BEGIN SELECT RAISE(ABORT, 'a3@example.org is in court'); END",
        )
        .await;
    let batches = purge(&database.accounts(), 100).await;
    assert_eq!((deleted(&batches), failed(&batches)), (9, 1));
    let told = &batches[0].failed.first[0];
    assert_eq!(told, "a row of accounts that a trigger or constraint keeps (SQLite's code 1811)");
    assert_eq!(database.counts().await, [1, 2, 1, 2]);
}

#[tokio::test]
async fn a_row_that_a_trigger_leaves_without_a_word_keeps_its_dependents_and_is_told_of() {
    let database = Database::with_accounts(10, |_| old()).await;
    database
        .execute(
            "CREATE TRIGGER hold BEFORE DELETE ON accounts WHEN old.id = 3
             BEGIN SELECT RAISE(IGNORE); END",
        )
        .await;
    let batches = purge(&database.accounts(), 4).await;
    assert_eq!((deleted(&batches), failed(&batches)), (9, 1));
    let told = "a row of accounts that a trigger leaves where it is";
    assert_eq!(batches[0].failed.first, [told]);
    assert_eq!(database.counts().await, [1, 2, 1, 2]);
}

#[tokio::test]
async fn a_trigger_that_ends_the_transaction_fails_the_batch_and_spoils_no_connection() {
    let database = Database::with_accounts(2, |_| old()).await;
    database
        .execute(
            "CREATE TRIGGER hold BEFORE DELETE ON accounts
             BEGIN SELECT RAISE(ROLLBACK, 'a secret'); END",
        )
        .await;
    for _ in 0..5 {
        let rows = database.accounts();
        let error = rows.delete_batch(CUT, 10, &mut Default::default()).await.unwrap_err();
        let told = "could not delete what is expired, for a row of accounts that a trigger or \
                    constraint keeps (SQLite's code 1811)";
        assert_eq!(error.to_string(), told);
    }
    assert_eq!(database.counts().await, [2, 4, 2, 4]);
    database.execute("DROP TRIGGER hold").await;
    assert_eq!(deleted(&purge(&database.accounts(), 10).await), 2);
}

#[tokio::test]
async fn where_foreign_keys_are_not_enforced_nothing_is_orphaned() {
    let database = Database::with_accounts(10, |_| old()).await;
    let pool = connect(&database.dir, |options| options.foreign_keys(false)).await;
    assert_eq!(
        permanent(&accounts(pool.clone()).build().unwrap()).await,
        "rows of the table invoices would be orphaned: they refer by account_id to accounts, and \
         this connection does not enforce foreign keys; connect with \
         SqliteConnectOptions::foreign_keys(true), which is the default, or declare \
         Dependents::in_table(\"invoices\", \"account_id\")"
    );
    assert_eq!(database.counts().await, [10, 20, 10, 20]);

    // Those of a dependent count as well.
    let shallow = ExpiredRows::of(pool.clone(), "accounts")
        .deleted_at("deleted_at", TimeFormat::Text)
        .older_than(days(90))
        .with_dependents(Dependents::in_table("orders", "account_id"))
        .with_dependents(Dependents::in_table("sessions", "account_id"))
        .with_dependents(Dependents::in_table("invoices", "account_id"));
    let message = permanent(&shallow.build().unwrap()).await;
    assert!(message.starts_with("rows of the table order_lines would be"), "{message}");

    // Where all are declared, none is left over.
    let all = accounts(pool)
        .with_dependents(Dependents::in_table("sessions", "account_id"))
        .with_dependents(Dependents::in_table("invoices", "account_id"));
    assert_eq!(deleted(&purge(&all.build().unwrap(), 3).await), 10);
    assert_eq!(database.counts().await, [0; 4]);
}

#[tokio::test]
async fn dependents_that_are_not_there_or_not_only_of_expired_rows_are_no_trouble() {
    let database = Database::with_accounts(3, |id| old().filter(|_| id == 2)).await;
    database
        .execute(
            "CREATE TABLE votes (voter INTEGER);
             INSERT INTO votes VALUES (1), (NULL), (3), (99);",
        )
        .await;
    let rows = accounts(database.pool.clone());
    let rows = rows.with_dependents(Dependents::in_table("votes", "voter")).build().unwrap();
    assert_eq!(deleted(&purge(&rows, 10).await), 1);
    assert_eq!((database.count("votes").await, database.ids("accounts").await), (4, vec![1, 3]));
}

#[tokio::test]
async fn a_misspelt_table_or_column_is_an_error_that_names_it_and_deletes_nothing() {
    let database = Database::with_accounts(3, |_| old()).await;
    let of = |table, key, deleted_at, dependents: (&str, &str)| {
        ExpiredRows::of(database.pool.clone(), table)
            .deleted_at(deleted_at, TimeFormat::Text)
            .older_than(days(90))
            .key(key)
            .with_dependents(Dependents::in_table(dependents.0, dependents.1))
            .build()
            .unwrap()
    };
    let orders = ("orders", "account_id");
    for (rows, told) in [
        (
            of("acounts", "id", "deleted_at", orders),
            "there is no table acounts in the database \"main\"; its tables are accounts, \
             invoices, order_lines, orders, sessions",
        ),
        (
            of("archive.accounts", "id", "deleted_at", orders),
            "there is no table archive.accounts in the database \"archive\"; there are none",
        ),
        (
            of("accounts", "id", "deleted", orders),
            "the table accounts has no column deleted; its columns are id, email, deleted_at",
        ),
        (
            of("accounts", "uuid", "deleted_at", orders),
            "the table accounts has no column uuid; its columns are id, email, deleted_at",
        ),
        (
            of("accounts", "id", "deleted_at", ("order", "account_id")),
            "there is no table order in the database \"main\"; its tables are accounts, invoices, \
             order_lines, orders, sessions",
        ),
        (
            of("accounts", "id", "deleted_at", ("orders", "acount_id")),
            "the table orders has no column acount_id; its columns are id, account_id",
        ),
        (
            of("accounts", "email", "deleted_at", orders),
            "the column email of the table accounts is no key: nothing keeps two rows from having \
             the same; name its primary key, or a column with a UNIQUE index of its own (a key of \
             several columns will not do)",
        ),
    ] {
        assert_eq!(permanent(&rows).await, told);
    }
    database.execute("CREATE VIEW people AS SELECT * FROM accounts").await;
    let message = permanent(&of("people", "id", "deleted_at", orders)).await;
    assert_eq!(message, "people is a view and no table; name the table whose rows expire");
    assert_eq!(database.counts().await, [3, 6, 3, 6]);
}

#[tokio::test]
async fn names_have_no_case() {
    let database = Database::with_accounts(3, |_| old()).await;
    let orders = Dependents::in_table("ORDERS", "Account_Id")
        .with_dependents("ID", Dependents::in_table("Order_Lines", "ORDER_ID"));
    let rows = ExpiredRows::of(database.pool.clone(), "MAIN.Accounts")
        .deleted_at("DELETED_AT", TimeFormat::Text)
        .older_than(days(90))
        .key("Id")
        .with_dependents(orders)
        .build()
        .unwrap();
    assert_eq!(deleted(&purge(&rows, 10).await), 3);
}

#[tokio::test]
async fn names_that_are_more_than_names_are_refused_all_at_once() {
    let pool = SqlitePool::connect_lazy("sqlite::memory:").unwrap();
    let refused = ExpiredRows::of(pool, "accounts; DROP TABLE accounts")
        .deleted_at("deleted_at\" IS NOT NULL OR \"", TimeFormat::Text)
        .older_than(days(90))
        .key("1=1")
        .with_dependents(
            Dependents::in_table("orders", "account_id) OR (1=1")
                .with_dependents("id--", Dependents::in_table("\"", "order_id")),
        )
        .build()
        .unwrap_err();
    let message = refused.to_string();
    assert!(message.starts_with("6 things are wrong:\n  - "), "{message}");
    for seen in [
        "\"accounts; DROP TABLE accounts\" is not a valid table name: it contains ';'",
        "\"1=1\" is not a valid column name: it starts with '1'",
        "\"deleted_at\\\" IS NOT NULL OR \\\"\" is not a valid column name: it contains '\"'",
        "\"account_id) OR (1=1\" is not a valid column name: it contains ')'",
        "\"id--\" is not a valid column name: it contains '-'",
        "\"\\\"\" is not a valid table name: it contains '\"'",
        "use 1 to 100 ASCII letters, digits and '_', not starting with a digit",
    ] {
        assert!(message.contains(seen), "{message}");
    }
}

#[tokio::test]
async fn a_table_cannot_be_its_own_dependents() {
    let pool = SqlitePool::connect_lazy("sqlite::memory:").unwrap();
    for dependents in [
        Dependents::in_table("main.Accounts", "referred_by"),
        Dependents::in_table("orders", "account_id")
            .with_dependents("id", Dependents::in_table("ORDERS", "replaces")),
    ] {
        let rows = ExpiredRows::of(pool.clone(), "accounts")
            .deleted_at("deleted_at", TimeFormat::Text)
            .older_than(days(90));
        let refused = rows.with_dependents(dependents).build().unwrap_err().to_string();
        assert!(refused.contains("cannot be its own dependents: rows of it that"), "{refused}");
    }
}

#[tokio::test]
async fn text_times_of_every_usual_form_are_compared_as_times() {
    let database = Database::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT)").await;
    // The cut is 2026-08-24T00:00:00Z.
    let expired = [
        "2026-08-23 23:59:59",
        "2026-08-23T23:59:59Z",
        "2026-08-23T23:59:59.999Z",
        "2026-08-23 23:59:59.998999",
        "2026-08-23 23:59",
        "2026-08-24T01:59:59+02:00",
        "2026-08-24T13:59:59+14:00",
        "2026-08-23T23:59:59.123456789+00:00",
        "2026-08-23 12:59:59.999-11:00",
        "1999-12-31 00:00:00",
    ];
    let kept = [
        "2026-08-24 00:00:00",
        "2026-08-24T00:00:00Z",
        "2026-08-24T00:00:00.000Z",
        "2026-08-24T02:00:00+02:00",
        "2026-08-23T23:00:00-01:00",
        "2026-08-23T13:00:01-11:00",
        "2026-08-24 00:00:01",
        "3000-01-01T00:00:00Z",
    ];
    for at in expired.into_iter().chain(kept) {
        let insert = sqlx::query("INSERT INTO t (at) VALUES (?)").bind(at);
        insert.execute(&database.pool).await.unwrap();
    }
    let rows = rows(&database, TimeFormat::Text);
    let count = rows.count(CUT).await.unwrap();
    assert_eq!((count.expired, count.skipped.count), (expired.len() as u64, 0));
    assert_eq!(deleted(&purge(&rows, 3).await), expired.len() as u64);
    let mut left: Vec<String> =
        sqlx::query_scalar("SELECT at FROM t ORDER BY id").fetch_all(&database.pool).await.unwrap();
    left.sort_unstable();
    let mut kept = kept.map(String::from);
    kept.sort_unstable();
    assert_eq!(left, kept);
}

#[tokio::test]
async fn unix_times_are_compared_as_numbers() {
    let seconds = CUT.as_millis() / 1000;
    for (format, declared, unit) in [
        (TimeFormat::UnixSeconds, "INTEGER", 1),
        (TimeFormat::UnixSeconds, "REAL", 1),
        (TimeFormat::UnixSeconds, "", 1),
        (TimeFormat::UnixMillis, "INTEGER", 1000),
        (TimeFormat::UnixMillis, "DATETIME", 1000),
    ] {
        let schema = format!("CREATE TABLE t (id INTEGER PRIMARY KEY, at {declared})");
        let database = Database::new(&schema).await;
        let cut = seconds * unit;
        let values = format!(
            "INSERT INTO t (at) VALUES ({cut} - 1), ({cut} - 0.5), ({cut} - 99999999),
                 ({cut}), ({cut} + 1), ({cut} + 0.5), (NULL)"
        );
        database.execute(&values).await;
        let rows = rows(&database, format);
        let count = rows.count(CUT).await.unwrap();
        assert_eq!((count.expired, count.skipped.count), (3, 0), "{format:?} in {declared}");
        assert_eq!(deleted(&purge(&rows, 2).await), 3);
        assert_eq!(database.ids("t").await, [4, 5, 6, 7]);
    }
}

#[tokio::test]
async fn a_part_of_a_second_counts() {
    let database = Database::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at)").await;
    let cut = CUT + Duration::from_millis(500);
    let second = CUT.as_millis() / 1000;
    let values = format!("INSERT INTO t (at) VALUES ({second}), ({second}.499), ({second}.5)");
    database.execute(&values).await;
    let rows = rows(&database, TimeFormat::UnixSeconds);
    assert_eq!(rows.count(cut).await.unwrap().expired, 2);
    assert_eq!(rows.count(CUT).await.unwrap().expired, 0);
}

#[tokio::test]
async fn a_value_that_is_no_time_is_never_deleted_and_is_told_of_once_in_a_run() {
    // Seconds where milliseconds should be, and the other way round, are among them.
    for (format, values, told) in [
        (
            TimeFormat::Text,
            "(''), ('yesterday'), ('now'), ('2020-01-01'), ('12:00'), ('2451544.5'), ('1000'),
             ('2020-13-01 00:00:00'), ('2020-01-01 00:00:60'), ('2020-01-01 00:00:00 CET'),
             ('0000-00-00 00:00:00'), ('0001-01-01T00:00:00Z'), ('9999-12-31T23:59:59Z'),
             (1000000000), (x'323032302d30312d30312030303a30303a3030'), (0)",
            "a row whose at is not a date and a time as text, such as 2026-05-27T10:00:00Z, \
             between the years 1973 and 5138",
        ),
        (
            TimeFormat::UnixSeconds,
            "(''), ('yesterday'), ('2020-01-01 00:00:00'), (0), (-1), (2451544.5),
             (1577836800000), (x'00'), (99999999), (100000000000)",
            "a row whose at is not a number of seconds since 1970, between the years 1973 and 5138",
        ),
        (
            TimeFormat::UnixMillis,
            "(''), ('yesterday'), ('1577836800000'), (0), (-1), (1577836800), (x'00'),
             (1577836800000000)",
            "a row whose at is not a number of milliseconds since 1970, between the years 1973 and \
             5138",
        ),
    ] {
        let database = Database::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at)").await;
        database.execute(&format!("INSERT INTO t (at) VALUES {values}")).await;
        let bad = database.count("t").await as u64;
        let good = match format {
            TimeFormat::Text => "(11, '2020-01-01 00:00:00'), (12, '2020-01-01T00:00:00Z')",
            TimeFormat::UnixSeconds => "(11, 1577836800), (12, 1577836800)",
            _ => "(11, 1577836800000), (12, 1577836800000)",
        };
        database
            .execute(&format!("INSERT INTO t SELECT column1 * 10, column2 FROM (VALUES {good})"))
            .await;
        let rows = rows(&database, format);
        let count = rows.count(CUT).await.unwrap();
        assert_eq!((count.expired, count.skipped.count), (2, bad), "{format:?}");
        assert_eq!(count.skipped.first, [told]);
        let batches = purge(&rows, 1).await;
        let skipped: Vec<_> = batches.iter().map(|batch| batch.skipped.count).collect();
        assert_eq!((deleted(&batches), skipped), (2, vec![bad, 0, 0]));
        assert_eq!(database.count("t").await as u64, bad);
    }
}

#[tokio::test]
async fn a_retention_longer_than_there_is_time_expires_nothing() {
    let database = Database::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at)").await;
    let values = "INSERT INTO t (at) VALUES (100000000), (100000000000), ('1974-01-01 00:00:00')";
    database.execute(values).await;
    for format in [TimeFormat::Text, TimeFormat::UnixSeconds, TimeFormat::UnixMillis] {
        let rows = rows(&database, format);
        for older_than in [CUT - Duration::MAX, Timestamp::from_millis(i64::MIN)] {
            assert_eq!(rows.count(older_than).await.unwrap().expired, 0, "{format:?}");
            let batch = rows.delete_batch(older_than, 10, &mut Default::default()).await.unwrap();
            assert_eq!((batch.deleted, batch.more), (0, false));
        }
    }
}

#[tokio::test]
async fn numbers_in_a_column_of_texts_are_not_taken_for_unix_times() {
    let database = Database::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT)").await;
    // As text, 1577836800 would be before 1787529600, and 999999999999 after it.
    database.execute("INSERT INTO t (at) VALUES (1577836800), (999999999999)").await;
    let rows = rows(&database, TimeFormat::UnixSeconds);
    let count = rows.count(CUT).await.unwrap();
    assert_eq!((count.expired, count.skipped.count), (0, 2));
    assert_eq!(deleted(&purge(&rows, 10).await), 0);
}

#[tokio::test]
async fn a_key_may_be_of_any_type_and_of_several() {
    for schema in [
        "CREATE TABLE t (id TEXT PRIMARY KEY, at INTEGER)",
        "CREATE TABLE t (id TEXT PRIMARY KEY COLLATE NOCASE, at INTEGER)",
        "CREATE TABLE t (id BLOB PRIMARY KEY, at INTEGER)",
        "CREATE TABLE t (id PRIMARY KEY, at INTEGER) WITHOUT ROWID",
        "CREATE TABLE t (pk INTEGER PRIMARY KEY, id UNIQUE, at INTEGER)",
        "CREATE TABLE t (id ANY PRIMARY KEY, at INTEGER) STRICT",
    ] {
        let database = Database::new(schema).await;
        database
            .execute(
                "CREATE TABLE uses (t_id);
                 INSERT INTO t (id, at) VALUES
                    (1, 1600000000), (-7, 1600000000), (1.5, 1600000000), ('', 1600000000),
                    ('a', 1600000000), ('B''\"', 1600000000), ('c;--', 1600000000),
                    ('ü', 1600000000), (x'', 1600000000), (x'00ff', 1600000000),
                    ('stays', NULL), (x'01', NULL), (17, NULL);
                 INSERT INTO uses SELECT id FROM t;",
            )
            .await;
        let rows = ExpiredRows::of(database.pool.clone(), "t")
            .deleted_at("at", TimeFormat::UnixSeconds)
            .older_than(days(90))
            .with_dependents(Dependents::in_table("uses", "t_id"))
            .build()
            .unwrap();
        assert_eq!(deleted(&purge(&rows, 3).await), 10, "{schema}");
        assert_eq!(database.count("t WHERE at IS NULL").await, 3);
        assert_eq!((database.count("t").await, database.count("uses").await), (3, 3), "{schema}");
    }
}

#[tokio::test]
async fn a_row_without_a_key_is_left_and_told_of() {
    let database = Database::new("CREATE TABLE t (id TEXT PRIMARY KEY, at INTEGER)").await;
    database
        .execute("INSERT INTO t VALUES (NULL, 1600000000), (NULL, NULL), ('a', 1600000000)")
        .await;
    let rows = rows(&database, TimeFormat::UnixSeconds);
    let count = rows.count(CUT).await.unwrap();
    assert_eq!((count.expired, count.skipped.count), (1, 1));
    assert_eq!(count.skipped.first, ["a row whose id is NULL"]);
    assert_eq!(deleted(&purge(&rows, 10).await), 1);
    assert_eq!(database.count("t").await, 2);
}

#[tokio::test]
async fn a_table_of_an_attached_database_is_named_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        SqliteConnectOptions::new().filename(dir.path().join("app.sqlite")).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let database = Database { dir, pool };
    database
        .execute(
            "ATTACH ':memory:' AS archive;
             CREATE TABLE main.t (id INTEGER PRIMARY KEY, at INTEGER);
             CREATE TABLE archive.t (id INTEGER PRIMARY KEY, at INTEGER);
             CREATE TEMP TABLE t (id INTEGER PRIMARY KEY, at INTEGER);
             INSERT INTO main.t VALUES (1, 1600000000);
             INSERT INTO archive.t VALUES (1, 1600000000);
             INSERT INTO temp.t VALUES (1, 1600000000);",
        )
        .await;
    let of = |table| {
        let rows = ExpiredRows::of(database.pool.clone(), table);
        rows.deleted_at("at", TimeFormat::UnixSeconds).older_than(days(90)).build().unwrap()
    };
    assert_eq!(of("archive.t").name(), "archive.t");
    for (table, left) in [("archive.t", [1, 0, 1]), ("t", [0, 0, 1]), ("temp.t", [0, 0, 0])] {
        assert_eq!(deleted(&purge(&of(table), 10).await), 1);
        for (table, left) in ["main.t", "archive.t", "temp.t"].iter().zip(left) {
            assert_eq!(database.count(table).await, left, "{table}");
        }
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
