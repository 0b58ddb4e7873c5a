//! The jobs.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use shiftwork::adapter::Find;
use shiftwork::prelude::*;
use shiftwork::{JobRecord, JobState};

use crate::output::Screen;

/// A file to be digested.
#[derive(Serialize, Deserialize)]
pub struct DigestFile {
    pub path: PathBuf,
}

/// What a file comes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Digest {
    pub path: PathBuf,
    pub sha256: String,
    pub bytes: u64,
    pub lines: usize,
}

/// Reads a file: one that is missing may be there next time, so it is tried again; one that is no
/// text never will be, so it is a dead letter at once.
#[job(queue = "files", attempts = 3, backoff = "exponential(200ms)")]
impl Job for DigestFile {
    async fn run(self, screen: State<Screen>) -> anyhow::Result<Digest> {
        let path = self.path.clone();
        let digest = tokio::task::spawn_blocking(move || digest(&path)).await??;
        screen.advance();
        Ok(digest)
    }

    fn redacted(&self) -> Option<String> {
        Some(self.path.display().to_string())
    }
}

fn digest(path: &Path) -> anyhow::Result<Digest> {
    let bytes = fs::read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(Permanent::new)?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let lines = text.lines().count();
    Ok(Digest { path: path.to_owned(), sha256, bytes: bytes.len() as u64, lines })
}

/// Shows how far the others are.
#[job(every = "500ms", attempts = 1)]
async fn progress(screen: State<Screen>, ctx: JobContext) -> shiftwork::Result<()> {
    let counts = ctx.jobs().counts("files").await?;
    screen.progress(counts.waiting + counts.delayed + counts.active);
    Ok(())
}

/// Which digests to report on.
#[derive(Serialize, Deserialize)]
pub struct ReportRequest {
    pub batch: String,
    pub root: PathBuf,
}

/// What is shown at the end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub files: usize,
    pub bytes: u64,
    pub lines: usize,
    pub largest: Vec<Digest>,
    pub duplicates: Vec<Vec<PathBuf>>,
    pub dead: Vec<DeadLetter>,
    pub dead_count: usize,
}

/// A file that could not be digested.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    pub id: String,
    pub path: PathBuf,
    pub attempts: u32,
    pub error: String,
}

/// Made of the stored results of the others, so that it does not matter which process they ran in.
#[job(queue = "reports")]
pub async fn report(request: ReportRequest, ctx: JobContext) -> Result<Report, JobError> {
    let mut report = Report::default();
    let mut by_digest: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut find = Find::new().states([JobState::Completed, JobState::Dead]).limit(1000);
    // While a queue changes, a store may tell a job in two pages.
    let mut seen = HashSet::new();
    loop {
        let page = ctx.jobs().find("files", &find).await?;
        let of_batch = page.jobs.iter().filter(|job| is_of(job, &request.batch));
        for job in of_batch.filter(|job| seen.insert(job.spec.id)) {
            report.add(job, &request.root, &mut by_digest);
        }
        match page.next {
            Some(next) => find = find.after(next),
            None => break,
        }
    }
    // Pages come in an order of the store's own.
    report.largest.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    report.largest.truncate(3);
    report.duplicates = by_digest.into_values().filter(|paths| paths.len() > 1).collect();
    report.duplicates.iter_mut().for_each(|paths| paths.sort());
    Ok(report)
}

impl Report {
    fn add(
        &mut self,
        job: &JobRecord,
        root: &Path,
        by_digest: &mut BTreeMap<String, Vec<PathBuf>>,
    ) {
        let attempt = job.last_attempt.as_deref();
        let short = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
        if job.state == JobState::Dead {
            self.dead_count += 1;
            if self.dead.len() < 3
                && let Ok(DigestFile { path }) = serde_json::from_slice(job.spec.payload.as_bytes())
            {
                let failure = attempt.and_then(|attempt| attempt.failure.as_ref());
                self.dead.push(DeadLetter {
                    id: job.spec.id.to_string(),
                    path: short(&path),
                    attempts: job.attempts,
                    error: failure.map(ToString::to_string).unwrap_or_default(),
                });
            }
            return;
        }
        let data = attempt.and_then(|attempt| attempt.data.as_ref());
        let Some(Ok(mut digest)) =
            data.map(|data| serde_json::from_slice::<Digest>(data.as_bytes()))
        else {
            return;
        };
        digest.path = short(&digest.path);
        self.files += 1;
        self.bytes += digest.bytes;
        self.lines += digest.lines;
        by_digest.entry(digest.sha256.clone()).or_default().push(digest.path.clone());
        self.largest.push(digest);
    }
}

fn is_of(job: &JobRecord, batch: &str) -> bool {
    let provenance = job.spec.provenance.as_deref();
    provenance.and_then(|provenance| provenance.correlation_id.as_deref()) == Some(batch)
}
