//! A worker for tests: one incarnation in one queue that keeps to the rules of
//! [`Exchange`], unless a case says otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kit::held_by;
use crate::{
    Beat, BeatReply, Claimed, Exchange, ExchangeAnswer, ExchangeReply, Incarnation, JobAdapter,
    JobId, Outcome, QueueName, Settlement,
};

/// One incarnation in one queue.
pub(super) struct Worker {
    pub(super) adapter: Arc<dyn JobAdapter>,
    pub(super) queue: QueueName,
    pub(super) incarnation: Incarnation,
    /// The number of the last exchange.
    pub(super) number: u64,
    /// What it holds, as it knows by the answers.
    pub(super) held: BTreeMap<JobId, Claimed>,
    last: Option<Exchange>,
}

impl Worker {
    pub(super) fn new(
        adapter: Arc<dyn JobAdapter>,
        queue: QueueName,
        incarnation: Incarnation,
    ) -> Self {
        Self { adapter, queue, incarnation, number: 0, held: BTreeMap::new(), last: None }
    }

    /// Claims `count` jobs, in as many exchanges as the store takes for it, until it answers none.
    pub(super) async fn claim(&mut self, count: usize) -> Vec<Claimed> {
        let mut claimed = Vec::new();
        while claimed.len() < count {
            let mut turn = self.turn();
            turn.claim = count - claimed.len();
            let answer = self.answer(turn).await;
            assert!(answer.refused.is_empty(), "nothing was settled: {:?}", answer.refused);
            if answer.claimed.is_empty() {
                break;
            }
            claimed.extend(answer.claimed);
        }
        assert!(claimed.len() <= count, "{} claimed, {count} asked for", claimed.len());
        claimed
    }

    /// Claims one job, of which there has to be one.
    pub(super) async fn claim_one(&mut self) -> Claimed {
        self.claim(1).await.pop().expect("a job can be claimed")
    }

    /// Claims with the promise to run alone what it gets; once.
    pub(super) async fn claim_solo(&mut self, count: usize) -> ExchangeAnswer {
        assert!(self.held.is_empty(), "a worker that holds something is not solo");
        let mut turn = self.turn();
        turn.claim = count;
        turn.solo = true;
        self.answer(turn).await
    }

    /// Settles a held job, which is not refused.
    pub(super) async fn settle(&mut self, job: &Claimed, outcome: Outcome) -> ExchangeAnswer {
        self.settle_all([Settlement::new(job.spec.id, job.generation, outcome)]).await
    }

    /// Settles held jobs, none of which is refused.
    pub(super) async fn settle_all(
        &mut self,
        settlements: impl IntoIterator<Item = Settlement>,
    ) -> ExchangeAnswer {
        let answer = self.try_settle(settlements).await;
        assert!(answer.refused.is_empty(), "refused to settle {:?}", answer.refused);
        answer
    }

    /// Settles what may be refused.
    pub(super) async fn try_settle(
        &mut self,
        settlements: impl IntoIterator<Item = Settlement>,
    ) -> ExchangeAnswer {
        let turn = self.turn_with(settlements);
        self.answer(turn).await
    }

    /// An exchange that settles and claims nothing.
    pub(super) async fn say_hello(&mut self) -> ExchangeAnswer {
        let turn = self.turn();
        self.answer(turn).await
    }

    /// The next exchange, as yet without settlements and claims.
    pub(super) fn turn(&self) -> Exchange {
        self.turn_with([])
    }

    /// The next exchange with settlements, as yet without claims.
    pub(super) fn turn_with(&self, settlements: impl IntoIterator<Item = Settlement>) -> Exchange {
        let mut turn = Exchange::new(self.queue.clone(), self.incarnation, self.number + 1);
        turn.settlements = settlements.into_iter().collect();
        turn.held = self.held.values().filter(|job| !ends(&turn, job)).count();
        turn
    }

    /// Sends an exchange that is answered.
    pub(super) async fn answer(&mut self, exchange: Exchange) -> ExchangeAnswer {
        match self.send(exchange).await {
            ExchangeReply::Answered(answer) => answer,
            other => panic!("exchange {} was not answered but {other:?}", self.number),
        }
    }

    /// Sends the last exchange again, unchanged.
    pub(super) async fn resend(&mut self) -> ExchangeReply {
        let last = self.last.clone().expect("something was sent before");
        self.send(last).await
    }

    /// Sends an exchange and keeps the books.
    pub(super) async fn send(&mut self, exchange: Exchange) -> ExchangeReply {
        let reply = self.adapter.exchange(&exchange).await.expect("the store exchanges");
        self.number = self.number.max(exchange.number);
        if let ExchangeReply::Answered(answer) = &reply {
            self.held.retain(|_, job| !ends(&exchange, job));
            for job in &answer.claimed {
                self.held.insert(job.spec.id, job.clone());
            }
        }
        self.last = Some(exchange);
        reply
    }

    /// Renews the lease.
    pub(super) async fn beat(&self) -> BeatReply {
        let beat = Beat::new(self.queue.clone(), self.incarnation, self.held.len());
        let mut heart = self.adapter.heart().await.expect("the store gives a heart");
        let mut replies = heart.beat(&[beat]).await.expect("the heart beats");
        assert_eq!(replies.len(), 1, "one beat has one answer: {replies:?}");
        replies.remove(0)
    }

    /// Renews the lease, which is not lost; answers the jobs to cancel.
    pub(super) async fn stay_alive(&self) -> Vec<JobId> {
        match self.beat().await {
            BeatReply::Renewed { cancelled } => cancelled,
            other => panic!("a living incarnation was answered {other:?}"),
        }
    }

    /// What the store thinks it holds, and whether it is no more.
    pub(super) async fn held_by_the_store(&self) -> (Vec<(JobId, u64)>, bool) {
        held_by(&*self.adapter, &self.queue, self.incarnation).await
    }

    /// Ids and generations of what it knows to hold, ordered by id.
    pub(super) fn holds(&self) -> Vec<(JobId, u64)> {
        self.held.iter().map(|(&id, job)| (id, job.generation)).collect()
    }
}

/// Whether `exchange` settles `job` under the generation by which it is held.
fn ends(exchange: &Exchange, job: &Claimed) -> bool {
    exchange.settlements.iter().any(|s| s.job == job.spec.id && s.generation == job.generation)
}
