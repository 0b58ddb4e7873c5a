//! Names of tables and columns: checked where they are made, quoted where they are used.
//!
//! A name cannot be bound as a value is, it stands in the statement itself. So one that exists is
//! of a plain alphabet that has no quote in it, and is written only in quotes.

use std::fmt;

/// The longest name, in bytes.
const MAX_LEN: usize = 100;

/// The name of a column, or a part of a table's. As SQLite's, it has no case.
#[derive(Clone, Debug)]
pub(super) struct Identifier(String);

/// A table, and the attached database that it is in.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) schema: Identifier,
    pub(super) name: Identifier,
}

impl Identifier {
    /// The error is for people.
    pub(super) fn column(name: &str) -> Result<Self, String> {
        match fault(name) {
            None => Ok(Self(name.to_owned())),
            Some(fault) => Err(refusal("column name", name, &fault)),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

/// As it stands in SQL.
impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl Table {
    /// `table`, which is one of the main database, or `database.table`. The error is for people.
    pub(super) fn read(name: &str) -> Result<Self, String> {
        let (schema, table) = name.split_once('.').unwrap_or(("main", name));
        match fault(schema).or_else(|| fault(table)) {
            None => Ok(Self { schema: Identifier(schema.into()), name: Identifier(table.into()) }),
            Some(fault) => {
                let rule = ", or two such names with '.' between them for a table of an attached \
                            database";
                Err(refusal("table name", name, &fault) + rule)
            }
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.schema.is(&other.schema.0) && self.name.is(&other.name.0)
    }

    /// As people call it.
    pub(super) fn told(&self) -> String {
        match self.schema.is("main") {
            true => self.name.0.clone(),
            false => format!("{}.{}", self.schema.0, self.name.0),
        }
    }
}

/// As it stands in SQL. Always with its schema: without one, a temporary table would go before.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

fn fault(name: &str) -> Option<String> {
    let strange = |c: &char| !c.is_ascii_alphanumeric() && *c != '_';
    match name.chars().next() {
        None => Some("it is empty".into()),
        Some(_) if name.len() > MAX_LEN => Some(format!("it has {} bytes", name.len())),
        Some(c) if c.is_ascii_digit() => Some(format!("it starts with {c:?}")),
        Some(_) => name.chars().find(strange).map(|c| format!("it contains {c:?}")),
    }
}

fn refusal(what: &str, name: &str, fault: &str) -> String {
    // A hostile value is shown, but never at any length.
    let seen: String = name.chars().take(MAX_LEN).collect();
    format!(
        "{seen:?} is not a valid {what}: {fault}; use 1 to {MAX_LEN} ASCII letters, digits and \
         '_', not starting with a digit"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_accepted_and_quoted() {
        for name in ["a", "_a", "deleted_at", "Order2", "select", &"x".repeat(100)] {
            assert_eq!(Identifier::column(name).unwrap().to_string(), format!("\"{name}\""));
        }
        for (name, sql, told) in [
            ("accounts", r#""main"."accounts""#, "accounts"),
            ("main.accounts", r#""main"."accounts""#, "accounts"),
            ("archive.accounts", r#""archive"."accounts""#, "archive.accounts"),
        ] {
            let table = Table::read(name).unwrap();
            assert_eq!((table.to_string().as_str(), table.told().as_str()), (sql, told));
        }
    }

    #[test]
    fn what_could_be_more_than_a_name_is_refused() {
        let hostile = [
            "",
            "accounts; DROP TABLE accounts",
            "accounts\"",
            "accounts'",
            "\"accounts\"",
            "[accounts]",
            "`accounts`",
            "accounts--",
            "accounts/*",
            "a b",
            "a\0",
            "a\n",
            "1accounts",
            "größe",
            "accounts)",
            "json_each(1)",
            "*",
            "?1",
        ];
        for name in hostile {
            assert!(Identifier::column(name).is_err(), "{name:?} was accepted");
            assert!(Table::read(name).is_err(), "{name:?} was accepted");
            assert!(Table::read(&format!("main.{name}")).is_err(), "main.{name:?} was accepted");
            assert!(Table::read(&format!("{name}.accounts")).is_err(), "{name:?}.accounts was");
        }
        for name in ["a.b.c", ".a", "a.", "."] {
            assert!(Table::read(name).is_err(), "{name:?} was accepted");
        }
        assert!(Identifier::column("accounts.id").is_err());
        assert!(Identifier::column(&"x".repeat(101)).is_err());
    }

    #[test]
    fn a_refusal_says_what_was_seen_and_what_is_allowed() {
        assert_eq!(
            Identifier::column("id\"; --").unwrap_err(),
            "\"id\\\"; --\" is not a valid column name: it contains '\"'; use 1 to 100 ASCII \
             letters, digits and '_', not starting with a digit"
        );
        assert_eq!(
            Table::read("2026").unwrap_err(),
            "\"2026\" is not a valid table name: it starts with '2'; use 1 to 100 ASCII letters, \
             digits and '_', not starting with a digit, or two such names with '.' between them \
             for a table of an attached database"
        );
        assert!(Table::read(&"\"".repeat(1_000_000)).unwrap_err().len() < 600);
    }
}
