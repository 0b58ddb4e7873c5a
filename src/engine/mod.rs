//! Runs jobs: all that concerns time and execution, written once for every store.
//!
//! ```text
//!   clock ──fire──▶ ┌───────┐ ◀──sweep── sweeper (one a queue)
//!                   │ store │
//!   heart ──beat──▶ └───────┘ ◀─exchange─ worker (one or two a queue) ──▶ attempts (a task each)
//!     │                                      ▲                               │
//!     └── does the worker get round? ── ledger (one a worker) ◀──────────────┘ ended
//! ```
//!
//! **Always:** every loop is supervised: one that panics is started again once, with what it knew;
//! the second time, the process is declared broken and ends with an error.

#![expect(
    clippy::disallowed_methods,
    reason = "time is the business of these loops, so that it is nobody else's"
)]

mod attempt;
mod backoff;
mod clock;
mod heart;
mod ledger;
mod pulse;
mod retry;
mod runners;
mod settle;
mod slots;
mod sweeper;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shiftwork_adapter::QueueName;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::attempt::STOP_GRACE;
pub(crate) use self::clock::MISFIRE_AFTER;
use self::ledger::Ledger;
use self::pulse::Pulse;
pub(crate) use self::settle::Stop;
use self::slots::{SHARED_FROM, Slots};
use self::worker::{Part, Post, Worker};
use crate::config::Settings;
use crate::health::{QueueHealth, StoreHealth, UnknownNames};
use crate::schedule::release::Release;
use crate::shared::Shared;
use crate::state::States;

/// How long the store has, after everything has ended, to be told so.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What runs jobs in this process.
#[derive(Debug)]
pub(crate) struct Engine {
    shared: Arc<Shared>,
    states: Arc<States>,
    /// Of each queue's first worker; then of the second ones, where there are any.
    ledgers: Vec<(QueueName, Arc<Ledger>)>,
    /// Of sweepers and clock; a worker's is in its ledger.
    pulses: Vec<Arc<Pulse>>,
    /// Claim and fire no more.
    draining: CancellationToken,
    /// Nothing is left to do.
    ended: CancellationToken,
    /// Some job may be held now; the heart of a simulated process rests until then.
    busy: Notify,
    unknown: UnknownNames,
    store: StoreHealth,
    /// The schedules of the code, where this process fires any.
    release: Option<Arc<Release>>,
    /// Why the process is broken.
    broken: Mutex<Option<String>>,
    broke: CancellationToken,
    loops: tokio::sync::Mutex<JoinSet<()>>,
}

/// What an engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duties {
    /// Runs jobs.
    pub(crate) work: bool,
    /// Fires schedules.
    pub(crate) tick: bool,
}

impl Duties {
    /// Neither: it enqueues alone.
    pub(crate) fn none(self) -> bool {
        !self.work && !self.tick
    }
}

/// How the process stands with its store at the start.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) store: StoreHealth,
    /// The schedules of the code, which the store may have or not.
    pub(crate) release: Option<Arc<Release>>,
}

