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
        let mut purge = Self { rows, connection, older_than };
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
        // It waits for other writers here, where it has nothing to lose. One that begins by reading
        // and then wants to write is refused at once if somebody wrote in between.
        let transaction = self.connection.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = transaction.map_err(|error| Trouble::of(DELETE, error))?;
        let deleted = delete_in(&mut transaction, self.rows, &self.older_than, part).await;
        let (error, rolled_back) = match deleted {
            // A deferred foreign key is looked at only now.
            Ok(deleted) => match transaction.commit().await {
                Ok(()) => return Ok(deleted),
                // Dropped with it, it rolls back before whatever comes next.
                Err(error) => (error, true),
            },
            Err(error) => (error, transaction.rollback().await.is_ok()),
        };
        let trouble = match rolled_back {
            true => Trouble::of(DELETE, error),
            false => Trouble::Failed(told(DELETE, error)),
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
        let code = match hold {
            Hold::ForeignKey => {
                let holders = schema::holders(&self.rows.plan, &mut self.connection).await;
                return match holders.unwrap_or_default().as_slice() {
                    [] => format!("a row of {table} that a foreign key refers to"),
                    holders => {
                        format!("a row of {table} that {} still refers to", holders.join(" or "))
                    }
                };
            }
            Hold::Other(code) => code,
        };
        format!("a row of {table} that a trigger or constraint keeps (SQLite's code {code})")
    }
}

const DELETE: &str = "delete what is expired";

/// How many rows of the table itself it deleted.
async fn delete_in(
    transaction: &mut Transaction<'_, Sqlite>,
    rows: &ExpiredRows,
    older_than: &Value,
    part: &[Place],
) -> Result<u64, sqlx::Error> {
    let (Some(first), Some(last)) = (part.first(), part.last()) else { return Ok(0) };
    let limit = u32::try_from(part.len()).unwrap_or(u32::MAX);
    let mut deleted = 0;
    for statement in &rows.statements.delete {
        let query = bind(sqlx::query(statement.sql()), older_than, first, last, limit);
        deleted = query.execute(&mut **transaction).await?.rows_affected();
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
