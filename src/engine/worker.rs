//! The exchange loop of one queue.
//!
//! ```text
//!        ┌──────────────▶ what ended? which slots? ◀──────────────┐
//!        │                   │                │ neither           │
//!        │                   ▼                ▼                   │
//!        │       exchange: settle and claim   wait: for an end, a │
//!        │                   │                slot, work, a probe─┘
//!        │                   ▼
//!        └── start each claimed job on its own task
//! ```
//!
//! While one exchange is under way, finished attempts gather, and the next carries them all: under
//! load batches grow by themselves, an idle queue answers at once, and no timer decides.
//!
//! **Always:** an exchange that was not answered is kept and sent again, unchanged, before any
//! other; so whether this future is dropped, panics or meets a dead store, nothing is settled
//! twice and nothing claimed is forgotten. The attempts run on tasks of their own and report to
//! the ledger, whether this loop runs or not.
//!
//! **Where a process may run many jobs of a queue at once,** it has a second worker for it, with a
//! loop and an incarnation of its own: the [relief](Part::Relief). It takes what slots the first one
//! leaves, while there is more work than one exchange brings. So the store is at work on the exchange
//! of one while the other takes in its answer, and what they run at once is no more than one would.
//! All that concerns the queue as such is the first one's: to wait for work, and to run a job alone.
//!
//! **While the store does not answer,** the slots are others': at the first failure, this worker
//! gives back those that it asked to fill, and any claim to have the process for itself. The answer
//! may then bring jobs for which there is no slot. They run all the same, so that for a moment more
//! run than should; but where a job must run alone, this one or another's, and the process is not
//! at hand for that any more, they are handed back unseen.

use std::sync::Arc;
use std::time::Duration;

use shiftwork_adapter::{
    Claimed, ErrorKind, Exchange, ExchangeAnswer, ExchangeReply, Incarnation, Outcome, QueueName,
    Settlement, Ticket, Timestamp, Watch,
};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, info, warn};

use super::attempt::{Attempt, Desk};
use super::ledger::{Claim, Ended, Ledger, Running};
use super::runners::Runners;
use super::settle::Stop;
use super::slots::{SHARED_FROM, Seat};
use super::{Engine, retry};
use crate::context::{self, Surroundings, Told};
use crate::{JobContext, Jobs};

/// How often a worker that waits to have its process for itself asks whether it still must.
const SOLO_LOOK: Duration = Duration::from_secs(2);

/// Fewer slots than this are left to the first worker's next exchange: two small ones cost more than
/// one that is a little later.
const WORTH_RELIEF: usize = SHARED_FROM / 2;

/// As good as none; a deadline much later could not be stated.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A worker of one queue: lives as long as its engine, through every incarnation and through a
/// panic of its loop.
pub(crate) struct Worker {
    engine: Arc<Engine>,
    name: String,
    part: Part,
    queue: QueueName,
    ledger: Arc<Ledger>,
    desk: Arc<Desk>,
    runners: Arc<Runners>,
    surroundings: Arc<Surroundings>,
    seat: Seat,
    incarnation: Option<Incarnation>,
    number: u64,
    /// Sent and not answered yet.
    unanswered: Option<Exchange>,
    /// It was sent by an earlier life of this loop, which may have begun to apply the answer.
    resent: bool,
    /// To be carried by the next exchange.
    settlements: Vec<Settlement>,
    /// Claimed and about to run.
    starting: Vec<Attempt>,
    /// Slots taken and not used by a running attempt.
    slots: usize,
    /// Whether the queue may have jobs to claim.
    work: Work,
    ticket: Ticket,
    solo: Solo,
    solo_waiting: bool,
    /// Exchange though there is nothing to exchange, to hear whether it still is.
    look: bool,
    /// When to do so.
    look_at: Instant,
}

/// Where a worker works.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) part: Part,
    pub(crate) queue: QueueName,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) seat: Seat,
}

/// Which of a queue's workers it is.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// The only one, or the first.
    First {
        /// Calls the second, where there is one.
        relief: Option<Arc<Notify>>,
    },
    /// The second: works when it is called.
    Relief {
        /// Who calls it.
        called: Arc<Notify>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Expected,
    None,
}

