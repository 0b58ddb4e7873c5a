//! A batch, from the rows that are expired to their deletion.

use shiftwork::{JobError, Timestamp};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Connection, Row, Sqlite, Transaction};

use super::statements::Statement;
use super::trouble::{Hold, Trouble, told};
use super::value::Value;
use super::{ExpiredRows, schema};
use crate::data_retention::{Batch, Count, LeftBehind};

/// How far a run got.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct RowCursor {
    /// The last row that was met, deleted or not.
    after: Option<Place>,
    /// Whether it is told what has no time.
    told: bool,
}

/// Where a row stands in the order of deletion.
#[derive(Clone, Debug)]
struct Place {
    deleted_at: Value,
    key: Value,
}

/// What one batch is done with.
struct Purge<'a> {
    rows: &'a ExpiredRows,
    /// The same for the whole batch: what was checked on it holds.
    connection: PoolConnection<Sqlite>,
    older_than: Value,
    /// Which tables can hold a row by a foreign key, once that was asked.
    holders: Option<Vec<String>>,
}

pub(super) async fn count(rows: &ExpiredRows, older_than: Timestamp) -> Result<Count, JobError> {
    let mut purge = Purge::begin(rows, older_than).await?;
    let expired = purge.count().await?;
    Ok(Count { skipped: purge.skipped().await?, ..Count::of(expired) })
}

pub(super) async fn delete(
    rows: &ExpiredRows,
    older_than: Timestamp,
    limit: u32,
    cursor: &mut RowCursor,
) -> Result<Batch, JobError> {
    let mut purge = Purge::begin(rows, older_than).await?;
    let mut batch = Batch::default();
    if !cursor.told {
        batch.skipped = purge.skipped().await?;
        cursor.told = true;
    }
    loop {
        let page = purge.page(cursor, limit).await?;
        batch.more = page.len() as u64 >= u64::from(limit);
        purge.delete_page(&page, cursor, &mut batch).await?;
        // A batch that says there is more has deleted something.
        if batch.deleted > 0 || !batch.more {
            return Ok(batch);
        }
    }
}

impl<'a> Purge<'a> {
    async fn begin(rows: &'a ExpiredRows, older_than: Timestamp) -> Result<Self, JobError> {
        let connection = rows.pool.acquire().await;
        let connection = connection.map_err(|error| told("connect to the database", error))?;
        let older_than = rows.plan.format.parameter(older_than);
        let mut purge = Self { rows, connection, older_than, holders: None };
        schema::check(&rows.plan, &mut purge.connection).await?;
        Ok(purge)
    }

    async fn count(&mut self) -> Result<u64, JobError> {
        let [expired] = self.counted(&self.rows.statements.count).await?;
        Ok(expired)
    }

    async fn skipped(&mut self) -> Result<LeftBehind, JobError> {
        let plan = &self.rows.plan;
        let [untimed, unkeyed] = self.counted(&self.rows.statements.unreadable).await?;
        let mut skipped = LeftBehind::default();
        let (at, key) = (plan.deleted_at.as_str(), plan.key.as_str());
        add(&mut skipped, untimed, || format!("a row whose {at} is not {}", plan.format.rule()));
        add(&mut skipped, unkeyed, || format!("a row whose {key} is NULL"));
        Ok(skipped)
    }

    async fn counted<const N: usize>(&mut self, counts: &Statement) -> Result<[u64; N], JobError> {
        let query = self.older_than.bind(sqlx::query(counts.sql()));
        let row = query.fetch_one(&mut *self.connection).await;
        row.and_then(|row| {
            let mut counts = [0; N];
            for (column, count) in counts.iter_mut().enumerate() {
                *count = row.try_get::<i64, _>(column)?.unsigned_abs();
            }
            Ok(counts)
        })
        .map_err(|error| told("count what is expired", error))
    }

    /// The next expired rows, in their order.
    async fn page(&mut self, cursor: &RowCursor, limit: u32) -> Result<Vec<Place>, JobError> {
        let statements = &self.rows.statements;
        let nothing = Place { deleted_at: Value::Integer(0), key: Value::Integer(0) };
        let (statement, after) = match &cursor.after {
            None => (&statements.first, &nothing),
            Some(row) => (&statements.next, row),
        };
        let query = bind(sqlx::query(statement.sql()), &self.older_than, after, after, limit);
        let page = query.fetch_all(&mut *self.connection).await;
        page.and_then(|rows| rows.iter().map(Place::read).collect())
            .map_err(|error| told("look for what is expired", error))
    }

