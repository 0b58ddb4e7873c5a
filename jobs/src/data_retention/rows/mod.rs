//! Rows of a SQLite database that were soft-deleted longer ago than they are kept.
//!
//! How a batch goes, on one connection of the pool:
//! 1. [`schema`] looks whether the tables and columns are there, and that nothing is orphaned.
//! 2. The next expired rows are looked for, by their time and key, without a lock.
//! 3. They and their dependents are deleted in one transaction, by [`purge`]. If a row among them
//!    is held by the schema, each half is deleted by itself, and so on: that row is told of, and
//!    the others go.
//!
//! What always holds: a transaction deletes no row that is not expired when it deletes it, no more
//! than it was told to, and none without its declared dependents.

mod dependents;
mod identifier;
mod purge;
mod schema;
mod statements;
mod time;
mod trouble;
mod value;

use std::fmt;
use std::time::Duration;

use shiftwork::{JobError, Timestamp};
use sqlx::SqlitePool;

pub use self::dependents::Dependents;
use self::dependents::{DependentTable, noted};
use self::identifier::{Identifier, Table};
use self::purge::RowCursor;
use self::statements::Statements;
pub use self::time::TimeFormat;
use super::{Batch, Count, RetentionTarget};

/// The rows of a table that were soft-deleted longer ago than a retention, with what depends on
/// them: accounts that were closed, documents in the bin. Of a SQLite database, through sqlx.
///
/// ```
/// use shiftwork_jobs::data_retention::{Dependents, ExpiredRows, RetentionTargets, TimeFormat};
/// use shiftwork_jobs::days;
/// use sqlx::SqlitePool;
/// use sqlx::sqlite::SqliteConnectOptions;
///
/// # use shiftwork::Timestamp;
/// # use shiftwork_jobs::data_retention::RetentionTarget;
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("app.sqlite");
/// let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
/// let pool = SqlitePool::connect_with(options).await?;
/// sqlx::raw_sql(
///     "CREATE TABLE accounts (id INTEGER PRIMARY KEY, email TEXT, deleted_at TEXT);
///      CREATE INDEX accounts_deleted ON accounts (deleted_at, id) WHERE deleted_at IS NOT NULL;
///      CREATE TABLE sessions (account_id INTEGER NOT NULL REFERENCES accounts);
///      CREATE INDEX sessions_account ON sessions (account_id);
///      INSERT INTO accounts VALUES
///          (1, 'ann@example.org', datetime('now', '-91 days')),
///          (2, 'bob@example.org', datetime('now', '-89 days')),
///          (3, 'eve@example.org', NULL);
///      INSERT INTO sessions VALUES (1), (1), (2), (3);",
/// )
/// .execute(&pool)
/// .await?;
///
/// let accounts = ExpiredRows::of(pool.clone(), "accounts")
///     .deleted_at("deleted_at", TimeFormat::Text)
///     .older_than(days(90))
///     .with_dependents(Dependents::in_table("sessions", "account_id"))
///     .build()?;
/// # let count = accounts.count(Timestamp::now() - days(90)).await;
/// # assert_eq!(count.map_err(|error| error.to_string())?.expired, 1);
/// let targets = RetentionTargets::new().with(accounts);
/// # Ok(())
/// # }
/// ```
///
/// # What it deletes
/// Rows whose column has a [time](TimeFormat) strictly before the one given. NULL is never expired.
/// A value that is no time in the format that was said is never deleted either: how many have one
/// is told as a warning.
///
/// Deleted are the oldest first, and in [batches](super::RetentionTargets::batch_size) with a
/// transaction for each. Only rows of the table count in them and in reports, not their dependents.
///
/// # Dependents
/// What refers to an expired row is deleted with it if it is
/// [declared](ExpiredRowsBuilder::with_dependents), or if its foreign key says `ON DELETE CASCADE`.
/// sqlx has connections enforce foreign keys unless it is told not to. On a connection that does
/// not, a foreign key to what is deleted that is not declared as dependents is an error, and
/// nothing is deleted.
///
/// A row that something else still refers to, or that a trigger keeps, stays, and so do its
/// dependents: the others go, and the run then fails and tells how many stayed and what by. Keys
/// and whatever else is in a row are in no log and no error.
///
/// # The table
/// The key is one column, the primary key or one with a `UNIQUE` index of its own, of numbers,
/// texts or blobs; the table may be `WITHOUT ROWID`. Keys of several columns and virtual tables
/// cannot be purged. A table or a column that is not there is an error that trying again does not
/// help.
///
/// An index on the time and the key finds what is expired without a look at what is not:
///
/// ```sql
/// CREATE INDEX accounts_deleted ON accounts (deleted_at, id) WHERE deleted_at IS NOT NULL
/// ```
///
/// Without one, each batch reads the whole table before it deletes. Each run reads all that is
/// soft-deleted once, to find values that are no times.
///
/// # Busy databases
/// Rows are looked for before the database is locked for writing. A batch waits for other writers
/// as long as the `busy_timeout` of its connection, five seconds by sqlx's default, and is then an
/// error that another attempt may not meet.
///
/// # Cancellation
/// A transaction whose future is dropped is rolled back, unless it is just being committed: a row
/// is deleted with its dependents or not at all.
#[derive(Clone)]
pub struct ExpiredRows {
    name: String,
    pool: SqlitePool,
    retention: Duration,
    plan: Plan,
    statements: Statements,
}

/// A table of which it is not yet said what soft-deletes a row.
#[derive(Clone, Debug)]
pub struct RowsOf {
    pool: SqlitePool,
    table: String,
}