/// Whether this worker has the process for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Solo {
    No,
    /// It has, and claims the job that must run alone.
    Granted,
    /// It has, and that job runs.
    Running,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    Work,
    Look,
    Else,
}

impl Worker {
    pub(crate) fn new(engine: Arc<Engine>, post: Post) -> Self {
        let Post { part, queue, ledger, seat } = post;
        let work = if part.is_first() { Work::Expected } else { Work::None };
        Self {
            desk: Arc::new(Desk { engine: engine.clone(), ledger: ledger.clone() }),
            runners: Arc::default(),
            surroundings: Arc::new(Surroundings {
                queue: queue.clone(),
                shutting_down: engine.draining.clone(),
                states: engine.states.clone(),
                jobs: Jobs::of(engine.shared.clone()),
            }),
            engine,
            name: part.name_for(&queue),
            part,
            queue,
            ledger,
            seat,
            incarnation: None,
            number: 0,
            unanswered: None,
            resent: false,
            settlements: Vec::new(),
            starting: Vec::new(),
            slots: 0,
            work,
            ticket: Ticket::default(),
            solo: Solo::No,
            solo_waiting: false,
            look: false,
            look_at: Instant::now(),
        }
    }

    /// Runs until the engine drains and everything is settled.
    pub(crate) async fn run(&mut self) {
        self.resent = self.unanswered.is_some();
        loop {
            self.ledger.round();
            self.hear();
            let draining = self.engine.draining.is_cancelled();
            if draining && self.is_done() {
                self.rest();
                return;
            }
            if draining {
                self.release_slots();
            } else {
                self.take_slots();
            }
            let nothing = self.unanswered.is_none() && self.settlements.is_empty();
            if nothing && self.slots == 0 && !self.look {
                begin(&self.runners, &mut self.starting);
                match self.wait(draining).await {
                    Woken::Work => self.work = Work::Expected,
                    Woken::Look => self.look = true,
                    Woken::Else => {}
                }
            } else if let Some(answer) = self.exchange().await {
                self.apply(answer).await;
            }
        }
    }

    fn is_done(&self) -> bool {
        self.unanswered.is_none() && self.settlements.is_empty() && self.ledger.open() == 0
    }

    /// Takes what has ended, and what the heart heard meanwhile.
    fn hear(&mut self) {
        let (ended, told) = self.ledger.take();
        if told.expired.is_some() && told.expired == self.incarnation {
            self.lose_lease("a heartbeat was refused");
        }
        self.ledger.stop(Stop::Cancelled, Some(&told.cancelled));
        if told.work {
            self.work = Work::Expected;
        }
        for Ended { settlement, incarnation, solo, .. } in ended {
            // The ledger has given back its slot, and the process.
            if solo {
                self.solo = Solo::No;
            }
            if Some(incarnation) == self.incarnation {
                self.settlements.extend(settlement);
            }
        }
    }

    fn take_slots(&mut self) {
        if self.work == Work::None || self.solo != Solo::No {
            return;
        }
        let Part::First { relief } = &self.part else {
            if self.seat.left() >= WORTH_RELIEF {
                self.slots += self.seat.take_left();
            }
            return;
        };
        if self.solo_waiting {
            self.release_slots();
            if self.seat.take_solo() {
                self.solo = Solo::Granted;
                self.slots = 1;
            }
        } else {
            self.slots += self.seat.take();
            if let Some(relief) = relief
                && self.seat.left() >= WORTH_RELIEF
            {
                relief.notify_one();
            }
        }
    }

    /// Wants no slots for now: there is no work. The relief has only what the first has left, and
    /// with that goes what it wants.
    fn rest(&self) {
        if self.part.is_first() {
            self.seat.rest();
        }
    }

    fn release_slots(&mut self) {
        self.seat.give_back(std::mem::take(&mut self.slots));
    }

    /// Leaves slots and process to the others, as long as the store does not answer.
    fn stand_back(&mut self) {
        if self.part.is_first() && self.solo != Solo::Running {
            self.solo = Solo::No;
            self.seat.end_solo();
        }
        self.release_slots();
        self.rest();
    }