    /// Deletes what can be deleted: all at once, or where a row is held, in halves until it is
    /// alone. So a few held rows among a thousand cost some tens of transactions, not a thousand.
    async fn delete_page(
        &mut self,
        page: &[Place],
        cursor: &mut RowCursor,
        batch: &mut Batch,
    ) -> Result<(), JobError> {
        let mut ahead = vec![page];
        while let Some(part) = ahead.pop() {
            let Some(last) = part.last() else { continue };
            match self.delete_part(part).await {
                Ok(deleted) => batch.deleted += deleted,
                Err(Trouble::Held(_)) if part.len() > 1 => {
                    let (left, right) = part.split_at(part.len() / 2);
                    ahead.extend([right, left]);
                    continue;
                }
                Err(Trouble::Held(hold)) => {
                    let told = self.held(hold).await;
                    add(&mut batch.failed, 1, || told);
                }
                // What is deleted is told of; the next batch meets the error first.
                Err(Trouble::Failed(_)) if batch.deleted > 0 => {
                    batch.more = true;
                    return Ok(());
                }
                Err(Trouble::Failed(error)) => return Err(error),
            }
            cursor.after = Some(last.clone());
        }
        Ok(())
    }

    /// Deletes rows that follow each other, and their dependents, all or none: as many as are still
    /// expired. What became expired among them meanwhile counts among them.
    async fn delete_part(&mut self, part: &[Place]) -> Result<u64, Trouble> {
        // The lock is taken here, where there is nothing to undo if other writers keep it too long.
        let transaction = self.connection.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = transaction.map_err(|error| Trouble::of(DELETE, error))?;
        let deleted = delete_in(&mut transaction, self.rows, &self.older_than, part).await;
        let trouble = match deleted {
            // A deferred foreign key is looked at only now.
            Ok(deleted) => match transaction.commit().await {
                Ok(()) => return Ok(deleted),
                // Dropped with it, it rolls back before whatever comes next.
                Err(error) => Trouble::of(DELETE, error),
            },
            Err(trouble) => match (trouble, transaction.rollback().await) {
                // A trigger ended the transaction by itself: no half of it can be tried here.
                (Trouble::Held(hold), Err(_)) => {
                    let why = self.held(hold).await;
                    Trouble::Failed(format!("could not {DELETE}, for {why}").into())
                }
                (trouble, _) => trouble,
            },
        };
        if matches!(trouble, Trouble::Failed(_)) {
            // Some errors end the transaction by themselves, which sqlx does not notice: it would
            // begin none on this connection any more.
            self.connection.close_on_drop();
        }
        Err(trouble)
    }

    /// Which kind of row could not be deleted and why, without saying which it was: a key may be
    /// what nobody should read in a log, such as an address.
    async fn held(&mut self, hold: Hold) -> String {
        let table = self.rows.plan.table.told();
        match hold {
            Hold::ForeignKey => match self.holders().await.join(" or ").as_str() {
                "" => format!("a row of {table} that a foreign key still refers to"),
                holders => format!("a row of {table} that {holders} still refers to"),
            },
            Hold::Other(code) => {
                format!(
                    "a row of {table} that a trigger or constraint keeps (SQLite's code {code})"
                )
            }
            Hold::Ignored => format!("a row of {table} that a trigger leaves where it is"),
        }
    }

    /// Looked up once, however many rows are held. Where it fails, the row is told of without.
    async fn holders(&mut self) -> &[String] {
        if self.holders.is_none() {
            let holders = schema::holders(&self.rows.plan, &mut self.connection).await;
            self.holders = Some(holders.unwrap_or_default());
        }
        self.holders.as_deref().unwrap_or_default()
    }
}

const DELETE: &str = "delete what is expired";

