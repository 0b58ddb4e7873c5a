//! What a place must tell of its expired data, and be able to do.

use std::time::Duration;

use shiftwork::{JobError, Timestamp};

use super::LeftBehind;

/// A place with data that expires: a table with a column `deleted_at`, a bucket, a
/// [directory](super::ExpiredFiles).
///
/// What is **expired** is up to the target: usually what was soft-deleted before the time given.
/// Both methods must agree on it, so that a dry run tells the truth.
///
/// # What both sides owe
/// - **Bounded.** [`delete_batch`](Self::delete_batch) deletes no more than it is told to, in a
///   transaction of its own if it has such: what a batch deleted stays deleted, whatever comes
///   after.
/// - **Idempotent.** What is deleted is not found again. Two runs may delete at the same time, and
///   what the other was quicker with is no error.
/// - **In order.** In a run, one batch is asked for after the other, until one is the last or an
///   error.
///
/// # Cancellation
/// Both futures may be dropped at any await: [`count`](Self::count) as soon as the run is told to
/// stop, [`delete_batch`](Self::delete_batch) where it does not come to an end in time.
///
/// # Example
/// For SQLite there is `ExpiredRows`, with the feature `sqlite`. In other databases, a batch is one
/// statement, here PostgreSQL's:
///
/// ```sql
/// DELETE FROM users WHERE id IN (
///     SELECT id FROM users WHERE deleted_at < to_timestamp($1 / 1000.0) LIMIT $2
/// )
/// ```
///
/// The same on a map:
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// use shiftwork::{JobError, Timestamp};
/// use shiftwork_jobs::data_retention::{Batch, Count, RetentionTarget, RetentionTargets};
/// use shiftwork_jobs::days;
///
/// /// When each user was deleted, if so.
/// struct Users(Arc<Mutex<BTreeMap<u64, Option<Timestamp>>>>);
///
/// impl RetentionTarget for Users {
///     type Cursor = ();
///
///     fn name(&self) -> &str {
///         "users"
///     }
///
///     fn retention(&self) -> Duration {
///         days(90)
///     }
///
///     async fn count(&self, older_than: Timestamp) -> Result<Count, JobError> {
///         let users = self.0.lock().map_err(|_| "poisoned")?;
///         let expired = users.values().flatten().filter(|deleted_at| **deleted_at < older_than);
///         Ok(Count::of(expired.count() as u64))
///     }
///
///     async fn delete_batch(
///         &self,
///         older_than: Timestamp,
///         limit: u32,
///         _: &mut (),
///     ) -> Result<Batch, JobError> {
///         let mut users = self.0.lock().map_err(|_| "poisoned")?;
///         let is_expired = |deleted_at: &Option<Timestamp>| deleted_at.is_some_and(|at| at < older_than);
///         let expired = users.extract_if(.., |_, deleted_at| is_expired(deleted_at));
///         let deleted = expired.take(limit as usize).count();
///         Ok(Batch::of(deleted as u64, limit))
///     }
/// }
///
/// let users = Arc::new(Mutex::new(BTreeMap::new()));
/// let targets = RetentionTargets::new().with(Users(users.clone()));
/// ```
pub trait RetentionTarget: Send + Sync + 'static {
    /// What a run remembers from one batch to the next, empty at first: how far it got, for a
    /// target that must not meet again what it could not delete. `()` where there is no such.
    type Cursor: Default + Send;

    /// What logs and reports call it.
    fn name(&self) -> &str;

    /// How long data stays after it was soft-deleted, or after whatever else makes it expire.
    fn retention(&self) -> Duration;

    /// Counts what is older than a time, and changes nothing: the dry run.
    fn count(&self, older_than: Timestamp) -> impl Future<Output = Result<Count, JobError>> + Send;

    /// Deletes for good up to `limit` items, at least 1, that are older than a time.
    ///
    /// A batch that says there is [more](Batch::more) has deleted something. One that has not is
    /// taken for a target that would be asked for ever, and ends it with an error.
    ///
    /// # Errors
    /// What keeps it from going on. An item that alone cannot be deleted is better told as
    /// [`failed`](Batch::failed), so that the others are.
    fn delete_batch(
        &self,
        older_than: Timestamp,
        limit: u32,
        cursor: &mut Self::Cursor,
    ) -> impl Future<Output = Result<Batch, JobError>> + Send;
}

/// What a target found expired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// How many items.
    pub expired: u64,
    /// How much room they take, where that is known.
    pub bytes: Option<u64>,
    /// What could not be looked at. Told as a warning.
    pub skipped: LeftBehind,
}

impl Count {
    /// So many items.
    pub fn of(expired: u64) -> Self {
        Self { expired, ..Self::default() }
    }
}

/// What a target deleted in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// How many items.
    pub deleted: u64,
    /// How much room they took, where that is known.
    pub bytes: Option<u64>,
    /// What is expired and could not be deleted: makes the run fail, once all else is done.
    pub failed: LeftBehind,
    /// What could not be looked at. Told as a warning.
    pub skipped: LeftBehind,
    /// Whether there may be more.
    pub more: bool,
}

impl Batch {
    /// So many items of at most `limit`. Where it is fewer, there is no more.
    pub fn of(deleted: u64, limit: u32) -> Self {
        Self { deleted, more: deleted >= u64::from(limit), ..Self::default() }
    }
}