impl Engine {
    /// Starts what `duties` asks for, for these queues.
    pub(crate) async fn start(
        shared: Arc<Shared>,
        states: Arc<States>,
        queues: Vec<QueueName>,
        duties: Duties,
        met: Met,
    ) -> std::io::Result<Arc<Self>> {
        let settings = &shared.settings;
        let slots = Slots::new(
            settings.concurrency,
            queues.iter().map(|queue| {
                let own = settings.queue(queue);
                (own.weight, own.concurrency.unwrap_or(usize::MAX))
            }),
        );
        let queues = if duties.work { queues } else { Vec::new() };
        let posts = posts(&queues, settings, &slots);
        let ledgers = posts.iter().map(|post| (post.queue.clone(), post.ledger.clone())).collect();
        let sweepers = queues.iter().map(|queue| format!("sweeper of queue {queue}"));
        let clock = duties.tick.then(|| "clock".to_owned());
        let asks_nothing = queues.is_empty() && !duties.tick;
        let pulses = sweepers.chain(clock).map(|what| Arc::new(Pulse::new(what))).collect();
        let engine = Arc::new(Self {
            ledgers,
            pulses,
            shared,
            states,
            draining: CancellationToken::new(),
            ended: CancellationToken::new(),
            busy: Notify::new(),
            unknown: UnknownNames::default(),
            // Where nobody asks the store, nobody would ever hear that it answers.
            store: if asks_nothing { StoreHealth::answering() } else { met.store },
            release: met.release,
            broken: Mutex::new(None),
            broke: CancellationToken::new(),
            loops: tokio::sync::Mutex::default(),
        });
        heart::start(engine.clone())?;
        let mut loops = engine.loops.lock().await;
        for post in posts {
            let what = post.part.name_for(&post.queue);
            let worker = Worker::new(engine.clone(), post);
            let worker = Arc::new(tokio::sync::Mutex::new(worker));
            loops.spawn(engine.clone().supervise(what, move || {
                let worker = worker.clone();
                async move { worker.lock().await.run().await }
            }));
        }
        for (index, (queue, ledger)) in engine.ledgers.iter().take(queues.len()).enumerate() {
            let (this, queue, ledger) = (engine.clone(), queue.clone(), ledger.clone());
            let pulse = engine.pulses[index].clone();
            loops.spawn(engine.clone().supervise(pulse.what().into(), move || {
                sweeper::run(this.clone(), queue.clone(), ledger.clone(), pulse.clone())
            }));
        }
        if let Some(pulse) = engine.pulses.get(queues.len()).cloned() {
            let this = engine.clone();
            loops.spawn(
                engine.clone().supervise(pulse.what().into(), move || {
                    clock::run(this.clone(), pulse.clone())
                }),
            );
        }
        drop(loops);
        Ok(engine)
    }

    /// Runs a loop to its end; through one panic, and to the end of the process at the second.
    async fn supervise<F, Fut>(self: Arc<Self>, what: String, mut life: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        for lives_left in [1, 0] {
            let mut running = JoinSet::new();
            running.spawn(life());
            match running.join_next().await {
                Some(Err(panic)) if panic.is_panic() => {
                    error!("the {what} panicked ({panic}); lives left: {lives_left}");
                }
                _ => return,
            }
        }
        self.break_down(format!("the {what} panicked twice"));
    }

    fn break_down(&self, why: String) {
        error!("this process is broken and ends: {why}");
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.broke.cancel();
    }

    /// Why the process is broken, if it is.
    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the process is broken.
    pub(crate) async fn broke(&self) {
        self.broke.cancelled().await;
    }

    /// Ends everything, in this order: claim and fire no more; tell the handlers; wait for them
    /// for the grace period; cancel them; a second later drop them; hand back what is left.
    pub(crate) async fn shutdown(&self) {
        self.draining.cancel();
        let grace = self.shared.settings.shutdown_grace;
        let running: usize = self.ledgers.iter().map(|(_, ledger)| ledger.open()).sum();
        info!(running, ?grace, "shutting down: no job is claimed any more");
        let mut loops = self.loops.lock().await;
        if !self.is_quiet(&mut loops, grace).await {
            warn!("the grace period is over: what runs is cancelled");
            self.ledgers.iter().for_each(|(_, ledger)| ledger.stop(Stop::Shutdown, None));
            // A little longer than the handlers have, so that their tasks can report.
            if !self.is_quiet(&mut loops, STOP_GRACE + STOP_GRACE / 2).await {
                for ctx in self.ledgers.iter().flat_map(|(_, ledger)| ledger.abandon()) {
                    error!(job.id = %ctx.id(), job.name = %ctx.name(), job.queue = %ctx.queue(),
                        "a handler cannot be aborted: it blocks its thread; its job is handed back");
                }
                if !self.is_quiet(&mut loops, LAST_WORDS).await {
                    error!(
                        "the store could not be told of everything: what it does not know of \
                            comes back when the leases lapse"
                    );
                    // Not waited for: they may share the threads that handlers block.
                    loops.abort_all();
                }
            }
        }
        self.ended.cancel();
    }

    /// Waits for `something`, but no longer than until the engine drains.
    async fn unless_draining(&self, something: impl Future<Output = ()>) {
        tokio::select! {
            () = self.draining.cancelled() => {}
            () = something => {}
        }
    }

    /// Asks every loop to get round.
    fn probe(&self) {
        self.ledgers.iter().for_each(|(_, ledger)| ledger.probe());
        self.pulses.iter().for_each(|pulse| pulse.probe());
    }

