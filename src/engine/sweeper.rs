//! Asks the store to do what is due in a queue, when it is: due jobs wait, the jobs of vanished
//! workers come back, what need not be kept is forgotten.
//!
//! The store says when the next sweep is needed, and wakes the sweeper where that turns out to be
//! earlier. Where wake-ups are best effort, the sweeper's slow poll stands behind all of them: it
//! also tells the worker of jobs that nobody announced.

use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{ErrorKind, QueueName, Ticket, Wakeups, Watch};
use tokio::time::sleep;

use super::ledger::Ledger;
use super::pulse::Pulse;
use super::{Engine, attempt, retry};

/// How often to look where a wake-up may be lost.
const POLL: Duration = Duration::from_secs(5);

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
                let poll = (!certain).then_some(POLL);
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
