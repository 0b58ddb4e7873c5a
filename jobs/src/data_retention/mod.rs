//! The job `data-retention`: deletes for good what expired longer ago than its retention.
//!
//! An application marks a row as deleted and keeps it for a while; backups pile up in a
//! directory. Each such place is a [target](RetentionTarget), which the application registers:
//! [files](ExpiredFiles) of a directory, rows of a SQLite database with the feature `sqlite`
//! (`ExpiredRows`), or one of its own.
//!
//! ```
//! use shiftwork::prelude::*;
//! use shiftwork_jobs::data_retention::{self, ExpiredFiles, RetentionReport, RetentionTargets};
//! use shiftwork_jobs::days;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let backups = dir.path();
//! # let old = std::fs::File::create(backups.join("monday.sql.gz"))?;
//! # old.set_modified(std::time::SystemTime::now() - days(31))?;
//! # std::fs::write(backups.join("today.sql.gz"), "")?;
//! let targets = RetentionTargets::new()
//!     .with(ExpiredFiles::in_dir(backups).older_than(days(30)).with_suffix(".sql.gz"));
//! # let jobs = Jobs::from_vars([("JOBS_PROVIDER", "memory")]);
//! # stringify! {
//! let jobs = Jobs::from_env();
//! # };
//! let jobs = jobs.state(targets).start().await?;
//!
//! // It runs every night. By hand, one first looks at what would go:
//! let run = jobs.trigger(data_retention::dry_run()).await?;
//! let result = run.result(minutes(1)).await?.finished().expect("it takes no minute");
//! let report: RetentionReport = result.data()?.expect("it returns a report");
//! assert_eq!((report.targets[0].expired, report.targets[0].deleted), (1, 0));
//!
//! // And then lets it go:
//! let run = jobs.trigger("data-retention").await?;
//! # let result = run.result(minutes(1)).await?.finished().expect("it takes no minute");
//! # let report: RetentionReport = result.data()?.expect("it returns a report");
//! # assert_eq!((report.targets[0].expired, report.targets[0].deleted), (1, 1));
//! # assert!(!backups.join("monday.sql.gz").exists() && backups.join("today.sql.gz").exists());
//! # jobs.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # When it runs
//! At 02:00 UTC, `0 2 * * *`, unless `JOBS_DATA_RETENTION_SCHEDULE` says otherwise;
//! `JOBS_DATA_RETENTION_ENABLED=false` leaves it to be triggered by hand. An attempt that takes
//! longer than an hour is cancelled, and the next one goes on where it was.
//!
//! # How a run goes
//! 1. Now is the earlier of two times: when the job was due by the store's clock, and when the
//!    attempt began by this process's. So neither clock alone can make young data old.
//! 2. Target by target, in the order of registration: what is older than now less the target's
//!    retention is deleted in batches, of [1000](RetentionTargets::batch_size) unless said
//!    otherwise. A dry run counts it instead.
//! 3. Between batches it looks whether to stop. For a shutdown it hands itself back, which costs
//!    no attempt, and the next worker begins anew with what is left.
//! 4. Each target is one event in the log, with its counts, and one [`TargetReport`] in the
//!    [`RetentionReport`] that the run returns.
//!
//! A target that fails, by an error or a panic, does not stop those behind it. The run then fails
//! as a whole, with the errors of all of them and the report as its data; trying again does no
//! harm, since what is deleted is not found again.
//!
//! # Without targets
//! A process that links this crate and serves the job's queue, and gives no [`RetentionTargets`],
//! does not start: *the job "data-retention" takes `State<RetentionTargets>`, and nobody gave
//! one*. That is on purpose. A job that runs every night, deletes nothing and says "completed" is
//! found out by the auditor. It holds where the schedule is disabled too, since the job can still
//! be triggered. Whoever wants another job of this crate leaves out the feature `data-retention`; whoever
//! has nothing to delete yet says so with `.state(RetentionTargets::new())`, and each run warns of it. A process that runs no jobs
//! (`WORKER_ROLE` is `web` or `cron`) needs no targets.

mod files;
mod purge;
mod report;
#[cfg(feature = "sqlite")]
mod rows;
mod target;
mod targets;
mod walk;

