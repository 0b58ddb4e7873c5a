//! One target in one run: counted or purged batch by batch, and told of.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use async_trait::async_trait;
use shiftwork::{JobContext, JobError, Timestamp};
use tracing::{info, warn};

use super::{RetentionTarget, TargetReport};

/// What a run asks of every target.
pub(super) struct Order<'a> {
    pub(super) now: Timestamp,
    pub(super) dry_run: bool,
    /// How many items a batch may have, at least 1.
    pub(super) limit: u32,
    pub(super) ctx: &'a JobContext,
}

/// A target that came to its end, good or bad.
pub(super) struct Purged {
    pub(super) report: TargetReport,
    /// Whether trying again would meet the same error.
    pub(super) permanent: bool,
}

/// A target without its type.
#[async_trait]
pub(super) trait Purge: Send + Sync {
    fn name(&self) -> &str;

    /// Does what is ordered. An error is the run's: it was told to stop.
    async fn purge(&self, order: &Order<'_>) -> Result<Purged, JobError>;
}

#[async_trait]
impl<T: RetentionTarget> Purge for T {
    fn name(&self) -> &str {
        RetentionTarget::name(self)
    }

    async fn purge(&self, order: &Order<'_>) -> Result<Purged, JobError> {
        let began = Instant::now();
        let mut report = TargetReport::default();
        let end = caught(async {
            report.name = RetentionTarget::name(self).to_owned();
            report.older_than = order.now - self.retention();
            match order.dry_run {
                true => count(self, order, &mut report).await,
                false => delete(self, order, &mut report).await,
            }
        })
        .await;
        let permanent = matches!(&end, Err(End::Failed(error)) if error.is_permanent());
        report.error = match &end {
            Ok(()) => None,
            Err(End::ToldToStop) => Some("told to stop before it was done".into()),
            // With `#`, an error that knows its causes tells them.
            Err(End::Failed(error)) => Some(format!("{error:#}")),
            Err(End::Panicked(message)) => Some(format!("panicked: {message}")),
        };
        log(&report, order, began);
        match end {
            Err(End::ToldToStop) => Err(JobError::interrupted()),
            _ => Ok(Purged { report, permanent }),
        }
    }
}

/// Why a target came to its end before it was done.
enum End {
    ToldToStop,
    Failed(JobError),
    Panicked(String),
}

async fn count<T: RetentionTarget>(
    target: &T,
    order: &Order<'_>,
    report: &mut TargetReport,
) -> Result<(), End> {
    // It changes nothing, so it can be left wherever it is.
    let count = tokio::select! {
        biased;
        () = order.ctx.cancelled() => return Err(End::ToldToStop),
        () = order.ctx.shutting_down() => return Err(End::ToldToStop),
        count = target.count(report.older_than) => count.map_err(End::Failed)?,
    };
    report.expired = count.expired;
    report.bytes = count.bytes;
    report.skipped = count.skipped;
    Ok(())
}

async fn delete<T: RetentionTarget>(
    target: &T,
    order: &Order<'_>,
    report: &mut TargetReport,
) -> Result<(), End> {
    let mut cursor = T::Cursor::default();
    loop {
        if order.ctx.is_cancelled() || order.ctx.is_shutting_down() {
            return Err(End::ToldToStop);
        }
        let batch = target.delete_batch(report.older_than, order.limit, &mut cursor).await;
        let batch = batch.map_err(End::Failed)?;
        let stalled = batch.more && batch.deleted == 0;
        report.expired += batch.deleted + batch.failed.count;
        report.deleted += batch.deleted;
        report.bytes = match (report.bytes, batch.bytes) {
            (None, None) => None,
            (sum, more) => Some(sum.unwrap_or(0) + more.unwrap_or(0)),
        };
        report.failed.append(batch.failed);
        report.skipped.append(batch.skipped);
        if stalled {
            return Err(End::Failed(JobError::permanent(
                "its last batch deleted nothing and says that there is more, so it would be asked \
                 for ever; let delete_batch say `more` only where it has deleted something",
            )));
        }
        if !batch.more {
            return Ok(());
        }
        // A target that never waits would let nobody tell this run to stop.
        tokio::task::yield_now().await;
    }
}

/// Its end, or its panic.
async fn caught(work: impl Future<Output = Result<(), End>>) -> Result<(), End> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(End::Panicked(message(&*panic)))),
        }
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with something that is no text")
        .to_owned()
}

/// The one event of a target.
fn log(report: &TargetReport, order: &Order<'_>, began: Instant) {
    macro_rules! event {
        ($level:ident, $message:literal) => {
            $level!(
                retention.target = report.name,
                retention.dry_run = order.dry_run,
                retention.older_than = %report.older_than,
                expired = report.expired,
                deleted = report.deleted,
                bytes = report.bytes,
                failed = report.failed.count,
                skipped = report.skipped.count,
                skipped_first = report.skipped.first.first(),
                duration_ms = began.elapsed().as_millis() as u64,
                error = report.fault(),
                $message
            )
        };
    }
    match (report.fault(), order.dry_run) {
        (Some(_), _) => event!(warn, "retention target not done"),
        (None, _) if !report.skipped.is_empty() => {
            event!(warn, "retention target done, but for what could not be looked at")
        }
        (None, true) => event!(info, "retention target counted"),
        (None, false) => event!(info, "retention target purged"),
    }
}
