//! What this process holds of one queue: the attempts that run, and those that ended and are not
//! settled yet.
//!
//! Shared by the worker that starts attempts and settles them, the tasks that run them, and the
//! heart, which from its own thread judges whether the worker still gets round. A batch of claims
//! or settlements takes the lock once.
//!
//! An attempt that ends gives back its slot here and now: its worker may be waiting for a store that
//! does not answer, and others need not wait with it.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shiftwork_adapter::{Incarnation, JobId, Outcome, Settlement};
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::settle::Stop;
use super::slots::Seat;
use crate::JobContext;

/// A claim: the job and the generation under which it was claimed.
pub(crate) type Claim = (JobId, u64);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Ledger {
    inner: Mutex<Entries>,
    changed: Notify,
    seat: Seat,
}

#[derive(Debug)]
struct Entries {
    incarnation: Option<Incarnation>,
    running: Slab<Running>,
    ended: Vec<Ended>,
    /// An exchange under way settles what ended, or claims.
    exchanging: bool,
    told: Told,
    /// When the worker last got round.
    round: Instant,
}

/// An attempt that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) claim: Claim,
    pub(crate) incarnation: Incarnation,
    pub(crate) ctx: JobContext,
    /// When its timeout is over.
    pub(crate) deadline: Instant,
    pub(crate) solo: bool,
    /// It was told that its lease is lost.
    pub(crate) lost: bool,
}

/// An attempt that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) claim: Claim,
    /// `None`: it is not ours to settle.
    pub(crate) settlement: Option<Settlement>,
    pub(crate) incarnation: Incarnation,
    pub(crate) solo: bool,
}

/// What heart and sweeper have to say to the worker.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) cancelled: Vec<JobId>,
    pub(crate) expired: Option<Incarnation>,
    pub(crate) work: bool,
}

/// What the heart needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vitals {
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) held: usize,
    /// More may be held than that: an exchange was sent and not answered yet. What it settles is
    /// held until it is applied, and what it claims is from then on.
    pub(crate) exchanging: bool,
    pub(crate) round: Instant,
    /// Until when some attempt is within its timeout; `None`: none runs.
    pub(crate) deadline: Option<Instant>,
}

impl Ledger {
    /// Of a queue with this seat at the slots.
    pub(crate) fn new(seat: Seat) -> Self {
        Self {
            inner: Mutex::new(Entries {
                incarnation: None,
                running: Slab::new(),
                ended: Vec::new(),
                exchanging: false,
                told: Told::default(),
                round: Instant::now(),
            }),
            changed: Notify::new(),
            seat,
        }
    }

    /// Waits until there is something for the worker: an attempt ended, the heart heard
    /// something, or somebody asks whether it gets round.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Asks the worker to get round.
    pub(crate) fn probe(&self) {
        self.changed.notify_one();
    }

    /// The worker got round.
    pub(crate) fn round(&self) {
        self.lock().round = Instant::now();
    }

    /// The worker goes on as `incarnation`: what runs under an earlier one is stopped.
    pub(crate) fn reincarnate(&self, incarnation: Incarnation) {
        let mut entries = self.lock();
        entries.incarnation = Some(incarnation);
        for (_, running) in &mut entries.running {
            if running.incarnation != incarnation {
                running.stop(Stop::LeaseLost);
            }
        }
    }

    /// Attempts are about to run; answers under which entry each is known.
    pub(crate) fn start(&self, batch: impl Iterator<Item = Running>) -> Vec<usize> {
        let mut entries = self.lock();
        batch.map(|running| entries.running.insert(running)).collect()
    }

    /// Whether an attempt of this claim runs, or ended and is not settled.
    pub(crate) fn knows(&self, claim: Claim) -> bool {
        let entries = self.lock();
        entries.running.iter().any(|(_, running)| running.claim == claim)
            || entries.ended.iter().any(|ended| ended.claim == claim)
    }

    /// The claims under `incarnation` that run, or ended and are not settled.
    pub(crate) fn claims(&self, incarnation: Incarnation) -> Vec<Claim> {
        let entries = self.lock();
        let running = entries.running().filter(|running| running.is_of(incarnation));
        let ended = entries.ended.iter().filter(|ended| ended.is_of(incarnation));
        running.map(|running| running.claim).chain(ended.map(|ended| ended.claim)).collect()
    }

    /// The attempt of this entry and claim ended. One that was given up on is not known any more,
    /// and its entry may be another's.
    pub(crate) fn end(&self, entry: usize, claim: Claim, settlement: Option<Settlement>) {
        let mut entries = self.lock();
        if entries.running.get(entry).is_some_and(|running| running.claim == claim) {
            let Running { incarnation, solo, .. } = entries.running.remove(entry);
            entries.ended.push(Ended { claim, settlement, incarnation, solo });
            drop(entries);
            self.give_back(solo);
        }
        self.changed.notify_one();
    }

    /// Gives back the slot of an attempt.
    fn give_back(&self, solo: bool) {
        self.seat.give_back(1);
        if solo {
            self.seat.end_solo();
        }
    }

