//! The SQL, written once for each target.
//!
//! Names are [checked](super::identifier) and quoted, and every value is bound. Columns have the
//! alias of their table before them: some builds of SQLite take a lone name in double quotes that
//! is no column's for a text, and a misspelt `"deleted_at"` would then be greater than any number.
//!
//! | parameter | meaning |
//! |---|---|
//! | `?1` | what is before this time is expired |
//! | `?2`, `?3` | time and key of the last row that was met, or of the first row of a part |
//! | `?4`, `?5` | time and key of the last row of a part |
//! | `?6` | how many rows at most |

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::Plan;
use super::dependents::DependentTable;

/// A statement whose text was written here, and has none but checked names in it.
#[derive(Clone, Debug)]
pub(super) struct Statement(Arc<str>);

#[derive(Clone, Debug)]
pub(super) struct Statements {
    /// How many rows are expired.
    pub(super) count: Statement,
    /// How many rows have a time that is none; how many have one, are expired, and have no key.
    pub(super) unreadable: Statement,
    /// Time and key of expired rows, each with its type: the first of them, by time and key.
    pub(super) first: Statement,
    /// Those after one.
    pub(super) next: Statement,
    /// Deletes what is expired of a part, dependents first and the rows themselves last.
    pub(super) delete: Vec<Statement>,
    /// How many expired rows a part has.
    pub(super) left: Statement,
}

impl Statement {
    pub(super) fn sql(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(self.0.clone())
    }
}

impl Statements {
    pub(super) fn of(plan: &Plan) -> Self {
        let (table, at, key) = (&plan.table, column("r", &plan.deleted_at), column("r", &plan.key));
        let before = plan.format.before(&at);
        let expired = format!("FROM {table} AS r WHERE {before} AND {key} IS NOT NULL");
        let order = format!("ORDER BY {at}, {key} LIMIT ?6");
        let page = format!("SELECT {at}, typeof({at}), {key}, typeof({key}) {expired}");
        let part = format!(
            "SELECT {key} {expired} AND ({at}, {key}) >= (?2, ?3) AND ({at}, {key}) <= (?4, ?5) \
             {order}"
        );
        let mut delete = Vec::new();
        plan.dependents.iter().for_each(|dependents| deletes(dependents, &part, 1, &mut delete));
        let own_key = column("t", &plan.key);
        delete.push(statement(format!("DELETE FROM {table} AS t WHERE {own_key} IN ({part})")));
        Self {
            count: statement(format!("SELECT count(*) {expired}")),
            unreadable: statement(format!(
                "SELECT count(*) FILTER (WHERE ({}) IS NOT TRUE), \
                 count(*) FILTER (WHERE {before} AND {key} IS NULL) \
                 FROM {table} AS r WHERE {at} IS NOT NULL",
                plan.format.readable(&at)
            )),
            first: statement(format!("{page} {order}")),
            next: statement(format!("{page} AND ({at}, {key}) > (?2, ?3) {order}")),
            delete,
            left: statement(format!("SELECT count(*) FROM ({part})")),
        }
    }
}

/// Of dependents, the deepest first.
fn deletes(dependents: &DependentTable, keys: &str, depth: u32, all: &mut Vec<Statement>) {
    let (table, alias) = (&dependents.table, format!("d{depth}"));
    let from = format!("FROM {table} AS {alias}");
    let referring = format!("WHERE {} IN ({keys})", column(&alias, &dependents.column));
    for (key, own) in &dependents.own {
        let keys = format!("SELECT {} {from} {referring}", column(&alias, key));
        deletes(own, &keys, depth + 1, all);
    }
    all.push(statement(format!("DELETE {from} {referring}")));
}

fn column(alias: &str, name: &super::identifier::Identifier) -> String {
    format!("{alias}.{name}")
}

fn statement(sql: String) -> Statement {
    Statement(sql.into())
}

