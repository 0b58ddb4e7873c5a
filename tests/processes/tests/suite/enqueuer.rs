//! A caller who enqueues whatever the store does: it goes by what an error says of its effect.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use shiftwork::prelude::*;
use shiftwork::{Effect, JobId, Timestamp};
use shiftwork_process_tests::jobs::Brief;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What became of the jobs.
#[derive(Debug, Default)]
pub struct Enqueued {
    /// They are stored, as was acknowledged.
    pub ids: Vec<JobId>,
    /// When that was, of each.
    pub at: Vec<Instant>,
    /// They are not, as was said, and were not tried again.
    pub given_up: Vec<JobId>,
    /// Of those that are, some that nobody knew of were sent once more.
    pub sent_again: HashSet<JobId>,
    /// How often an enqueue failed without an effect, and how often that was not known.
    pub without_effect: usize,
    pub unknown: usize,
}

impl fmt::Display for Enqueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ids, given_up, without_effect, unknown, .. } = self;
        write!(
            f,
            "{} acknowledged, {} given up; {without_effect} failures without effect, {unknown} of \
             unknown effect",
            ids.len(),
            given_up.len()
        )
    }
}

/// Enqueues `count` jobs of so many milliseconds, `batch` at a `pace`. What may be stored is sent
/// again, under the same ids, until it is acknowledged; of what is not stored, every other batch is
/// given up, and others are enqueued in its place.
pub async fn enqueue(
    web: Jobs,
    mut chance: fastrand::Rng,
    (count, ms): (usize, u64),
    (batch, pace): (usize, Duration),
) -> Enqueued {
    let mut enqueued = Enqueued::default();
    let mut again: VecDeque<(Vec<JobId>, Effect)> = VecDeque::new();
    let mut pace = interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = Instant::now() + PATIENCE;
    while enqueued.ids.len() < count {
        assert!(Instant::now() < deadline, "it cannot be enqueued within {PATIENCE:?}: {enqueued}");
        pace.tick().await;
        let (ids, before) = again.pop_front().unwrap_or_else(|| {
            let mut fresh = || {
                JobId::new(
                    Timestamp::now(),
                    chance.u128(..).to_be_bytes()[..10].try_into().unwrap(),
                )
            };
            ((0..batch).map(|_| fresh()).collect(), Effect::None)
        });
        let jobs = ids.iter().map(|id| Brief { ms }.job().id(*id));
        let error = match web.enqueue_many(jobs).await {
            Ok(_) => {
                if before == Effect::Unknown {
                    enqueued.sent_again.extend(&ids);
                }
                enqueued.at.extend(ids.iter().map(|_| Instant::now()));
                enqueued.ids.extend(ids);
                continue;
            }
            Err(error) => error,
        };
        assert!(error.is_retryable(), "{error}");
        match error.effect() {
            Effect::None => enqueued.without_effect += 1,
            Effect::Unknown => enqueued.unknown += 1,
            Effect::Stored => panic!("nothing of the kind can have happened: {error}"),
        }
        // Nobody knows of an earlier try what it did, where this one did nothing.
        let effect = if before == Effect::Unknown { before } else { error.effect() };
        if effect == Effect::None && enqueued.without_effect % 2 == 0 {
            enqueued.given_up.extend(ids);
        } else {
            again.push_back((ids, effect));
        }
    }
    enqueued
}
