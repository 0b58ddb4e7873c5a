//! What time does to a queue: due jobs wait, lapsed incarnations lose their jobs, finished jobs
//! are forgotten.
//!
//! One sweep does a bounded part of each. The **horizon** is when the next is needed. Whoever
//! sweeps sleeps until then; should a step bring the horizon closer than the last sweep has
//! promised, the sweep ticket rises and wakes them. A busy queue, whose leases only move away,
//! wakes nobody.

use shiftwork_adapter::{Recovered, SweepAnswer, Ticket, Timestamp};

use crate::STEP;
use crate::incarnation::{Hold, Incarnations};
use crate::jobs::Jobs;
use crate::queue::Queue;
use crate::settle::crash;

/// When a sweep is needed, as those who sweep know it.
#[derive(Default)]
pub(crate) struct Horizon {
    /// What the last sweep promised, or a wake-up since has announced; `None`: never.
    promised: Option<Timestamp>,
    ticket: u64,
}

impl Queue {
    pub(crate) fn sweep(&mut self, now: Timestamp) -> SweepAnswer {
        let promoted = self.jobs.promote(now, STEP);
        self.incarnations.look_after(now);
        let recovered = recover(&mut self.incarnations, &mut self.jobs, now);
        let trimmed = self.jobs.trim(now, STEP);

        // A clock set back can have brought a lease's end closer: others who sweep must know.
        self.note_horizon();
        self.horizon.promised = self.next_sweep();
        let mut answer = SweepAnswer::new(now, Ticket(self.horizon.ticket));
        answer.promoted = promoted;
        answer.recovered = recovered;
        answer.trimmed = trimmed;
        answer.next = self.horizon.promised.map(|at| at.since(now));
        answer.claimable =
            !self.paused && (self.jobs.any_claimable(now) || self.jobs.waiting.any_solo());
        answer
    }

    /// Raises the sweep ticket where a sweep is needed earlier than promised. The last thing that
    /// every step does.
    pub(crate) fn note_horizon(&mut self) {
        let Horizon { promised, ticket } = &self.horizon;
        if let Some(at) = self.next_sweep()
            && promised.is_none_or(|promised| at < promised)
        {
            self.horizon = Horizon { promised: Some(at), ticket: ticket + 1 };
        }
    }

    /// Rises when a sweep is needed earlier than promised.
    pub(crate) fn sweep_ticket(&self) -> u64 {
        self.horizon.ticket
    }

    fn next_sweep(&self) -> Option<Timestamp> {
        let needs = [
            self.jobs.delayed.next_due(),
            self.incarnations.next_deadline(),
            self.jobs.kept.next_expiry(),
        ];
        // What is never due needs no timer.
        needs.into_iter().flatten().min().filter(|&at| at < Timestamp::MAX)
    }
}

/// Takes back jobs of lapsed incarnations, to wait ahead of all others of their priority.
fn recover(incarnations: &mut Incarnations, jobs: &mut Jobs, now: Timestamp) -> Vec<Recovered> {
    let mut recovered = Vec::new();
    let max_crashes = jobs.max_crashes();
    for life in incarnations.lapsed() {
        // The last first, so that they wait in the order of their ids again.
        while recovered.len() < STEP
            && let Some((job, Hold { solo, .. })) = life.held.pop_last()
        {
            let mut lost = None;
            let state = jobs.change_with(job, now, |record| {
                lost = Some((record.spec.clone(), record.crashes.saturating_add(1)));
                crash(record.crashes, solo, record.cancel_requested(), max_crashes, now)
            });
            if let (Some((spec, crashes)), Some(state)) = (lost, state) {
                recovered.push(Recovered::new(spec, crashes, state));
            }
        }
        if life.held.is_empty() {
            life.cancelled.clear();
        }
    }
    incarnations.recount_deadline();
    recovered
}
