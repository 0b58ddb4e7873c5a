//! Judges exchanges and heartbeats: numbers, fences, claims.

use std::sync::Arc;

use super::place::precedes;
use super::{Holder, Model, Said, Span, Verdict, ensure};
use crate::{
    BeatReply, Claimed, Exchange, ExchangeAnswer, ExchangeReply, Incarnation, JobId, JobState,
    Outcome, Settlement, Timestamp,
};

/// An incarnation.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) number: u64,
    pub(super) lapsed: bool,
    /// When its lease ends, where it holds something.
    pub(super) lease: Option<Span>,
    /// The first sweep that may have suspected it, and the first that must have.
    pub(super) suspected: (Option<Timestamp>, Option<Timestamp>),
    claimed: Vec<Claimed>,
    refused: Vec<JobId>,
}

/// What the store has to do with an exchange.
enum Turn {
    Apply { gap: bool },
    Again,
    Refuse,
    Expire,
}

impl Model {
    pub(in super::super) fn exchange(
        &mut self,
        exchange: &Exchange,
        reply: &ExchangeReply,
        when: Span,
    ) -> Verdict {
        match (self.turn(exchange), reply) {
            (Turn::Expire, ExchangeReply::Expired) | (Turn::Refuse, ExchangeReply::Refused) => {
                Ok(())
            }
            (Turn::Again, ExchangeReply::Answered(answer)) => self.again(exchange, answer, when),
            (Turn::Apply { gap }, ExchangeReply::Answered(answer)) => {
                self.apply(exchange, answer, gap, when)
            }
            (_, other) => Err(format!(
                "exchange {} of {} was answered {other:?}",
                exchange.number, exchange.incarnation
            )),
        }
    }

    fn turn(&self, exchange: &Exchange) -> Turn {
        match self.lives.get(&exchange.incarnation) {
            None if exchange.number == 1 => Turn::Apply { gap: false },
            None => Turn::Expire,
            Some(life) if life.lapsed => Turn::Expire,
            Some(life) if exchange.number < life.number => Turn::Refuse,
            Some(life) if exchange.number == life.number => Turn::Again,
            Some(life) => Turn::Apply { gap: exchange.number > life.number + 1 },
        }
    }

    fn again(&mut self, exchange: &Exchange, answer: &ExchangeAnswer, when: Span) -> Verdict {
        // Named as they are now, or as they were when it was answered first.
        let asked = self.asked_to_cancel(exchange.incarnation);
        let named = &answer.cancelled;
        ensure!(named.iter().all(|id| asked.contains(id)), "named {named:?} of {asked:?}");
        let lease = self.settings.lease;
        let life = self.lives.get_mut(&exchange.incarnation).ok_or("it was there")?;
        ensure!(answer.claimed == life.claimed, "claimed {:?} before", life.claimed);
        ensure!(sorted(&answer.refused) == sorted(&life.refused), "refused {:?}", life.refused);
        // Whether it is a sign of life is the store's to decide.
        if let Some(end) = &mut life.lease {
            end.to = end.to.max(when.to + lease);
            life.suspected.1 = None;
        }
        Ok(())
    }

    fn apply(
        &mut self,
        exchange: &Exchange,
        answer: &ExchangeAnswer,
        gap: bool,
        when: Span,
    ) -> Verdict {
        ensure!(when.contains(answer.now), "answered at {}", answer.now);
        let mut refused = Vec::new();
        for settlement in &exchange.settlements {
            if !self.settle(exchange.incarnation, settlement, answer.now)? {
                refused.push(settlement.job);
            }
        }
        ensure!(sorted(&answer.refused) == sorted(&refused), "refused {refused:?} rightly");

        let held = self.held_by(exchange.incarnation).count();
        let reconcile = gap || held != exchange.held;
        ensure!(answer.reconcile == reconcile, "reconcile: {} is wrong", answer.reconcile);
        self.names_the_cancelled(exchange.incarnation, &answer.cancelled)?;
        self.claim(exchange, answer)?;

        let holds = self.held_by(exchange.incarnation).next().is_some();
        let lease = holds.then(|| Span::at(answer.now).after(self.settings.lease));
        let life = self.lives.entry(exchange.incarnation).or_default();
        *life = Life {
            number: exchange.number,
            lease,
            claimed: answer.claimed.clone(),
            refused,
            ..Life::default()
        };
        Ok(())
    }

