//! What an error of the database means for a run.

use shiftwork::JobError;
use sqlx::Error;

// The first byte of SQLite's result codes; the rest says more exactly what it was.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CONSTRAINT: i32 = 19;

/// What SQLite says of each broken foreign key. Its code is not always the same: that of
/// `ON DELETE RESTRICT` is the code of a trigger.
const FOREIGN_KEY: &str = "FOREIGN KEY constraint failed";

/// Why rows could not be deleted.
pub(super) enum Trouble {
    /// One of the rows at least is held by the schema. The others are not.
    Held(Hold),
    /// The database did not do it.
    Failed(JobError),
}

/// By what a row is held.
#[derive(Clone, Copy)]
pub(super) enum Hold {
    ForeignKey,
    /// A trigger or another constraint, by SQLite's code.
    Other(i32),
    /// A trigger that left the row where it is, and said nothing.
    Ignored,
}

impl Trouble {
    pub(super) fn of(doing: &str, error: Error) -> Self {
        match code(&error) {
            Some(code) if code & 0xff == CONSTRAINT => {
                let message = error.as_database_error().map(|error| error.message());
                Self::Held(match message {
                    Some(FOREIGN_KEY) => Hold::ForeignKey,
                    _ => Hold::Other(code),
                })
            }
            _ => Self::Failed(told(doing, error)),
        }
    }
}

/// For people, and to be tried again: what cannot mend itself is found before, by looking at the
/// schema. The texts of SQLite name tables and columns. Only those of a constraint may have more in
/// them, since a trigger writes its own, and they are left out.
pub(super) fn told(doing: &str, error: Error) -> JobError {
    let code = code(&error);
    JobError::new(match code.map(|code| code & 0xff) {
        Some(BUSY | LOCKED) => format!(
            "could not {doing}: the database is busy: another connection writes to it longer than \
             this one waits; try again, or give the pool's connections a longer busy_timeout"
        ),
        Some(CONSTRAINT) => format!(
            "could not {doing}: a constraint forbids it (SQLite's code {})",
            code.unwrap_or(CONSTRAINT)
        ),
        _ => format!("could not {doing}: {error}"),
    })
}

fn code(error: &Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}