    /// Waits for whatever comes first. Each of these can be dropped without a loss.
    async fn wait(&self, draining: bool) -> Woken {
        if let Part::Relief { called } = &self.part {
            return tokio::select! {
                () = self.ledger.changed() => Woken::Else,
                () = called.notified(), if !draining => Woken::Work,
                () = self.engine.draining.cancelled(), if !draining => Woken::Else,
            };
        }
        let idle = self.work == Work::None && !draining;
        let looks = self.solo_waiting && self.solo == Solo::No;
        let adapter = &self.engine.shared.adapter;
        tokio::select! {
            () = self.ledger.changed() => Woken::Else,
            () = self.seat.dealt(), if !idle && !draining => Woken::Else,
            () = self.engine.draining.cancelled(), if !draining => Woken::Else,
            // Others may have run it, and nothing else would tell.
            () = sleep_until(self.look_at), if looks && !draining => Woken::Look,
            woken = adapter.wait(Watch::Work(self.queue.clone(), self.ticket)), if idle => {
                match woken {
                    Ok(()) => Woken::Work,
                    Err(error) => {
                        debug!(queue = %self.queue, %error, "waiting for work failed");
                        // The sweeper stands behind this, so no work is missed by a pause; and what
                        // ends meanwhile is settled at once.
                        tokio::select! {
                            () = sleep(retry::delay(4, &self.engine.shared.random)) => {}
                            () = self.ledger.changed() => {}
                        }
                        Woken::Else
                    }
                }
            }
        }
    }

    /// One exchange, sent until it is answered. `None`: the incarnation is no more.
    async fn exchange(&mut self) -> Option<ExchangeAnswer> {
        if self.unanswered.is_none() {
            self.unanswered = Some(self.next_exchange());
        }
        // The first has nothing to settle, and no lease before the store knows of it.
        self.ledger.exchanging(self.number > 1);
        let (runners, mut starting) = (self.runners.clone(), std::mem::take(&mut self.starting));
        let beginning = async {
            if !starting.is_empty() {
                // So that the store is at work while they run.
                yield_now().await;
                begin(&runners, &mut starting);
            }
        };
        let (answer, ()) = tokio::join!(biased; self.send(), beginning);
        self.ledger.exchanging(false);
        answer
    }

