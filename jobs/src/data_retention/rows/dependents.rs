//! Rows that make no sense without the one they refer to.

use super::identifier::{Identifier, Table};

/// Rows of another table that refer to the expired one, such as the sessions of an account: they
/// are deleted with it, in the same transaction, whether their foreign key is declared or not.
///
/// Dependents may have dependents of their own:
///
/// ```
/// use shiftwork_jobs::data_retention::Dependents;
///
/// let orders = Dependents::in_table("orders", "account_id")
///     .with_dependents("id", Dependents::in_table("order_lines", "order_id"));
/// ```
///
/// The column by which they refer should be the first of an index.
#[derive(Clone, Debug)]
pub struct Dependents {
    table: String,
    column: String,
    own: Vec<(String, Self)>,
}

impl Dependents {
    /// Rows of `table` whose `column` has the key of what they refer to.
    pub fn in_table(table: impl Into<String>, column: impl Into<String>) -> Self {
        Self { table: table.into(), column: column.into(), own: Vec::new() }
    }

    /// What refers in turn to these rows, by their column `key`, and is deleted before them.
    #[must_use]
    pub fn with_dependents(mut self, key: impl Into<String>, dependents: Self) -> Self {
        self.own.push((key.into(), dependents));
        self
    }

    /// Checks all names; what is wrong joins the problems. `above` has the tables that these
    /// depend on.
    pub(super) fn check(
        &self,
        above: &[&Table],
        problems: &mut Vec<String>,
    ) -> Option<DependentTable> {
        let column = noted(Identifier::column(&self.column), problems);
        let table = noted(Table::read(&self.table), problems)?;
        if above.iter().any(|above| above.is(&table)) {
            problems.push(format!(
                "{0} cannot be its own dependents: rows of it that are not expired would be \
                 deleted; leave those to the foreign key, ON DELETE SET NULL or CASCADE",
                table.told()
            ));
            return None;
        }
        let above = [above, &[&table]].concat();
        let own = self.own.iter().filter_map(|(key, own)| {
            let key = noted(Identifier::column(key), problems);
            let own = own.check(&above, problems);
            Some((key?, own?))
        });
        let own = own.collect();
        Some(DependentTable { table, column: column?, own })
    }
}

/// Dependents whose names are checked.
#[derive(Clone, Debug)]
pub(super) struct DependentTable {
    pub(super) table: Table,
    pub(super) column: Identifier,
    /// What refers to these rows, and to which column of theirs.
    pub(super) own: Vec<(Identifier, Self)>,
}

impl DependentTable {
    /// These and all below them.
    pub(super) fn each<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        self.own.iter().for_each(|(_, own)| own.each(visit));
    }
}

pub(super) fn noted<T>(result: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}