/// Soft-deleted rows whose retention is not yet said.
#[derive(Clone, Debug)]
pub struct SoftDeletedRows {
    rows: RowsOf,
    deleted_at: String,
    format: TimeFormat,
}

/// [`ExpiredRows`] whose names are not yet checked.
#[derive(Clone, Debug)]
pub struct ExpiredRowsBuilder {
    rows: SoftDeletedRows,
    retention: Duration,
    name: Option<String>,
    key: String,
    dependents: Vec<Dependents>,
}

/// Names that cannot be those of tables or columns, all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRows(Vec<String>);

/// Which rows, by names that are checked.
#[derive(Clone, Debug)]
struct Plan {
    table: Table,
    key: Identifier,
    deleted_at: Identifier,
    format: TimeFormat,
    dependents: Vec<DependentTable>,
}

impl ExpiredRows {
    /// Rows of this table: one of the main database, or `database.table` for one of a database
    /// that each connection of the pool attaches. [What soft-deletes them](RowsOf::deleted_at) is
    /// said next.
    pub fn of(pool: SqlitePool, table: impl Into<String>) -> RowsOf {
        RowsOf { pool, table: table.into() }
    }
}

impl RowsOf {
    /// The column that says when a row was soft-deleted, NULL where it was not, and how it says so.
    pub fn deleted_at(self, column: impl Into<String>, format: TimeFormat) -> SoftDeletedRows {
        SoftDeletedRows { rows: self, deleted_at: column.into(), format }
    }
}

impl SoftDeletedRows {
    /// Those that were soft-deleted longer ago than `retention`.
    pub fn older_than(self, retention: Duration) -> ExpiredRowsBuilder {
        ExpiredRowsBuilder {
            rows: self,
            retention,
            name: None,
            key: "id".into(),
            dependents: Vec::new(),
        }
    }
}

impl ExpiredRowsBuilder {
    /// What logs and reports call it. Default: the table's name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The column that tells rows apart, and that others refer to. Default: `id`.
    #[must_use]
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.key = column.into();
        self
    }

    /// What refers to the key of an expired row, and is deleted before it.
    #[must_use]
    pub fn with_dependents(mut self, dependents: Dependents) -> Self {
        self.dependents.push(dependents);
        self
    }

    /// Checks all names. Whether the database has them is looked at when it is purged.
    ///
    /// # Errors
    /// [`InvalidRows`] with every name that is none, or dependents that are the table itself: a
    /// fault of the program, to be corrected there.
    pub fn build(self) -> Result<ExpiredRows, InvalidRows> {
        let SoftDeletedRows { rows, deleted_at, format } = self.rows;
        let mut problems = Vec::new();
        let table = noted(Table::read(&rows.table), &mut problems);
        let key = noted(Identifier::column(&self.key), &mut problems);
        let deleted_at = noted(Identifier::column(&deleted_at), &mut problems);
        let above: Vec<_> = table.iter().collect();
        let dependents = self.dependents.iter();
        let dependents = dependents.filter_map(|it| it.check(&above, &mut problems)).collect();
        let (Some(table), Some(key), Some(deleted_at), []) =
            (table, key, deleted_at, problems.as_slice())
        else {
            return Err(InvalidRows(problems));
        };
        let name = self.name.unwrap_or_else(|| table.told());
        let plan = Plan { table, key, deleted_at, format, dependents };
        let statements = Statements::of(&plan);
        Ok(ExpiredRows { name, pool: rows.pool, retention: self.retention, plan, statements })
    }
}

impl Plan {
    /// Each table with the columns of it that are named.
    fn needed(&self) -> Vec<(&Table, Vec<&Identifier>)> {
        let mut needed = vec![(&self.table, vec![&self.key, &self.deleted_at])];
        self.each_dependent(&mut |dependent| {
            let keys = dependent.own.iter().map(|(key, _)| key);
            needed.push((&dependent.table, keys.chain([&dependent.column]).collect()));
        });
        needed
    }

    /// Each table that is deleted from, with its declared dependents.
    fn deleted(&self) -> Vec<(&Table, Vec<&DependentTable>)> {
        let mut deleted = vec![(&self.table, self.dependents.iter().collect())];
        self.each_dependent(&mut |dependent| {
            deleted.push((&dependent.table, dependent.own.iter().map(|(_, own)| own).collect()));
        });
        deleted
    }

    fn each_dependent<'a>(&'a self, visit: &mut impl FnMut(&'a DependentTable)) {
        self.dependents.iter().for_each(|dependent| dependent.each(visit));
    }
}

impl RetentionTarget for ExpiredRows {
    /// Each row is met once in a run, whether it could be deleted or not.
    type Cursor = RowCursor;

    fn name(&self) -> &str {
        &self.name
    }

    fn retention(&self) -> Duration {
        self.retention
    }

    async fn count(&self, older_than: Timestamp) -> Result<Count, JobError> {
        purge::count(self, older_than).await
    }

    async fn delete_batch(
        &self,
        older_than: Timestamp,
        limit: u32,
        cursor: &mut RowCursor,
    ) -> Result<Batch, JobError> {
        purge::delete(self, older_than, limit, cursor).await
    }
}

impl fmt::Debug for ExpiredRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpiredRows")
            .field("name", &self.name)
            .field("retention", &self.retention)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for InvalidRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [problem] => f.write_str(problem),
            problems => {
                write!(f, "{} things are wrong:\n  - {}", problems.len(), problems.join("\n  - "))
            }
        }
    }
}

impl std::error::Error for InvalidRows {}