    /// Answers whether the incarnation held the job under that generation.
    fn settle(
        &mut self,
        incarnation: Incarnation,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<bool, String> {
        let front = self.behind(Span::at(now)).in_front();
        let Some(job) = self.jobs.get_mut(&settlement.job) else { return Ok(false) };
        let held = |holder: Holder| {
            holder.incarnation == incarnation && holder.generation == settlement.generation
        };
        if !job.holder.is_some_and(held) {
            return Ok(false);
        }
        let when = Span::at(now);
        if !matches!(settlement.outcome, Outcome::Release(_)) {
            job.attempts += 1;
        }
        if let Some(report) = &settlement.report {
            job.said = Said::Exactly(Some(Arc::clone(report)));
        }
        match settlement.outcome {
            Outcome::Complete => job.finish(JobState::Completed, when),
            Outcome::Dead => job.finish(JobState::Dead, when),
            Outcome::Cancel => job.finish(JobState::Cancelled, when),
            Outcome::Retry(_) | Outcome::Release(_) if job.cancel_requested => {
                job.finish(JobState::Cancelled, when);
            }
            Outcome::Release(delay) if delay.is_zero() => {
                (job.state, job.moved, job.holder) = (JobState::Waiting, true, None);
                (job.place, job.due.to) = (front, job.due.to.max(now));
            }
            Outcome::Retry(delay) | Outcome::Release(delay) => {
                (job.state, job.moved, job.holder) = (JobState::Delayed, true, None);
                job.due = when.after(delay);
            }
        }
        Ok(true)
    }

    fn claim(&mut self, exchange: &Exchange, answer: &ExchangeAnswer) -> Verdict {
        let claimed = &answer.claimed;
        ensure!(claimed.len() <= exchange.claim, "claimed {}", claimed.len());
        ensure!(claimed.is_empty() || !self.paused, "claimed while paused");
        for job in claimed {
            self.may_be_claimed(exchange, answer, job)?;
        }
        self.claimed_in_order(claimed)?;
        for job in claimed {
            let holder = Holder {
                incarnation: exchange.incarnation,
                generation: job.generation,
                solo: job.solo,
            };
            let known = self.known(job.spec.id)?;
            (known.state, known.holder) = (JobState::Active, Some(holder));
            (known.generation, known.moved) = (Some(job.generation), false);
            known.became_due = false;
        }

        // What is left; a job that became due meanwhile may be part of it or not.
        let unsure = self.jobs.values().any(|job| job.is_due(answer.now));
        let left = self.waiting(false);
        let suspects = self.waiting(true);
        let given = if exchange.solo { left + suspects } else { left };
        if exchange.claim > 0 && claimed.is_empty() && !self.paused {
            ensure!(given == 0, "{given} jobs could be claimed and none was");
        }
        if exchange.claim > 0 && !exchange.solo && !self.paused && !unsure {
            ensure!(answer.more == (left > 0), "more: {}, {left} are left", answer.more);
        }
        if !self.paused && !unsure && !exchange.solo {
            let told = answer.solo_waiting;
            ensure!(told == (suspects > 0), "solo waiting: {told}, {suspects} are");
        }
        Ok(())
    }

    fn may_be_claimed(
        &mut self,
        exchange: &Exchange,
        answer: &ExchangeAnswer,
        claimed: &Claimed,
    ) -> Verdict {
        let id = claimed.spec.id;
        let place = self.behind(Span::at(answer.now));
        let limit = self.settings.max_crashes;
        let job = self.known(id)?;
        // What waits was due when it began to, whatever the clock says now.
        let waited = job.state == JobState::Waiting;
        if job.is_due(answer.now) {
            job.wait_since_due(place.behind_due(job.due.from));
        }
        ensure!(job.state == JobState::Waiting, "claimed {id}, which is {}", job.state);
        job.learn_when_triggered(&claimed.spec);
        ensure!(claimed.spec == job.spec, "claimed {id} as something else");
        let (told, counted) = ((claimed.attempts, claimed.crashes), (job.attempts, job.crashes));
        ensure!(told == counted, "claimed {id} with {told:?} attempts, crashes; not {counted:?}");
        // A claim may count as a transition or not.
        job.moved |= job.generation.is_some_and(|last| claimed.generation > last);
        job.follows(claimed.generation)?;
        ensure!(job.enqueued.contains(claimed.enqueued_at), "{id} accepted at another time");
        ensure!(job.due.contains(claimed.due_at), "{id} due at {}", claimed.due_at);
        ensure!(waited || claimed.due_at <= answer.now, "claimed {id} before it was due");
        let suspect = job.crashes + 1 >= limit;
        ensure!(claimed.solo == suspect, "{id} solo: {}", claimed.solo);
        ensure!(!suspect || exchange.solo, "gave {id} to who does not run it alone");
        ensure!(!suspect || answer.claimed.len() == 1, "gave {id} beside others");
        Ok(())
    }

    /// No job goes ahead of one that it has to stand behind, claimed with it or left.
    fn claimed_in_order(&self, claimed: &[Claimed]) -> Verdict {
        let rank = |id: &JobId| (self.jobs[id].spec.priority, self.jobs[id].place);
        for (place, later) in claimed.iter().enumerate() {
            for earlier in &claimed[..place] {
                let (earlier, later) = (&earlier.spec.id, &later.spec.id);
                ensure!(!precedes(rank(later), rank(earlier)), "{earlier} was before {later}");
            }
        }
        let taken = |id: &JobId| claimed.iter().any(|claimed| claimed.spec.id == *id);
        let left = |id: &JobId| !taken(id) && self.jobs[id].state == JobState::Waiting;
        for id in self.jobs.keys().filter(|&id| left(id)) {
            for claimed in claimed.iter().map(|claimed| &claimed.spec.id) {
                let same_kind = self.is_suspect(id) == self.is_suspect(claimed);
                ensure!(
                    !same_kind || !precedes(rank(id), rank(claimed)),
                    "{claimed} was claimed before {id}"
                );
            }
        }
        Ok(())
    }

    fn is_suspect(&self, id: &JobId) -> bool {
        self.jobs[id].crashes + 1 >= self.settings.max_crashes
    }

    pub(super) fn waiting(&self, suspect: bool) -> usize {
        let waits = |id: &&JobId| {
            self.jobs[id].state == JobState::Waiting && self.is_suspect(id) == suspect
        };
        self.jobs.keys().filter(waits).count()
    }

    fn names_the_cancelled(&self, incarnation: Incarnation, named: &[JobId]) -> Verdict {
        let asked = self.asked_to_cancel(incarnation);
        ensure!(sorted(named) == asked, "named {named:?} to cancel, not {asked:?}");
        Ok(())
    }

    fn asked_to_cancel(&self, incarnation: Incarnation) -> Vec<JobId> {
        let held = self.held_by(incarnation).map(|(id, _)| id);
        held.filter(|id| self.jobs[id].cancel_requested).collect()
    }

    pub(in super::super) fn beat(
        &mut self,
        incarnation: Incarnation,
        reply: &BeatReply,
        when: Span,
    ) -> Verdict {
        let lease = when.after(self.settings.lease);
        match (self.lives.get_mut(&incarnation), reply) {
            (None, BeatReply::Expired) => Ok(()),
            (Some(life), BeatReply::Expired) if life.lapsed => Ok(()),
            (Some(life), BeatReply::Renewed { cancelled }) if !life.lapsed => {
                if life.lease.is_some() {
                    life.lease = Some(lease);
                    life.suspected = (None, None);
                }
                self.names_the_cancelled(incarnation, cancelled)
            }
            (_, reply) => Err(format!("a beat of {incarnation} was answered {reply:?}")),
        }
    }
}

fn sorted(ids: &[JobId]) -> Vec<JobId> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}
