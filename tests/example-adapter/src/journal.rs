//! The journal: a line for each call that changed something, appended when it is done.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;

use shiftwork_adapter::{AdapterError, Connection, Effect, ErrorKind, Result, Variable};

/// The environment variable that says where the journal is.
pub(crate) const VARIABLE: Variable = Variable {
    name: NAME,
    default: None,
    fallbacks: &[],
    required: false,
    secret: false,
    doc: "the file that the journal is appended to; made where there is none, in a directory \
          that exists",
    // Whether it can be written shows only when it is.
    check: Variable::any,
};

const NAME: &str = "JOBS_EXAMPLE_PATH";

/// A file that is only appended to.
pub(crate) struct Journal(File);

impl Journal {
    /// The file that the connection's variables name.
    pub(crate) fn open(connection: &Connection) -> Result<Self> {
        let invalid = |message| AdapterError::new(ErrorKind::Invalid, "connect", message);
        let path = connection.variables.get(NAME).ok_or_else(|| {
            invalid(format!("{NAME} is not set; it says {}, such as ./journal.log", VARIABLE.doc))
        })?;
        let file = File::options().create(true).append(true).open(path).map_err(|error| {
            invalid(format!(
                "{NAME} is {path:?}, which cannot be written ({error}); it says {}",
                VARIABLE.doc
            ))
        })?;
        Ok(Self(file))
    }

    /// Appends a line. What it tells of is done by then, and stays so where this fails.
    ///
    /// A line is one write, so those of several threads do not mix. It goes to the system's
    /// cache and takes no time worth a thread of its own.
    pub(crate) fn append(&self, operation: &'static str, what: impl Display) -> Result<()> {
        (&self.0).write_all(format!("{operation} {what}\n").as_bytes()).map_err(|error| {
            AdapterError::new(ErrorKind::Unavailable, operation, "the journal cannot be written")
                .with_effect(Effect::Stored)
                .with_source(error)
        })
    }
}
