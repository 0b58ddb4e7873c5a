//! Whether the database has what a target names, and whether dependents could be orphaned.
//!
//! It is looked at with each batch, on the connection that then deletes: enforcing foreign keys is
//! a setting of a connection, and an attached database belongs to one.

use shiftwork::JobError;
use sqlx::sqlite::SqliteConnection;

use super::Plan;
use super::identifier::{Identifier, Table};
use super::trouble::told;

const LOOK: &str = "look at the schema";

/// As many names are told as a person reads.
const TOLD: usize = 20;

/// Whether a connection can delete as planned.
///
/// # Errors
/// What is missing or could not be kept: permanent, and for people.
pub(super) async fn check(plan: &Plan, connection: &mut SqliteConnection) -> Result<(), JobError> {
    for (table, columns) in plan.needed() {
        check_table(table, connection).await?;
        check_columns(table, &columns, connection).await?;
    }
    check_key(plan, connection).await?;
    check_foreign_keys(plan, connection).await
}

/// Which tables, other than the declared dependents, can hold a row by a foreign key: where it has
/// no action, or the action is to restrict.
pub(super) async fn holders(
    plan: &Plan,
    connection: &mut SqliteConnection,
) -> Result<Vec<String>, JobError> {
    let mut holders = undeclared(plan, connection).await?;
    holders.retain(|key| matches!(key.on_delete.as_str(), "NO ACTION" | "RESTRICT"));
    let mut names: Vec<_> = holders.into_iter().map(|key| key.table).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

async fn check_table(table: &Table, connection: &mut SqliteConnection) -> Result<(), JobError> {
    let sql = "SELECT name, type FROM pragma_table_list WHERE schema = ?1 COLLATE NOCASE \
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let all: Vec<(String, String)> = sqlx::query_as(sql)
        .bind(table.schema.as_str())
        .fetch_all(connection)
        .await
        .map_err(|error| told(LOOK, error))?;
    match all.iter().find(|(name, _)| table.name.is(name)) {
        Some((_, kind)) if kind == "table" => Ok(()),
        Some((_, kind)) => Err(JobError::permanent(format!(
            "{} is a {kind} and no table; name the table whose rows expire",
            table.told()
        ))),
        None => {
            let tables = all.iter().filter(|(_, kind)| kind == "table").map(|(name, _)| name);
            Err(JobError::permanent(format!(
                "there is no table {} in the database {:?}; {}",
                table.told(),
                table.schema.as_str(),
                listed("its tables are", tables)
            )))
        }
    }
}

async fn check_columns(
    table: &Table,
    columns: &[&Identifier],
    connection: &mut SqliteConnection,
) -> Result<(), JobError> {
    let all: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_xinfo(?1, ?2)")
        .bind(table.name.as_str())
        .bind(table.schema.as_str())
        .fetch_all(connection)
        .await
        .map_err(|error| told(LOOK, error))?;
    let missing = columns.iter().find(|column| !all.iter().any(|name| column.is(name)));
    missing.map_or(Ok(()), |missing| {
        Err(JobError::permanent(format!(
            "the table {} has no column {}; {}",
            table.told(),
            missing.as_str(),
            listed("its columns are", all.iter())
        )))
    })
}

/// A batch is told apart from what comes after it by the key, so no two rows may have the same.
async fn check_key(plan: &Plan, connection: &mut SqliteConnection) -> Result<(), JobError> {
    let sql = "SELECT (SELECT count(*) = 1 AND lower(max(name)) = lower(?3) \
                       FROM pragma_table_xinfo(?1, ?2) WHERE pk > 0) \
               OR EXISTS (SELECT 1 FROM pragma_index_list(?1, ?2) AS i \
                          WHERE i.\"unique\" AND NOT i.partial \
                          AND (SELECT count(*) = 1 AND lower(max(c.name)) = lower(?3) \
                               FROM pragma_index_info(i.name, ?2) AS c))";
    let unique: bool = sqlx::query_scalar(sql)
        .bind(plan.table.name.as_str())
        .bind(plan.table.schema.as_str())
        .bind(plan.key.as_str())
        .fetch_one(connection)
        .await
        .map_err(|error| told(LOOK, error))?;
    if unique {
        return Ok(());
    }
    Err(JobError::permanent(format!(
        "the column {} of the table {} is no key: nothing keeps two rows from having the same; \
         name its primary key, or a column with a UNIQUE index of its own (a key of several \
         columns will not do)",
        plan.key.as_str(),
        plan.table.told()
    )))
}

/// Where the connection does not enforce them, all that refers must be declared.
async fn check_foreign_keys(
    plan: &Plan,
    connection: &mut SqliteConnection,
) -> Result<(), JobError> {
    let enforced: bool = sqlx::query_scalar("PRAGMA foreign_keys")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| told(LOOK, error))?;
    if enforced {
        return Ok(());
    }
    match undeclared(plan, connection).await?.first() {
        None => Ok(()),
        Some(key) => Err(JobError::permanent(format!(
            "rows of the table {0} would be orphaned: they refer by {1} to {2}, and this \
             connection does not enforce foreign keys; connect with \
             SqliteConnectOptions::foreign_keys(true), which is the default, or declare \
             Dependents::in_table(\"{0}\", \"{1}\")",
            key.table, key.column, key.to
        ))),
    }
}

/// A foreign key.
struct ForeignKey {
    table: String,
    column: String,
    to: String,
    on_delete: String,
}

/// The foreign keys to what is deleted, but for those by which declared dependents refer.
async fn undeclared(
    plan: &Plan,
    connection: &mut SqliteConnection,
) -> Result<Vec<ForeignKey>, JobError> {
    let mut undeclared = Vec::new();
    for (table, dependents) in plan.deleted() {
        let sql = "SELECT t.name, k.\"from\", k.on_delete FROM pragma_table_list AS t, \
                   pragma_foreign_key_list(t.name, t.schema) AS k \
                   WHERE t.schema = ?1 COLLATE NOCASE AND t.type = 'table' \
                   AND k.\"table\" = ?2 COLLATE NOCASE ORDER BY t.name, k.id, k.seq";
        let keys: Vec<(String, String, String)> = sqlx::query_as(sql)
            .bind(table.schema.as_str())
            .bind(table.name.as_str())
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| told(LOOK, error))?;
        let keys = keys.into_iter().filter(|(name, column, _)| {
            !dependents.iter().any(|declared| {
                // A foreign key leads to a table of its own database.
                declared.table.schema.is(table.schema.as_str())
                    && declared.table.name.is(name)
                    && declared.column.is(column)
            })
        });
        undeclared.extend(keys.map(|(name, column, on_delete)| ForeignKey {
            table: name,
            column,
            to: table.told(),
            on_delete,
        }));
    }
    Ok(undeclared)
}

fn listed<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    match names.len() {
        0 => "there are none".into(),
        len if len > TOLD => format!("{what} {} and {} more", names[..TOLD].join(", "), len - TOLD),
        _ => format!("{what} {}", names.join(", ")),
    }
}
