//! Finished jobs that are kept: on which shelf, and until when.
//!
//! ```text
//!  keep_result set? ── yes ──▶ results     leave by age alone
//!        │ no
//!        ├─ completed, cancelled ──▶ completed   leave by age, or by count
//!        └─ dead ──▶ dead                        leave by age, or by count
//! ```
//!
//! All jobs of a shelf with a count have one age, so that the first to end is the first to go by
//! either rule. A job that is past its age is no longer answered, whether the sweep has come by
//! or not.

use std::collections::BTreeMap;
use std::time::Duration;

use shiftwork_adapter::{JobId, JobState, Retention, StoreSettings, Timestamp};

/// The finished jobs of a queue.
pub(crate) struct Kept {
    completed: Shelf,
    dead: Shelf,
    /// Jobs with a `keep_result` of their own, by the end of their age.
    results: BTreeMap<(Timestamp, JobId), JobState>,
}

/// Jobs by the time they ended.
struct Shelf {
    retention: Retention,
    jobs: BTreeMap<(Timestamp, JobId), JobState>,
}

/// A finished job: what decides how long it is kept.
#[derive(Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) job: JobId,
    pub(crate) state: JobState,
    pub(crate) at: Timestamp,
    pub(crate) keep_result: Option<Duration>,
}

impl Kept {
    pub(crate) fn new(settings: &StoreSettings) -> Self {
        let shelf = |retention| Shelf { retention, jobs: BTreeMap::new() };
        Self {
            completed: shelf(settings.keep_completed),
            dead: shelf(settings.keep_dead),
            results: BTreeMap::new(),
        }
    }

    /// Keeps a finished job; answers `false` where it need not be kept at all.
    pub(crate) fn keep(&mut self, finished: Finished) -> bool {
        if self.age(&finished).is_zero() {
            return false;
        }
        let Finished { job, state, at, keep_result } = finished;
        if keep_result.is_some() {
            self.results.insert((self.expires_at(&finished), job), state);
            return true;
        }
        let shelf = self.shelf_mut(state);
        if shelf.retention.count > 0 {
            shelf.jobs.insert((at, job), state);
        }
        shelf.retention.count > 0
    }

    pub(crate) fn remove(&mut self, finished: Finished) {
        if finished.keep_result.is_some() {
            self.results.remove(&(self.expires_at(&finished), finished.job));
        } else {
            self.shelf_mut(finished.state).jobs.remove(&(finished.at, finished.job));
        }
    }

    /// A job that is one too many on the shelf of `state`. It stays until it is removed.
    pub(crate) fn overflow(&self, state: JobState) -> Option<JobId> {
        let shelf = self.shelf(state);
        let first = shelf.jobs.first_key_value().map(|((_, job), _)| *job);
        first.filter(|_| shelf.jobs.len() > shelf.retention.count)
    }

    /// A job that is past its age. It stays until it is removed.
    pub(crate) fn first_expired(&self, now: Timestamp) -> Option<JobId> {
        self.expired(now).next().map(|(job, _)| job)
    }

    /// The jobs that are past their age and not yet removed.
    pub(crate) fn expired(&self, now: Timestamp) -> impl Iterator<Item = (JobId, JobState)> {
        let shelves = [&self.completed, &self.dead];
        let aged = shelves.into_iter().flat_map(move |shelf| {
            shelf.jobs.iter().take_while(move |((at, _), _)| *at + shelf.retention.age <= now)
        });
        let results =
            self.results.iter().take_while(move |((expires_at, _), _)| *expires_at <= now);
        aged.chain(results).map(|((_, job), state)| (*job, *state))
    }

    /// When the first job will be past its age.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        let aged = [&self.completed, &self.dead].into_iter().filter_map(|shelf| {
            shelf.jobs.first_key_value().map(|((at, _), _)| *at + shelf.retention.age)
        });
        let results = self.results.first_key_value().map(|((expires_at, _), _)| *expires_at);
        aged.chain(results).min()
    }

    /// When a job is past its age.
    pub(crate) fn expires_at(&self, finished: &Finished) -> Timestamp {
        finished.at + self.age(finished)
    }

    fn age(&self, finished: &Finished) -> Duration {
        let age = self.shelf(finished.state).retention.age;
        finished.keep_result.map_or(age, |result| age.max(result))
    }

    fn shelf(&self, state: JobState) -> &Shelf {
        if state == JobState::Dead { &self.dead } else { &self.completed }
    }

    fn shelf_mut(&mut self, state: JobState) -> &mut Shelf {
        if state == JobState::Dead { &mut self.dead } else { &mut self.completed }
    }
}