    /// Waits until every loop has ended and no attempt runs, but no longer than so long. A loop
    /// that broke down has ended, and its attempts may run all the same.
    async fn is_quiet(&self, loops: &mut JoinSet<()>, within: Duration) -> bool {
        let quiet = async {
            all_ended(loops).await;
            while self.ledgers.iter().any(|(_, ledger)| ledger.is_running()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = quiet => true,
            () = self.elapsed(within) => false,
        }
    }

    /// Passes so much time, also where handlers block every thread of the runtime, and with them
    /// its timers.
    async fn elapsed(&self, duration: Duration) {
        if self.shared.clock.is_simulated() {
            return tokio::time::sleep(duration).await;
        }
        let (passed, passes) = tokio::sync::oneshot::channel();
        let wait = move || {
            std::thread::sleep(duration);
            // Where nobody waits any more, it was not needed.
            let _ = passed.send(());
        };
        match std::thread::Builder::new().name("shiftwork-grace".into()).spawn(wait) {
            Ok(_) => drop(passes.await),
            Err(_) => tokio::time::sleep(duration).await,
        }
    }

    /// How each worker is; and each other loop that has not got round for three leases or more.
    /// Who is late is asked first: an idle loop of a simulated process has not been.
    pub(crate) async fn health(&self) -> (Vec<QueueHealth>, Vec<String>) {
        if self.is_any_late() {
            self.probe();
            let answered = async {
                while self.is_any_late() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            // Who has not answered by then is late.
            let _ = timeout(Duration::from_millis(100), answered).await;
        }
        let mut queues: Vec<QueueHealth> = Vec::new();
        let mut places = HashMap::new();
        for (queue, ledger) in &self.ledgers {
            let (running, stalled_for) = (ledger.open(), self.late(ledger.vitals().round));
            let place = *places.entry(queue).or_insert(queues.len());
            match queues.get_mut(place) {
                Some(health) => {
                    health.running += running;
                    health.stalled_for = health.stalled_for.max(stalled_for);
                }
                None => queues.push(QueueHealth { queue: queue.clone(), running, stalled_for }),
            }
        }
        let stalled = self.pulses.iter().filter_map(|pulse| {
            let late = self.late(pulse.last_round())?;
            Some(format!("the {} has not got round for {late:.0?}", pulse.what()))
        });
        (queues, stalled.collect())
    }

    fn is_any_late(&self) -> bool {
        let rounds = self.ledgers.iter().map(|(_, ledger)| ledger.vitals().round);
        let others = self.pulses.iter().map(|pulse| pulse.last_round());
        rounds.chain(others).any(|round| self.late(round).is_some())
    }

    /// For how long a loop has been silent, where that is too long.
    fn late(&self, round: Instant) -> Option<Duration> {
        let patience = self.shared.settings.store.lease * 3;
        let silent = round.elapsed();
        (silent >= patience && !self.draining.is_cancelled()).then_some(silent)
    }

    pub(crate) fn unknown(&self) -> &UnknownNames {
        &self.unknown
    }

    pub(crate) fn store(&self) -> &StoreHealth {
        &self.store
    }

    /// The schedules of the code, where this process fires any.
    pub(crate) fn release(&self) -> Option<&Arc<Release>> {
        self.release.as_ref()
    }
}

/// The workers of these queues: the first of each, then the second ones, where so many jobs may run
/// at once that slots are shared.
fn posts(queues: &[QueueName], settings: &Settings, slots: &Arc<Slots>) -> Vec<Post> {
    let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
    for (index, queue) in queues.iter().enumerate() {
        let post = |part| {
            let seat = slots.seat(index);
            Post { part, queue: queue.clone(), ledger: Arc::new(Ledger::new(seat.clone())), seat }
        };
        let own = settings.queue(queue).concurrency.unwrap_or(usize::MAX);
        let relief = (own.min(settings.concurrency) >= SHARED_FROM).then(Arc::<Notify>::default);
        seconds.extend(relief.clone().map(|called| post(Part::Relief { called })));
        firsts.push(post(Part::First { relief }));
    }
    firsts.extend(seconds);
    firsts
}

async fn all_ended(loops: &mut JoinSet<()>) {
    while loops.join_next().await.is_some() {}
}
