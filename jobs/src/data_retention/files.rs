//! Files that are older than they should get.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shiftwork::{JobError, Timestamp};

use super::walk::{Rules, Walk};
use super::{Batch, Count, RetentionTarget};

/// The files of a directory that were last modified longer ago than a retention: backups, exports,
/// uploads that nobody fetched.
///
/// ```
/// use shiftwork_jobs::data_retention::{ExpiredFiles, RetentionTargets};
/// use shiftwork_jobs::days;
///
/// let targets = RetentionTargets::new()
///     .with(ExpiredFiles::in_dir("backups").older_than(days(30)).with_suffix(".sql.gz"))
///     .with(ExpiredFiles::in_dir("/var/tmp/exports").older_than(days(1)).recursive());
/// ```
///
/// # What it deletes
/// Regular files that stand directly in the directory and match the name's prefix and suffix, if
/// such are given. A file that was modified exactly then is not older. Directories, links and
/// whatever else there is stay, and count as nothing.
///
/// The directory itself may be a link; where it leads to is looked up once in a run. A relative
/// path begins at the process's working directory. A directory that is not there is an error,
/// unless it [may be missing](Self::or_missing); the root of a file system is refused.
///
/// A file that cannot be deleted makes the run fail, once all others are deleted. What cannot be
/// looked at, such as a subdirectory that this process may not read, is told as a warning.
///
/// # It does not leave the directory
/// A link in the directory is never followed, whatever it points to. Before each deletion the
/// directory is looked up again: if somebody exchanged it for a link meanwhile, nothing is deleted
/// through it. If somebody exchanged the file itself for a link, that link is what is deleted.
///
/// An instant remains between that look and the deletion, in which a directory could be exchanged
/// for a link to another one, where a file of the same name would then be deleted; the standard
/// library has no way to delete from a directory that is held open. Only who may rename the
/// directory, or with [`recursive`](Self::recursive) one within it, can do so. Where you do not
/// trust them, run the worker as a user who can delete nothing else.
#[derive(Clone, Debug)]
pub struct ExpiredFiles {
    name: String,
    retention: Duration,
    rules: Rules,
}

/// A directory whose retention is not yet said.
#[derive(Clone, Debug)]
pub struct FilesInDir(PathBuf);

impl FilesInDir {
    /// Those that were last modified longer ago than `retention`.
    pub fn older_than(self, retention: Duration) -> ExpiredFiles {
        ExpiredFiles { name: self.0.display().to_string(), retention, rules: Rules::in_dir(self.0) }
    }
}

impl ExpiredFiles {
    /// Files of this directory; [how old](FilesInDir::older_than) is said next.
    pub fn in_dir(dir: impl Into<PathBuf>) -> FilesInDir {
        FilesInDir(dir.into())
    }

    /// What logs and reports call it. Default: the directory's path.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Only files whose name begins so.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.rules.prefix = prefix.into();
        self
    }

    /// Only files whose name ends so, such as `.sql.gz`.
    #[must_use]
    pub fn with_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.rules.suffix = suffix.into();
        self
    }

    /// In its subdirectories too. They stay, also when they become empty.
    #[must_use]
    pub fn recursive(mut self) -> Self {
        self.rules.recursive = true;
        self
    }

    /// A directory that is not there has nothing in it.
    #[must_use]
    pub fn or_missing(mut self) -> Self {
        self.rules.may_be_missing = true;
        self
    }
}

impl RetentionTarget for ExpiredFiles {
    /// Each file is met once in a run, whether it could be deleted or not.
    type Cursor = Walk;

    fn name(&self) -> &str {
        &self.name
    }

    fn retention(&self) -> Duration {
        self.retention
    }

    async fn count(&self, older_than: Timestamp) -> Result<Count, JobError> {
        let rules = self.rules.clone();
        on_blocking_pool(move |stop| Walk::default().count(&rules, older_than, stop)).await?
    }

    async fn delete_batch(
        &self,
        older_than: Timestamp,
        limit: u32,
        cursor: &mut Walk,
    ) -> Result<Batch, JobError> {
        let (rules, mut walk) = (self.rules.clone(), std::mem::take(cursor));
        let (walk, batch) = on_blocking_pool(move |stop| {
            let batch = walk.delete(&rules, older_than, limit, stop);
            (walk, batch)
        })
        .await?;
        *cursor = walk;
        batch
    }
}

/// Runs what blocks on a thread for such, which is told to stop when nobody waits any more.
async fn on_blocking_pool<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> Result<T, JobError> {
    struct StopOnDrop(Arc<AtomicBool>);
    impl Drop for StopOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = StopOnDrop(Arc::default());
    let flag = stop.0.clone();
    Ok(tokio::task::spawn_blocking(move || work(&flag)).await?)
}