    /// Takes what has ended and what the heart heard.
    pub(crate) fn take(&self) -> (Vec<Ended>, Told) {
        let mut entries = self.lock();
        (mem::take(&mut entries.ended), mem::take(&mut entries.told))
    }

    /// An exchange that settles or claims is under way, or no longer is.
    pub(crate) fn exchanging(&self, exchanging: bool) {
        self.lock().exchanging = exchanging;
    }

    /// How many attempts run under `incarnation`.
    pub(crate) fn running(&self, incarnation: Incarnation) -> usize {
        self.lock().running().filter(|running| running.is_of(incarnation)).count()
    }

    /// How many jobs are held under `incarnation`: their attempts run, or ended and are not taken
    /// yet.
    pub(crate) fn held(&self, incarnation: Incarnation) -> usize {
        self.lock().held(incarnation)
    }

    /// How many attempts run, under any incarnation, or ended and are not settled.
    pub(crate) fn open(&self) -> usize {
        let entries = self.lock();
        entries.running.len() + entries.ended.len()
    }

    /// Whether any attempt runs.
    pub(crate) fn is_running(&self) -> bool {
        !self.lock().running.is_empty()
    }

    /// Tells running attempts to stop: all of them, or those of these jobs.
    pub(crate) fn stop(&self, why: Stop, jobs: Option<&[JobId]>) {
        if jobs.is_some_and(<[_]>::is_empty) {
            return;
        }
        for (_, running) in &mut self.lock().running {
            if jobs.is_none_or(|jobs| jobs.contains(&running.claim.0)) {
                running.stop(why);
            }
        }
    }

    /// Tells the attempts of these claims to stop.
    pub(crate) fn stop_claims(&self, why: Stop, claims: &[Claim]) {
        if claims.is_empty() {
            return;
        }
        for (_, running) in &mut self.lock().running {
            if claims.contains(&running.claim) {
                running.stop(why);
            }
        }
    }

    /// For the heart: how the worker is.
    pub(crate) fn vitals(&self) -> Vitals {
        let entries = self.lock();
        let own = |running: &&Running| entries.incarnation.is_some_and(|own| running.is_of(own));
        Vitals {
            incarnation: entries.incarnation,
            held: entries.incarnation.map_or(0, |own| entries.held(own)),
            exchanging: entries.exchanging,
            round: entries.round,
            deadline: entries.running().filter(own).map(|running| running.deadline).max(),
        }
    }

    /// From the heart: what the store said.
    pub(crate) fn tell(&self, cancelled: Vec<JobId>, expired: Option<Incarnation>) {
        let mut entries = self.lock();
        entries.told.cancelled.extend(cancelled);
        entries.told.expired = entries.told.expired.or(expired);
        drop(entries);
        self.changed.notify_one();
    }

    /// From the sweeper: there is work to claim.
    pub(crate) fn tell_work(&self) {
        self.lock().told.work = true;
        self.changed.notify_one();
    }

    /// Gives up on what still runs: it is handed back, and what it comes to is not asked for.
    pub(crate) fn abandon(&self) -> Vec<JobContext> {
        let mut entries = self.lock();
        let abandoned: Vec<_> = entries.running.drain().collect();
        let mut contexts = Vec::new();
        let slots: Vec<_> = abandoned.iter().map(|running| running.solo).collect();
        for Running { claim, incarnation, ctx, solo, .. } in abandoned {
            let release = Outcome::Release(Duration::ZERO);
            let settlement = Some(Settlement::new(claim.0, claim.1, release));
            entries.ended.push(Ended { claim, settlement, incarnation, solo });
            ctx.stop(Stop::Shutdown);
            contexts.push(ctx);
        }
        drop(entries);
        slots.into_iter().for_each(|solo| self.give_back(solo));
        self.changed.notify_one();
        contexts
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing under this lock can panic between two changes.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vitals {
    /// Whose lease is to be renewed, if there may be anything under it.
    pub(crate) fn lease(&self) -> Option<Incarnation> {
        self.incarnation.filter(|_| self.held > 0 || self.exchanging)
    }
}

impl Entries {
    fn running(&self) -> impl Iterator<Item = &Running> {
        self.running.iter().map(|(_, running)| running)
    }

    fn held(&self, incarnation: Incarnation) -> usize {
        self.running().filter(|running| running.is_of(incarnation)).count()
            + self.ended.iter().filter(|ended| ended.is_of(incarnation)).count()
    }
}

impl Running {
    /// Whether it is held by `incarnation` as far as is known: a lost job runs on for a moment.
    fn is_of(&self, incarnation: Incarnation) -> bool {
        self.incarnation == incarnation && !self.lost
    }

    fn stop(&mut self, why: Stop) {
        self.ctx.stop(why);
        // The first reason counts.
        self.lost = self.ctx.stopped() == Some(Stop::LeaseLost);
    }
}

impl Ended {
    fn is_of(&self, incarnation: Incarnation) -> bool {
        self.incarnation == incarnation && self.settlement.is_some()
    }
}
