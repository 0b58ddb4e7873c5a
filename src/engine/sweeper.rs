//! Asks the store to do what is due in a queue, when it is: due jobs wait, the jobs of vanished
//! workers come back, what need not be kept is forgotten.
//!
//! The store says when the next sweep is needed, and wakes the sweeper where that turns out to be
//! earlier. Where wake-ups are best effort, the sweeper's slow poll stands behind all of them: it
//! also tells the worker of jobs that nobody announced.
//!
//! The poll is a little longer than a lease, and 10 s at most: 10 s by default, so that an idle
//! process on five queues asks its store for something every two seconds. It need not be shorter,
//! since a sweep answers when the leases that it saw will pass. So the jobs of a vanished worker
//! come back, where every wake-up is lost, after the lease or the poll, whichever is longer, and the
//! grace: max(8 s, 10 s) + 2 s = 12 s by default, inside of the 15 s that are promised.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{ErrorKind, QueueName, StoreSettings, Ticket, Wakeups, Watch};
use tokio::time::sleep;

use super::ledger::Ledger;
use super::pulse::Pulse;
use super::{Engine, attempt, retry};
use crate::random::Random;

/// The shortest poll, and the longest.
const POLL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10);

/// Runs until the engine drains.
pub(crate) async fn run(
    engine: Arc<Engine>,
    queue: QueueName,
    ledger: Arc<Ledger>,
    pulse: Arc<Pulse>,
) {
    let adapter = &engine.shared.adapter;
    let certain = adapter.capabilities().wakeups == Wakeups::Certain;
    let mut failures = 0;
    while !engine.draining.is_cancelled() {
        let (ticket, pause) = match adapter.sweep(&queue).await {
            Ok(answer) => {
                failures = 0;
                engine.store.answered(pulse.what());
                answer.recovered.iter().for_each(|job| attempt::log_recovered(job, queue.as_str()));
                if answer.claimable {
                    ledger.tell_work();
                }
                // Timers do not notice that a machine slept or its clock was set.
                let look_anew = engine.shared.clock.longest_sleep();
                let next = answer.next.map(|next| next.min(look_anew.unwrap_or(next)));
                let poll = || poll(&engine.shared.settings.store, &engine.shared.random);
                let poll = (!certain).then(poll);
                (answer.ticket, next.into_iter().chain(poll).min())
            }
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                failures += 1;
                engine.store.failed(pulse.what(), &error, failures);
                let pause = retry::delay(failures, &engine.shared.random);
                // Its own wait would fail as well.
                pulse.answering(engine.unless_draining(sleep(pause))).await;
                (Ticket::default(), Some(Duration::ZERO))
            }
        };
        if pause == Some(Duration::ZERO) {
            pulse.round();
            tokio::task::yield_now().await;
            continue;
        }
        let woken_or_due = async {
            tokio::select! {
                () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
                woken = adapter.wait(Watch::Sweep(queue.clone(), ticket)) => {
                    if woken.is_err() {
                        sleep(retry::delay(4, &engine.shared.random)).await;
                    }
                }
            }
        };
        pulse.answering(engine.unless_draining(woken_or_due)).await;
    }
}

/// How long until the next look where a wake-up may be lost: up to a tenth less by chance, so that
/// many processes do not go in step. A lease of 8 s: 9 s to 10 s.
fn poll(settings: &StoreSettings, random: &Random) -> Duration {
    let lease = settings.lease;
    let plain = (lease + lease / 4).clamp(*POLL.start(), *POLL.end());
    let plain = settings.idle_poll.unwrap_or(plain);
    let poll = plain.mul_f64(1.0 - random.fraction() / 10.0);
    if settings.idle_poll.is_some() { poll } else { poll.max(*POLL.start()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_lease(lease: Duration) -> StoreSettings {
        let mut settings = StoreSettings::default();
        settings.lease = lease;
        settings
    }

    #[test]
    fn a_poll_is_as_long_as_was_asked_for_and_not_in_step() {
        let random = Random::seeded(1);
        for asked in [Duration::from_millis(100), Duration::from_secs(600)] {
            let mut settings = with_lease(Duration::from_secs(8));
            settings.idle_poll = Some(asked);
            let polls: Vec<_> = (0..1000).map(|_| poll(&settings, &random)).collect();
            assert!(polls.iter().all(|poll| (asked.mul_f64(0.9)..=asked).contains(poll)));
        }
    }

    #[test]
    fn a_poll_is_a_little_longer_than_a_lease_within_bounds_and_not_in_step() {
        let random = Random::seeded(1);
        for (lease_ms, least, most) in
            [(1, 1000, 1000), (1000, 1125, 1250), (4000, 4500, 5000), (8000, 9000, 10_000)]
        {
            let settings = with_lease(Duration::from_millis(lease_ms));
            let polls = (0..1000).map(|_| poll(&settings, &random));
            let polls: Vec<_> = polls.map(|poll| poll.as_millis()).collect();
            assert!(polls.iter().all(|poll| (least..=most).contains(poll)), "{lease_ms} ms");
            let spread = polls.iter().max().unwrap() - polls.iter().min().unwrap();
            assert!(spread >= (most - least) * 9 / 10, "{spread} ms for a lease of {lease_ms} ms");
        }
        assert!(poll(&with_lease(Duration::from_secs(3600)), &random) <= Duration::from_secs(10));
    }
}