use serde::{Deserialize, Serialize};
use shiftwork::prelude::*;
use shiftwork::{Failure, FailureKind};
use tracing::warn;

pub use self::files::{ExpiredFiles, FilesInDir};
use self::purge::{Order, Purged};
pub use self::report::{LeftBehind, RetentionReport, TargetReport};
#[cfg(feature = "sqlite")]
pub use self::rows::{
    Dependents, ExpiredRows, ExpiredRowsBuilder, InvalidRows, RowsOf, SoftDeletedRows, TimeFormat,
};
pub use self::target::{Batch, Count, RetentionTarget};
pub use self::targets::RetentionTargets;

/// The payload of the job `data-retention`. No payload, as from its schedule, is the default: a
/// run that deletes.
///
/// In JSON `{"dry_run": true}`; a misspelt field is refused, and never a run that deletes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Options>")]
pub struct DataRetention {
    /// Counts what is expired, and deletes nothing.
    pub dry_run: bool,
}

/// A run that counts what is expired and deletes nothing, for
/// [`trigger`](shiftwork::Jobs::trigger): its result is a [`RetentionReport`].
pub fn dry_run() -> NewJob {
    DataRetention { dry_run: true }.job()
}

/// What a payload may say.
#[derive(Default, Deserialize)]
#[serde(rename = "DataRetention", default, deny_unknown_fields)]
struct Options {
    dry_run: bool,
}

impl From<Option<Options>> for DataRetention {
    fn from(given: Option<Options>) -> Self {
        Self { dry_run: given.unwrap_or_default().dry_run }
    }
}

#[job(name = "data-retention", cron = "0 2 * * *", timeout = "1h")]
impl Job for DataRetention {
    async fn run(
        self,
        targets: State<RetentionTargets>,
        ctx: JobContext,
    ) -> Result<JobResult, JobError> {
        let now = ctx.started_at().min(ctx.scheduled_at());
        let order = Order { now, dry_run: self.dry_run, limit: targets.limit(), ctx: &ctx };
        let mut purged = Vec::new();
        for target in targets.iter() {
            purged.push(target.purge(&order).await?);
        }
        if purged.is_empty() {
            warn!("there are no retention targets: nothing was looked at");
        }
        result(self.dry_run, purged)
    }

    fn redacted(&self) -> Option<String> {
        Some(format!("dry_run: {}", self.dry_run))
    }
}

/// The report, and whether the run failed.
fn result(dry_run: bool, purged: Vec<Purged>) -> Result<JobResult, JobError> {
    let faults: Vec<_> = purged
        .iter()
        .filter_map(|purged| Some(format!("{}: {}", purged.report.name, purged.report.fault()?)))
        .collect();
    // Others may meet nothing but what cannot mend itself; then trying again is of no use.
    let hopeless = purged.iter().all(|purged| purged.permanent || purged.report.fault().is_none());
    let targets = purged.into_iter().map(|purged| purged.report).collect();
    let report = RetentionReport { dry_run, targets };
    if faults.is_empty() {
        return JobResult::success().with_message(report.summary()).with_data(&report);
    }
    let (failed, all) = (faults.len(), report.targets.len());
    let message = format!("{failed} of {all} retention targets failed: {}", faults.join("; "));
    let mut result = JobResult::failure(&message).with_data(&report)?;
    let kind = if hopeless { FailureKind::Permanent } else { FailureKind::Error };
    result.error = Some(Failure::new(kind, [message]));
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_deletes_unless_it_is_told_not_to() {
        for (json, dry_run) in [
            ("null", false),
            ("{}", false),
            (r#"{"dry_run":false}"#, false),
            (r#"{"dry_run":true}"#, true),
        ] {
            assert_eq!(read(json).expect(json), DataRetention { dry_run }, "{json}");
        }
    }

    #[test]
    fn a_misspelt_dry_run_is_no_run_at_all() {
        for json in [r#"{"dryRun":true}"#, r#"{"dry_run":1}"#, "true", r#""dry_run""#] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    fn read(json: &str) -> Result<DataRetention, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }
}
