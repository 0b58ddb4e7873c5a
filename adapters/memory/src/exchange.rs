//! A worker's whole conversation with a queue, one turn of it: settle what ended, claim what may
//! run, in one step.

use shiftwork_adapter::{
    BeatReply, Claimed, Exchange, ExchangeAnswer, ExchangeReply, Incarnation, JobId, Settlement,
    Timestamp,
};

use crate::STEP;
use crate::incarnation::{Hold, Life, Turn};
use crate::jobs::Jobs;
use crate::queue::Queue;
use crate::settle::settle;

impl Queue {
    pub(crate) fn exchange(&mut self, exchange: &Exchange, now: Timestamp) -> ExchangeReply {
        self.used = true;
        let reply = match self.incarnations.turn(exchange.incarnation, exchange.number, now) {
            Turn::Expired => return ExchangeReply::Expired,
            Turn::Refuse => return ExchangeReply::Refused,
            Turn::Repeat(life) => repeat(life, &self.jobs),
            Turn::Apply { life, lost_writes } => {
                // What became due goes ahead of what this turn may let wait.
                self.jobs.promote(now, STEP);
                let refused = settle_all(life, &mut self.jobs, &exchange.settlements, now);
                let reconcile = lost_writes || life.held.len() != exchange.held;
                let claimed =
                    if self.paused { Vec::new() } else { claim(life, &mut self.jobs, exchange) };

                let mut answer = ExchangeAnswer::new(now, self.jobs.ticket());
                answer.refused = refused;
                answer.claimed = claimed;
                answer.cancelled = life.cancelled.iter().copied().collect();
                answer.reconcile = reconcile;
                answer.more = !self.paused && self.jobs.any_claimable(now);
                answer.solo_waiting = !self.paused && self.jobs.waiting.any_solo();
                life.remember(exchange.number, &answer);
                answer
            }
        };
        // A repeated turn is a sign of life as well.
        self.incarnations.renew(exchange.incarnation, now);
        ExchangeReply::Answered(reply)
    }

    /// Renews a lease. Of an incarnation that holds nothing there is none, but it is alive.
    pub(crate) fn beat(&mut self, incarnation: Incarnation, now: Timestamp) -> BeatReply {
        self.incarnations.renew(incarnation, now);
        match self.incarnations.alive(incarnation) {
            Some(life) => {
                BeatReply::Renewed { cancelled: life.cancelled.iter().copied().collect() }
            }
            None => BeatReply::Expired,
        }
    }
}

fn repeat(life: &Life, jobs: &Jobs) -> ExchangeAnswer {
    let (mut answer, claimed) = life.last_answer();
    answer.claimed = claimed
        .iter()
        .filter_map(|job| life.held.get(job).and_then(|hold| jobs.claimed(*job, hold.solo)))
        .collect();
    answer
}

/// Applies the settlements of jobs that are held under the generation they name; answers the
/// others.
fn settle_all(
    life: &mut Life,
    jobs: &mut Jobs,
    settlements: &[Settlement],
    now: Timestamp,
) -> Vec<JobId> {
    let mut refused = Vec::new();
    for settlement in settlements {
        if life.let_go(settlement.job, settlement.generation) {
            jobs.change_with(settlement.job, now, |record| {
                settle(settlement, record.cancel_requested(), now)
            });
        } else {
            refused.push(settlement.job);
        }
    }
    refused
}

/// Claims one job that must run alone, where there is one and the worker is alone with it; else
/// as many others as the worker asks for.
fn claim(life: &mut Life, jobs: &mut Jobs, exchange: &Exchange) -> Vec<Claimed> {
    let limit = exchange.claim.min(STEP);
    if limit > 0
        && exchange.solo
        && life.held.is_empty()
        && let Some(job) = jobs.waiting.pop_solo()
    {
        return hold(life, jobs, job, true).into_iter().collect();
    }
    let waiting = usize::try_from(jobs.counts().waiting).unwrap_or(usize::MAX);
    let mut claimed = Vec::with_capacity(limit.min(waiting));
    while claimed.len() < limit
        && let Some(job) = jobs.waiting.pop()
    {
        claimed.extend(hold(life, jobs, job, false));
    }
    claimed
}

fn hold(life: &mut Life, jobs: &mut Jobs, job: JobId, solo: bool) -> Option<Claimed> {
    let claimed = jobs.claim(job, solo)?;
    life.held.insert(job, Hold { generation: claimed.generation, solo });
    Some(claimed)
}