#[cfg(test)]
mod tests {
    use sqlx::{Row, SqlitePool};

    use super::*;
    use crate::data_retention::{Dependents, ExpiredRows, TimeFormat};
    use crate::days;

    /// How SQLite means to go about a statement.
    async fn steps(pool: &SqlitePool, statement: &Statement) -> String {
        let sql = format!("EXPLAIN QUERY PLAN {}", statement.0);
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for number in 1..=6_i64 {
            query = query.bind(number);
        }
        let rows = query.fetch_all(pool).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect()
    }

    #[tokio::test]
    async fn the_index_that_the_documentation_names_finds_what_is_expired_in_its_order() {
        for (kind, format) in [
            ("TEXT", TimeFormat::Text),
            ("INTEGER", TimeFormat::UnixSeconds),
            ("INTEGER", TimeFormat::UnixMillis),
        ] {
            let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
            let schema = format!(
                "CREATE TABLE accounts (id INTEGER PRIMARY KEY, deleted_at {kind});
                 CREATE INDEX accounts_deleted ON accounts (deleted_at, id)
                     WHERE deleted_at IS NOT NULL;
                 CREATE TABLE sessions (account_id INTEGER REFERENCES accounts);
                 CREATE INDEX sessions_account ON sessions (account_id);"
            );
            sqlx::raw_sql(AssertSqlSafe(schema)).execute(&pool).await.unwrap();
            let rows = ExpiredRows::of(pool.clone(), "accounts")
                .deleted_at("deleted_at", format)
                .older_than(days(90))
                .with_dependents(Dependents::in_table("sessions", "account_id"))
                .build()
                .unwrap();
            let all = &rows.statements;
            let by_index = "INDEX accounts_deleted (";
            for statement in [&all.count, &all.first, &all.next].into_iter().chain(&all.delete) {
                let steps = steps(&pool, statement).await;
                assert!(steps.contains(by_index), "{format:?}: {}\n{steps}", statement.0);
                assert!(!steps.contains("SCAN"), "{format:?}: {}\n{steps}", statement.0);
                assert!(!steps.contains("TEMP B-TREE"), "{format:?}: {}\n{steps}", statement.0);
            }
            let sessions = steps(&pool, &all.delete[0]).await;
            assert!(sessions.contains("INDEX sessions_account ("), "{sessions}");
            // All that is soft-deleted, and nothing else.
            let unreadable = steps(&pool, &all.unreadable).await;
            assert!(unreadable.contains("INDEX accounts_deleted"), "{unreadable}");
        }
    }

    #[tokio::test]
    async fn a_column_that_is_not_there_is_never_taken_for_a_text() {
        let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
        let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER);
                      CREATE TABLE uses (id INTEGER PRIMARY KEY, t_id INTEGER);
                      CREATE TABLE deep (uses_id INTEGER);";
        sqlx::raw_sql(schema).execute(&pool).await.unwrap();
        let texts = sqlx::query("SELECT \"nowhere\" FROM t").execute(&pool).await.is_ok();
        for misspelt in ["key", "at", "column", "own key", "own column"] {
            let name = |place, name| if place == misspelt { "nowhere" } else { name };
            let own = Dependents::in_table("deep", name("own column", "uses_id"));
            let uses = Dependents::in_table("uses", name("column", "t_id"));
            let rows = ExpiredRows::of(pool.clone(), "t")
                .deleted_at(name("at", "at"), TimeFormat::UnixSeconds)
                .older_than(days(90))
                .key(name("key", "id"))
                .with_dependents(uses.with_dependents(name("own key", "id"), own))
                .build()
                .unwrap();
            let mut refused = false;
            for statement in &rows.statements.delete {
                if let Err(error) = sqlx::query(statement.sql()).execute(&pool).await {
                    refused |= error.to_string().contains("no such column: ");
                }
            }
            assert!(refused, "{misspelt}; lone names are texts here: {texts}");
        }
    }
}