    async fn send(&mut self) -> Option<ExchangeAnswer> {
        let mut failures = 0;
        loop {
            let reply = match &self.unanswered {
                Some(exchange) => self.engine.shared.adapter.exchange(exchange).await,
                None => return None,
            };
            match reply {
                Ok(ExchangeReply::Answered(answer)) => {
                    self.engine.store.answered(&self.name);
                    return Some(answer);
                }
                Ok(ExchangeReply::Expired) => {
                    self.lose_lease("the store counts this worker as gone")
                }
                // Refused, or something newer than this program: the conversation is over, and
                // what is held comes back by its lease.
                Ok(_) => self.lose_lease("the store knows a later exchange than this worker"),
                Err(error) if error.kind() == ErrorKind::Closed => {
                    self.lose_lease("the store was shut down");
                    self.engine.draining.cancelled().await;
                }
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        self.stand_back();
                    }
                    self.engine.store.failed(&self.name, &error, failures);
                    // Trying is getting round, and that the store is away is told apart; but what
                    // fails for good must not keep its jobs from others for good.
                    let tried = || {
                        if error.is_retryable() {
                            self.ledger.round();
                        }
                    };
                    tried();
                    self.pause(failures).await;
                    tried();
                }
            }
        }
    }

    /// Leaves the store alone for a while. The begin of a shutdown ends it, and from then on it is
    /// short: there is not much time left to tell what has ended.
    async fn pause(&self, failures: u32) {
        if self.engine.draining.is_cancelled() {
            return sleep(retry::delay(1, &self.engine.shared.random)).await;
        }
        let pause = sleep(retry::delay(failures, &self.engine.shared.random));
        self.engine.unless_draining(pause).await;
    }

    fn next_exchange(&mut self) -> Exchange {
        let incarnation = *self.incarnation.get_or_insert_with(|| {
            let fresh = self.engine.shared.random.incarnation(self.engine.shared.clock.now());
            self.ledger.reincarnate(fresh);
            fresh
        });
        self.number += 1;
        let mut exchange = Exchange::new(self.queue.clone(), incarnation, self.number);
        exchange.settlements = std::mem::take(&mut self.settlements);
        exchange.held = self.ledger.held(incarnation);
        exchange.claim = self.slots;
        exchange.solo = self.solo == Solo::Granted;
        exchange
    }

    async fn apply(&mut self, mut answer: ExchangeAnswer) {
        for job in &answer.refused {
            warn!(job.id = %job, queue = %self.queue,
                "a settlement was refused: the job is no longer this worker's");
        }
        self.ledger.stop(Stop::Cancelled, Some(&answer.cancelled));
        let claimed = std::mem::take(&mut answer.claimed);
        // One that brought all that was asked for found no end: the store does not know that this
        // worker has nothing to do, and would not wake it.
        let filled = self
            .unanswered
            .as_ref()
            .is_some_and(|exchange| exchange.claim > 0 && claimed.len() >= exchange.claim);
        self.start(answer.now, claimed);
        // Only now: had this loop ended before, the exchange would be sent again.
        self.unanswered = None;
        self.resent = false;
        self.look = false;
        self.look_at = Instant::now() + SOLO_LOOK;
        self.ticket = answer.ticket;
        let mut expected = answer.more || filled;
        if self.part.is_first() {
            self.solo_waiting = answer.solo_waiting;
            expected |= answer.solo_waiting;
            match self.solo {
                // The job that had to be alone is gone: finished elsewhere, cancelled, or held back.
                Solo::Granted => {
                    self.solo = Solo::No;
                    self.seat.end_solo();
                }
                Solo::No if !answer.solo_waiting => self.seat.end_solo(),
                Solo::No | Solo::Running => {}
            }
        }
        self.release_slots();
        if expected {
            self.work = Work::Expected;
        } else {
            self.work = Work::None;
            self.rest();
        }
        if answer.reconcile {
            self.reconcile().await;
        }
    }

    /// Takes claimed jobs on. They [begin](begin) once the next exchange is on its way, if there is
    /// one to be sent at once.
    fn start(&mut self, store_now: Timestamp, mut claimed: Vec<Claimed>) {
        let Some(incarnation) = self.incarnation else { return };
        if self.resent {
            let settling = |claim| self.settlements.iter().any(|s| (s.job, s.generation) == claim);
            claimed.retain(|claimed| {
                let claim = (claimed.spec.id, claimed.generation);
                !self.ledger.knows(claim) && !settling(claim)
            });
        }
        if claimed.is_empty() {
            return;
        }
        // Asked for before the shutdown began, or before the process was given away.
        if self.engine.draining.is_cancelled() || !self.has_place_for(&claimed) {
            self.settlements.extend(claimed.iter().map(|c| released((c.spec.id, c.generation))));
            return;
        }
        let (now, started_at) = (Instant::now(), self.engine.shared.clock.now());
        let solos: Vec<_> = claimed.iter().map(|claimed| claimed.solo).collect();
        if solos.contains(&true) {
            self.solo = Solo::Running;
        }
        let attempt = |claimed| self.attempt(store_now, started_at, claimed);
        let mut attempts: Vec<_> = claimed.into_iter().map(attempt).collect();
        let entries = self.ledger.start(attempts.iter().zip(solos).map(|(attempt, solo)| {
            let Attempt { claim, ctx, timeout, .. } = attempt;
            let (claim, ctx, deadline) = (*claim, ctx.clone(), now + *timeout);
            Running { claim, incarnation, ctx, deadline, solo, lost: false }
        }));
        for (attempt, entry) in attempts.iter_mut().zip(entries) {
            attempt.entry = Some(entry);
        }
        self.engine.busy.notify_one();
        self.starting = attempts;
    }

    /// Takes a slot for each of these jobs, of those that it has, and beyond these where they were
    /// given back meanwhile. Where it cannot, since one of them must run alone or another worker's
    /// job does, it takes none.
    fn has_place_for(&mut self, claimed: &[Claimed]) -> bool {
        if claimed.iter().any(|claimed| claimed.solo) && self.solo != Solo::Granted {
            return false;
        }
        let (own, alone) = (self.slots.min(claimed.len()), self.solo != Solo::No);
        let has = own == claimed.len() || self.seat.take_anyway(claimed.len() - own, alone);
        if has {
            self.slots -= own;
        }
        has
    }

    fn attempt(&self, store_now: Timestamp, started_at: Timestamp, claimed: Claimed) -> Attempt {
        let shared = &self.engine.shared;
        // One whose states nobody gave here is as good as unknown: a job may be in another queue than
        // its own, and this process need not serve that.
        let job = shared.registry.get(claimed.spec.name.as_str()).cloned();
        let job = job.filter(|job| self.engine.states.have(&job.definition.needs));
        let options = job.as_ref().map(|job| job.definition.options).unwrap_or_default();
        let claim: Claim = (claimed.spec.id, claimed.generation);
        let timeout = claimed.spec.timeout.or(options.timeout).unwrap_or(shared.settings.timeout);
        let timeout = timeout.min(LONGEST_TIMEOUT);
        let of = claimed.spec.attempts.or(options.attempts).unwrap_or(shared.settings.attempts);
        let first_due = claimed.spec.due.at(claimed.enqueued_at);
        let ctx = JobContext::new(context::Attempt {
            number: claimed.attempts.saturating_add(1),
            of: of.get(),
            crashes: claimed.crashes,
            enqueued_at: claimed.enqueued_at,
            due_at: claimed.due_at,
            started_at,
            told: Told::default(),
            surroundings: self.surroundings.clone(),
            spec: claimed.spec,
        });
        let desk = self.desk.clone();
        let (entry, settlement) = (None, None);
        Attempt { desk, entry, claim, ctx, job, timeout, first_due, store_now, settlement }
    }

    /// Goes on as a new incarnation: what ran under the old one is stopped and not settled.
    fn lose_lease(&mut self, why: &str) {
        let Some(lost) = self.incarnation.take() else { return };
        let running = self.ledger.running(lost);
        if running > 0 {
            warn!(queue = %self.queue, running, "lost the lease: {why}; its jobs are stopped");
        } else {
            info!(queue = %self.queue, "begins a new incarnation: {why}");
        }
        self.ledger.stop(Stop::LeaseLost, None);
        self.number = 0;
        self.unanswered = None;
        self.settlements.clear();
        self.work = Work::Expected;
    }

    /// Compares what this worker holds with what the store thinks it holds.
    async fn reconcile(&mut self) {
        let Some(incarnation) = self.incarnation else { return };
        let mut known = self.ledger.claims(incarnation);
        known.extend(self.settlements.iter().map(|s| (s.job, s.generation)));
        let mut held = Vec::new();
        let mut after = None;
        loop {
            match self.engine.shared.adapter.held(&self.queue, incarnation, after).await {
                Ok(page) if page.expired => return self.lose_lease("it has lapsed"),
                Ok(page) => {
                    held.extend(page.jobs);
                    match page.next {
                        Some(next) => after = Some(next),
                        None => break,
                    }
                }
                // Another exchange will ask for it again.
                Err(error) => {
                    return warn!(queue = %self.queue, %error, "could not reconcile");
                }
            }
        }
        let lost: Vec<_> = known.iter().copied().filter(|claim| !held.contains(claim)).collect();
        held.retain(|claim| !known.contains(claim));
        if !held.is_empty() || !lost.is_empty() {
            error!(queue = %self.queue, unknown = held.len(), lost = lost.len(),
                "the store and this worker disagreed on what it holds: what it did not know is \
                 released, what it lost is stopped");
        }
        self.ledger.stop_claims(Stop::LeaseLost, &lost);
        self.settlements.extend(held.into_iter().map(released));
    }
}

impl Part {
    pub(crate) fn is_first(&self) -> bool {
        matches!(self, Self::First { .. })
    }

    /// As it is called in messages.
    pub(crate) fn name_for(&self, queue: &QueueName) -> String {
        match self {
            Self::First { .. } => format!("worker of queue {queue}"),
            Self::Relief { .. } => format!("second worker of queue {queue}"),
        }
    }
}

/// Runs each on a task of its own.
fn begin(runners: &Arc<Runners>, attempts: &mut Vec<Attempt>) {
    attempts.drain(..).for_each(|attempt| runners.run(attempt));
}

fn released((job, generation): Claim) -> Settlement {
    Settlement::new(job, generation, Outcome::Release(Duration::ZERO))
}
