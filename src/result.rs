//! How a run ends: what a handler returns, and what the caller is told.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shiftwork_adapter::{
    AttemptReport, Failure, FailureKind, JobRecord, JobState, Payload, Timestamp,
};

/// How a job ended.
///
/// A handler may return one itself, to say more than its type can: a message, or failure without
/// an `Err`.
///
/// ```
/// use shiftwork::prelude::*;
///
/// #[job]
/// async fn sync_stock() -> JobResult {
///     JobResult::failure("the warehouse is closed")
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobResult {
    /// Whether it did what it should.
    pub success: bool,
    /// What the handler says about it.
    pub message: Option<String>,
    /// What the handler returned, as JSON; read it with [`data`](Self::data).
    pub data: Option<Payload>,
    /// Why it failed, if it did.
    pub error: Option<Failure>,
    /// How many attempts were settled.
    pub attempts: u32,
    /// When the last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl JobResult {
    /// It did what it should.
    pub fn success() -> Self {
        Self { success: true, ..Self::default() }
    }

    /// It did not, for a reason that may pass: as an `Err`, it is tried again.
    pub fn failure(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::default() }
    }

    /// The same, with a message.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// The same, with data.
    ///
    /// # Errors
    /// Where `data` cannot be written as JSON.
    pub fn with_data(mut self, data: &impl Serialize) -> Result<Self, JobError> {
        self.data = Some(Payload::json(data).map_err(unserializable)?);
        Ok(self)
    }

    /// What the handler returned; `None` where that was nothing.
    ///
    /// # Errors
    /// Where it is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.data.as_ref().map(|data| serde_json::from_slice(data.as_bytes())).transpose()
    }

    /// How `record` ended; `None` while it has not.
    pub(crate) fn of(record: &JobRecord) -> Option<Self> {
        if !record.state.is_finished() {
            return None;
        }
        let report = record.last_attempt.as_deref();
        let error = report.and_then(|report| report.failure.clone()).or_else(|| {
            (record.state == JobState::Cancelled)
                .then(|| Failure::new(FailureKind::Cancelled, ["cancelled".into()]))
        });
        Some(Self {
            success: record.state == JobState::Completed,
            message: report.and_then(|report| report.message.clone()),
            data: report.and_then(|report| report.data.clone()),
            error: error.filter(|_| record.state != JobState::Completed),
            attempts: record.attempts,
            started_at: report.map(|report| report.started_at),
            finished_at: report.map(|report| report.finished_at).or(record.finished_at),
        })
    }

    pub(crate) fn into_report(
        self,
        started_at: Timestamp,
        finished_at: Timestamp,
    ) -> Arc<AttemptReport> {
        let mut report = AttemptReport::new(started_at, finished_at);
        report.message = self.message;
        report.data = self.data;
        report.failure = self.error;
        report.into()
    }
}

/// What a handler may return: nothing, a [`JobResult`], or a `Result` of either or of anything
/// that serialises, which is kept as the job's data where results are kept.
#[diagnostic::on_unimplemented(
    message = "a job's handler cannot return `{Self}`",
    note = "a handler returns nothing, `JobResult`, or `Result<T, E>` where `T` implements `Serialize` and `E` is an error (`std::error::Error`, `anyhow::Error`, `String`)"
)]
pub trait IntoJobResult {
    /// The result, or the error.
    #[doc(hidden)]
    fn into_job_result(self) -> Result<JobResult, JobError>;
}

impl IntoJobResult for () {
    fn into_job_result(self) -> Result<JobResult, JobError> {
        Ok(JobResult::success())
    }
}

impl IntoJobResult for JobResult {
    fn into_job_result(self) -> Result<JobResult, JobError> {
        Ok(self)
    }
}

impl<T: Serialize + 'static, E: Into<JobError>> IntoJobResult for Result<T, E> {
    fn into_job_result(self) -> Result<JobResult, JobError> {
        let value = self.map_err(Into::into)?;
        // A `JobResult` speaks for itself and a unit says nothing; both are no data.
        let mut value = Some(value);
        let any = &mut value as &mut dyn Any;
        if let Some(result) = any.downcast_mut::<Option<JobResult>>() {
            return Ok(result.take().unwrap_or_default());
        }
        if any.is::<Option<()>>() {
            return Ok(JobResult::success());
        }
        JobResult::success().with_data(&value)
    }
}

/// Allows `Result<JobResult, E>`; a result is never stored in this form.
impl Serialize for JobResult {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("JobResult", 7)?;
        out.serialize_field("success", &self.success)?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("data", &self.data.as_ref().and_then(Payload::value))?;
        out.serialize_field("error", &self.error)?;
        out.serialize_field("attempts", &self.attempts)?;
        out.serialize_field("started_at", &self.started_at)?;
        out.serialize_field("finished_at", &self.finished_at)?;
        out.end()
    }
}

