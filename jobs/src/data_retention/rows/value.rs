//! A value of SQLite's, of whichever type it is.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite};

/// Any value but NULL.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Value {
    /// From one column, whose `typeof` is in the next. What the table declares its type to be says
    /// little in SQLite.
    pub(super) fn read(row: &SqliteRow, column: usize) -> Result<Self, sqlx::Error> {
        Ok(match row.try_get_unchecked(column + 1)? {
            "integer" => Self::Integer(row.try_get_unchecked(column)?),
            "real" => Self::Real(row.try_get_unchecked(column)?),
            "text" => Self::Text(row.try_get_unchecked(column)?),
            _ => Self::Blob(row.try_get_unchecked(column)?),
        })
    }

    pub(super) fn bind<'q>(
        &'q self,
        query: Query<'q, Sqlite, SqliteArguments>,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        match self {
            Self::Integer(value) => query.bind(value),
            Self::Real(value) => query.bind(value),
            Self::Text(value) => query.bind(value),
            Self::Blob(value) => query.bind(value),
        }
    }
}
