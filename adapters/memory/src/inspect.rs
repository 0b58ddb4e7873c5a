//! Looking into a queue. A page looks at a bounded number of jobs and may be empty for it; who
//! searches a million waiting jobs for one dead letter reads a hundred such pages.

use std::ops::Bound;

use shiftwork_adapter::{
    AdapterError, Counts, Cursor, ErrorKind, Find, Found, HeldPage, Incarnation, JobId, JobRecord,
    Result, Timestamp,
};

use crate::STEP;
use crate::queue::Queue;
use crate::record::Record;

/// How many jobs a page looks at.
const EXAMINED: usize = 10 * STEP;

impl Queue {
    pub(crate) fn job(&self, job: JobId, now: Timestamp) -> Option<JobRecord> {
        self.jobs.record(job, now).map(|record| record.to_job_record(&self.name))
    }

    /// How many jobs are in each state. Of jobs past their age that no sweep has forgotten yet, a
    /// bounded number is subtracted.
    pub(crate) fn counts(&self, now: Timestamp) -> Counts {
        let mut counts = self.jobs.counts();
        for (_, state) in self.jobs.kept.expired(now).take(EXAMINED) {
            *counts.of_mut(state) -= 1;
        }
        counts.paused = self.paused;
        counts
    }

    /// A page of jobs, from behind `after` on.
    pub(crate) fn find(&self, find: &Find, after: Option<JobId>, now: Timestamp) -> Found {
        // A page of none would never end.
        let limit = find.limit.clamp(1, STEP);
        let wanted = |record: &Record| {
            (find.states.is_empty() || find.states.contains(&record.state()))
                && find.name.as_ref().is_none_or(|name| *name == record.spec.name)
        };
        let mut found = Found::default();
        let mut last = None;
        for (examined, (id, record)) in self.jobs.records_after(after, now).enumerate() {
            if examined == EXAMINED || found.jobs.len() == limit {
                // `id` is the first of the next page, which begins after the one before it.
                found.next = last.map(cursor);
                return found;
            }
            last = Some(id);
            let record = record.filter(|record| wanted(record));
            let record = record.map(|record| record.to_job_record(&self.name));
            found.jobs.extend(record.filter(|record| find.matches(record)));
        }
        found
    }

    /// What an incarnation holds, after a job.
    pub(crate) fn held(&self, incarnation: Incarnation, after: Option<JobId>) -> HeldPage {
        let mut page = HeldPage::default();
        let Some(life) = self.incarnations.alive(incarnation) else {
            page.expired = true;
            return page;
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut held = life.held.range((from, Bound::Unbounded));
        page.jobs = held.by_ref().take(STEP).map(|(job, hold)| (*job, hold.generation)).collect();
        if held.next().is_some() {
            page.next = page.jobs.last().map(|(job, _)| *job);
        }
        page
    }
}

/// Pages are ordered by id, and the next begins behind the last that this one looked at, whether
/// that is still there or not.
fn cursor(last: JobId) -> Cursor {
    Cursor::new(last.to_string())
}

/// The job behind which a page begins.
pub(crate) fn position(cursor: &Cursor) -> Result<JobId> {
    cursor.as_str().parse().map_err(|_| {
        let seen: String = cursor.as_str().chars().take(64).collect();
        AdapterError::new(
            ErrorKind::Invalid,
            "find",
            format!(
                "{seen:?} is no cursor of the memory store; go on from the `next` of the page \
                 before, unchanged, or leave it out to begin"
            ),
        )
    })
}