/// Why a handler failed. Anything that is an error becomes one by `?`.
#[derive(Debug)]
pub struct JobError {
    kind: Kind,
    source: Box<dyn StdError + Send + Sync>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Passing,
    Permanent,
    Interrupted,
}

impl JobError {
    /// An error that another attempt may not meet.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = error.into();
        let permanent = links(&*source).any(<dyn StdError>::is::<Marked>);
        Self { kind: if permanent { Kind::Permanent } else { Kind::Passing }, source }
    }

    /// An error that every further attempt would meet again: the job is a dead letter at once.
    pub fn permanent(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: Kind::Permanent, source: error.into() }
    }

    /// The work was left since [`ctx.is_shutting_down()`](crate::JobContext::is_shutting_down):
    /// the job is handed back and costs no attempt. At any other time it is a failure as others.
    pub fn interrupted() -> Self {
        Self { kind: Kind::Interrupted, source: "interrupted by a shutdown".into() }
    }

    /// Whether further attempts are of no use.
    pub fn is_permanent(&self) -> bool {
        self.kind == Kind::Permanent
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.kind == Kind::Interrupted
    }

    pub(crate) fn failure(&self) -> Failure {
        let kind = if self.is_permanent() { FailureKind::Permanent } else { FailureKind::Error };
        // The link before the mark has told of the same error already.
        let links = links(&*self.source).filter(|link| !link.is::<Marked>());
        Failure::new(kind, links.map(ToString::to_string))
    }
}

/// The error; with `{:#}`, its sources too.
impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f.alternate() {
            true => write!(f, "{}", self.failure()),
            false => write!(f, "{}", self.source),
        }
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// Marks an error as one that every further attempt would meet again, wherever in a chain it is:
/// the job is a dead letter at once.
///
/// ```
/// # use shiftwork::prelude::*;
/// #[job]
/// async fn import(path: String) -> anyhow::Result<()> {
///     let text = std::fs::read(&path)?; // May be there next time: tried again.
///     let text = String::from_utf8(text).map_err(Permanent::new)?; // Will not mend itself.
///     println!("{}", text.len());
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Permanent(Marked);

/// What a [`Permanent`] marks. Some error types wrap the outermost error of a chain in a type of
/// their own, which hides it; its source they all give as it is, so the mark stands there.
#[derive(Debug)]
struct Marked(Box<dyn StdError + Send + Sync>);

impl Permanent {
    /// `error`, marked.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Marked(error.into()))
    }
}

impl fmt::Display for Permanent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for Permanent {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for Marked {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

fn unserializable(error: serde_json::Error) -> JobError {
    JobError::permanent(format!("what the handler returned cannot be written as JSON: {error}"))
}

fn links<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid() -> std::string::FromUtf8Error {
        String::from_utf8(vec![0xff]).unwrap_err()
    }

    #[test]
    fn a_permanent_error_is_known_wherever_it_is_in_the_chain() {
        assert!(!JobError::new(invalid()).is_permanent());
        assert!(JobError::new(Permanent::new(invalid())).is_permanent());
        assert!(JobError::new(anyhow::Error::new(Permanent::new(invalid()))).is_permanent());
        let deep =
            anyhow::Error::new(Permanent::new(invalid())).context("reading").context("import");
        assert!(JobError::new(deep).is_permanent());
    }

    #[test]
    fn a_chain_tells_each_error_once_the_outermost_first() {
        let error = anyhow::Error::new(Permanent::new(invalid())).context("reading a.txt");
        assert_eq!(
            JobError::new(error).failure().chain,
            ["reading a.txt", "invalid utf-8 sequence of 1 bytes from index 0",]
        );
    }

    #[test]
    fn what_a_handler_returns_is_its_data() {
        let ok: Result<_, JobError> = Ok(vec![1, 2]);
        let result = ok.into_job_result().unwrap();
        assert!(result.success);
        assert_eq!(result.data::<Vec<u8>>().unwrap(), Some(vec![1, 2]));
    }

    #[test]
    fn unit_is_no_data_and_a_job_result_speaks_for_itself() {
        assert_eq!(Ok::<_, JobError>(()).into_job_result().unwrap(), JobResult::success());
        let failed = Ok::<_, JobError>(JobResult::failure("closed")).into_job_result().unwrap();
        assert!(!failed.success);
        assert_eq!(failed.message.as_deref(), Some("closed"));
    }

    #[test]
    fn what_cannot_be_json_is_a_permanent_error() {
        let value = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(Ok::<_, JobError>(value).into_job_result().unwrap_err().is_permanent());
    }
}