/// How many rows of the table itself it deleted.
async fn delete_in(
    transaction: &mut Transaction<'_, Sqlite>,
    rows: &ExpiredRows,
    older_than: &Value,
    part: &[Place],
) -> Result<u64, Trouble> {
    let (Some(first), Some(last)) = (part.first(), part.last()) else { return Ok(0) };
    let limit = u32::try_from(part.len()).unwrap_or(u32::MAX);
    let query =
        |statement: &Statement| bind(sqlx::query(statement.sql()), older_than, first, last, limit);
    let mut deleted = 0;
    for statement in &rows.statements.delete {
        let done = query(statement).execute(&mut **transaction).await;
        deleted = done.map_err(|error| Trouble::of(DELETE, error))?.rows_affected();
    }
    if deleted < u64::from(limit) {
        // Others deleted or restored some meanwhile, or a trigger said RAISE(IGNORE). Then their
        // dependents are gone, and they are not.
        let left = query(&rows.statements.left).fetch_one(&mut **transaction).await;
        let left: i64 =
            left.and_then(|row| row.try_get(0)).map_err(|error| Trouble::of(DELETE, error))?;
        if left > 0 {
            return Err(Trouble::Held(Hold::Ignored));
        }
    }
    Ok(deleted)
}

impl Place {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self { deleted_at: Value::read(row, 0)?, key: Value::read(row, 2)? })
    }
}

fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    older_than: &'q Value,
    first: &'q Place,
    last: &'q Place,
    limit: u32,
) -> Query<'q, Sqlite, SqliteArguments> {
    let values = [&first.deleted_at, &first.key, &last.deleted_at, &last.key];
    let query = older_than.bind(query);
    values.into_iter().fold(query, |query, value| value.bind(query)).bind(limit)
}

/// So many of a kind. The kind is told once, however many there are.
fn add(left: &mut LeftBehind, count: u64, told: impl FnOnce() -> String) {
    if count > 0 {
        left.count += count;
        let told = told();
        if !left.first.contains(&told) {
            left.first.push(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::SqlitePool;

    use super::*;
    use crate::data_retention::{Dependents, TimeFormat};
    use crate::days;

    const CUT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// Four expired rows, of 10 to 13 seconds, each with a dependent.
    async fn rows() -> ExpiredRows {
        let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
        let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER);
             CREATE TABLE uses (t_id INTEGER);
             INSERT INTO t VALUES (1, 1600000010), (2, 1600000011), (3, 1600000012), (4, 1600000013);
             INSERT INTO uses SELECT id FROM t;";
        sqlx::raw_sql(schema).execute(&pool).await.unwrap();
        ExpiredRows::of(pool, "t")
            .deleted_at("at", TimeFormat::UnixSeconds)
            .older_than(days(90))
            .with_dependents(Dependents::in_table("uses", "t_id"))
            .build()
            .unwrap()
    }

    /// How many are deleted of all that is found, where this happens between the two, and what
    /// stays.
    async fn delete_after(meanwhile: &'static str) -> (u64, Vec<i64>, Vec<i64>) {
        let rows = rows().await;
        let mut purge = Purge::begin(&rows, CUT).await.unwrap();
        let page = purge.page(&RowCursor::default(), 10).await.unwrap();
        assert_eq!(page.len(), 4);
        sqlx::raw_sql(meanwhile).execute(&mut *purge.connection).await.unwrap();
        let mut batch = Batch::default();
        purge.delete_page(&page, &mut RowCursor::default(), &mut batch).await.unwrap();
        assert_eq!(batch.failed.count, 0);
        let ids = sqlx::query_scalar("SELECT id FROM t ORDER BY id");
        let ids = ids.fetch_all(&mut *purge.connection).await.unwrap();
        let uses = sqlx::query_scalar("SELECT t_id FROM uses ORDER BY t_id");
        (batch.deleted, ids, uses.fetch_all(&mut *purge.connection).await.unwrap())
    }

    #[tokio::test]
    async fn a_row_that_is_restored_after_it_was_found_stays_with_its_dependents() {
        let restored = "UPDATE t SET at = NULL WHERE id = 2";
        assert_eq!(delete_after(restored).await, (3, vec![2], vec![2]));
        let deleted_again = "UPDATE t SET at = 1700000000 WHERE id = 2";
        assert_eq!(delete_after(deleted_again).await, (3, vec![2], vec![2]));
    }

    #[tokio::test]
    async fn a_row_that_somebody_else_deleted_meanwhile_is_no_failure() {
        assert_eq!(delete_after("DELETE FROM t WHERE id > 1").await, (1, vec![], vec![2, 3, 4]));
    }

    #[tokio::test]
    async fn rows_that_come_to_be_expired_meanwhile_make_no_batch_larger() {
        let more =
            "INSERT INTO t SELECT id + 10, at FROM t; INSERT INTO uses SELECT id + 10 FROM t";
        let (deleted, ids, _) = delete_after(more).await;
        assert_eq!((deleted, ids.len()), (4, 4));
    }
}
