//! What a run tells of what it did.

use serde::{Deserialize, Serialize};
use shiftwork::Timestamp;

/// What a run of the job `data-retention` did. Read it from the job's result:
/// `result.data::<RetentionReport>()`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetentionReport {
    /// Whether it only counted.
    pub dry_run: bool,
    /// What became of each target, in the order of their registration.
    pub targets: Vec<TargetReport>,
}

/// What became of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TargetReport {
    /// The target's name.
    pub name: String,
    /// What was older than this was expired.
    pub older_than: Timestamp,
    /// How many items were found expired.
    pub expired: u64,
    /// How many of them were deleted: in a dry run, none.
    pub deleted: u64,
    /// How much room they take or took, where that is known.
    pub bytes: Option<u64>,
    /// What is expired and could not be deleted.
    pub failed: LeftBehind,
    /// What could not be looked at.
    pub skipped: LeftBehind,
    /// What ended the target before it was done.
    pub error: Option<String>,
}

/// Items that were left where they are: how many, and what is with the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeftBehind {
    /// How many.
    pub count: u64,
    /// Which, and why; not all of them where they are many.
    pub first: Vec<String>,
}

impl RetentionReport {
    /// In a line, for who looks at a list of runs.
    pub(super) fn summary(&self) -> String {
        let all = self.targets.len();
        match (all, self.dry_run) {
            (0, _) => "there are no targets".into(),
            (_, true) => {
                let expired: u64 = self.targets.iter().map(|target| target.expired).sum();
                format!("dry run; expired items: {expired}, targets: {all}")
            }
            (_, false) => {
                let deleted: u64 = self.targets.iter().map(|target| target.deleted).sum();
                format!("deleted items: {deleted}, targets: {all}")
            }
        }
    }
}

impl TargetReport {
    /// Why the target cannot be called done.
    pub(super) fn fault(&self) -> Option<String> {
        let failed = self.failed.first.first().map(|first| {
            format!("could not delete {} of what is expired, such as {first}", self.failed.count)
        });
        match (&self.error, failed) {
            (Some(error), Some(failed)) => Some(format!("{error}; before that, it {failed}")),
            (Some(error), None) => Some(error.clone()),
            (None, failed) => failed,
        }
    }
}

impl LeftBehind {
    /// As many are told of as a person reads.
    const TOLD: usize = 10;

    /// One more: which, and why.
    pub fn add(&mut self, item: impl Into<String>) {
        self.append(Self { count: 1, first: vec![item.into()] });
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn append(&mut self, more: Self) {
        self.count += more.count;
        let room = Self::TOLD.saturating_sub(self.first.len());
        self.first.extend(more.first.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_left_behind_is_counted_and_the_first_are_named() {
        let mut left = LeftBehind::default();
        (0..1000).for_each(|number| left.add(format!("{number}: busy")));
        left.append(left.clone());
        assert_eq!((left.count, left.first.len()), (2000, LeftBehind::TOLD));
        assert_eq!(left.first[0], "0: busy");
    }

    #[test]
    fn a_fault_tells_the_error_and_what_failed_before_it() {
        let mut report = TargetReport::default();
        assert_eq!(report.fault(), None);
        report.skipped.add("lost+found: permission denied");
        assert_eq!(report.fault(), None);
        report.failed.add("a.gz: busy");
        let failed = "could not delete 1 of what is expired, such as a.gz: busy";
        assert_eq!(report.fault().as_deref(), Some(failed));
        report.error = Some("the disk is gone".into());
        let both = format!("the disk is gone; before that, it {failed}");
        assert_eq!(report.fault(), Some(both));
    }
}
