//! Renews the leases of what this process holds, from a thread and a runtime of its own, so that
//! handlers which block every thread of the application's runtime cost no lease.
//!
//! A lease says that the jobs are in good hands, not that a thread is alive. So the heart renews a
//! worker's lease only while that worker gets round, or an attempt of it is within its timeout:
//! while a handler may rightly take all threads, nobody can tell a busy worker from a stuck one.
//! One that waits for a store which is away gets round with every try.
//!
//! Every beat also asks each worker to get round, which is how [`health`](crate::Jobs::health)
//! knows. Under a simulated clock the heart is a task of the test's runtime, and rests while
//! nothing is held, so that idle time costs nothing.

use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{AdapterError, Beat, BeatReply, ErrorKind, Heart, Result, StoreSettings};
use tokio::time::{Instant, sleep};
use tracing::{debug, error};

use super::ledger::Ledger;
use super::{Engine, retry};
use crate::patience::{behind, within};

/// As it is called in messages.
const WHO: &str = "heart";

/// How often leases are renewed: five times a lease, and with the default lease of 8 s more often
/// than once in the grace of 2 s, so that a store which wakes up and finds all leases lapsed hears
/// of each worker before it gives one up.
pub(crate) fn interval(lease: Duration) -> Duration {
    lease / 5
}

/// Starts it, supervised as every loop is.
pub(crate) fn start(engine: Arc<Engine>) -> std::io::Result<()> {
    let simulated = engine.shared.clock.is_simulated();
    let beating = engine.clone().supervise("heart".into(), move || run(engine.clone()));
    if simulated {
        tokio::spawn(beating);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("shiftwork-heart".into())
        .spawn(move || runtime.block_on(beating))?;
    Ok(())
}

async fn run(engine: Arc<Engine>) {
    let interval = interval(engine.shared.settings.store.lease);
    let mut heart: Option<Box<dyn Heart>> = None;
    let mut failures = 0;
    loop {
        let rest = async {
            if engine.shared.clock.is_simulated() {
                while !engine.ledgers.iter().any(|(_, ledger)| ledger.vitals().lease().is_some()) {
                    engine.busy.notified().await;
                }
            }
            sleep(interval).await;
        };
        tokio::select! {
            () = engine.ended.cancelled() => return,
            () = rest => {}
        }
        engine.probe();
        if engine.ledgers.is_empty() {
            continue;
        }
        let due = due(&engine);
        match beat(&engine, &mut heart, interval, &due).await {
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) if !due.is_empty() => {
                failures += 1;
                engine.store.failed(WHO, &error, failures);
            }
            Ok(()) if !due.is_empty() => {
                failures = 0;
                engine.store.answered(WHO);
            }
            // Whether it reaches the store or not, there is nothing to tell it.
            _ => {
                failures = 0;
                engine.store.rests(WHO);
            }
        }
    }
}

/// The leases to renew.
fn due(engine: &Engine) -> Vec<(Beat, &Ledger)> {
    let patience = patience(&engine.shared.settings.store);
    let mut due = Vec::new();
    for (queue, ledger) in &engine.ledgers {
        let vitals = ledger.vitals();
        let Some(incarnation) = vitals.lease() else { continue };
        if is_well(ledger, patience) {
            due.push((Beat::new(queue.clone(), incarnation, vitals.held), &**ledger));
        } else {
            error!(%queue, held = vitals.held,
                "a worker no longer gets round, and none of its attempts is within its timeout: \
                 its lease is not renewed");
        }
    }
    due
}

/// One beat, on a connection that is made where there is none. One that does not answer is
/// replaced, not waited for.
async fn beat(
    engine: &Engine,
    heart: &mut Option<Box<dyn Heart>>,
    interval: Duration,
    due: &[(Beat, &Ledger)],
) -> Result<()> {
    let beating = match heart {
        Some(beating) => beating,
        None => {
            let lease = engine.shared.settings.store.lease;
            heart.insert(within(lease, "heart", engine.shared.adapter.heart()).await?)
        }
    };
    if due.is_empty() {
        return Ok(());
    }
    let beats: Vec<_> = due.iter().map(|(beat, _)| beat.clone()).collect();
    let replies = match within(interval, "beat", beating.beat(&beats)).await {
        Ok(replies) => replies,
        Err(error) => {
            *heart = None;
            return Err(error);
        }
    };
    let mut unanswered = None;
    for (reply, (beat, ledger)) in replies.into_iter().zip(due) {
        match reply {
            BeatReply::Renewed { cancelled } if cancelled.is_empty() => {}
            BeatReply::Renewed { cancelled } => ledger.tell(cancelled, None),
            BeatReply::Expired => ledger.tell(Vec::new(), Some(beat.incarnation)),
            BeatReply::Unanswered { why } => {
                let error = AdapterError::new(ErrorKind::Unavailable, "beat", why);
                unanswered = Some(error.with_context("queue", &beat.queue));
            }
            other => debug!(?other, "a heartbeat's answer that this version does not know"),
        }
    }
    unanswered.map_or(Ok(()), Err)
}

/// How long a worker may take to get round: a lease. Where that is shorter, as long as it may take
/// with a store that is away: a call that is not answered, or the pause before the next.
fn patience(settings: &StoreSettings) -> Duration {
    settings.lease.max(behind(settings.connect_timeout)).max(retry::LONGEST)
}

/// Whether a worker deserves its lease.
fn is_well(ledger: &Ledger, patience: Duration) -> bool {
    let vitals = ledger.vitals();
    let now = Instant::now();
    now.duration_since(vitals.round) < patience || vitals.deadline.is_some_and(|until| now < until)
}
