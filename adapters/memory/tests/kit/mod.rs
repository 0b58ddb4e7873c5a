//! What the adapter's own tests share: an adapter under a test clock, and jobs for it.

// Each test file is a crate of its own and takes what it needs.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;

use shiftwork_adapter::{
    Claimed, Connection, Exchange, ExchangeAnswer, ExchangeReply, Incarnation, JobAdapter, JobId,
    JobName, JobSpec, Namespace, Outcome, Payload, QueueName, Settlement, TestClock, Timestamp,
};
use shiftwork_memory::MemoryAdapter;

pub const START: Timestamp = Timestamp::from_millis(1_772_330_400_000);

pub fn clock() -> Arc<TestClock> {
    Arc::new(TestClock::new(START))
}

pub fn connection() -> Connection {
    Connection::new(Namespace::new("test").unwrap(), clock())
}

/// An adapter with room for `capacity` jobs.
pub fn adapter_for(capacity: &str) -> MemoryAdapter {
    let mut connection = connection();
    connection.variables.insert("JOBS_MEMORY_CAPACITY", capacity.into());
    MemoryAdapter::new(connection).unwrap()
}

pub fn queue() -> QueueName {
    QueueName::new("mail").unwrap()
}

pub fn id(number: u64) -> JobId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    JobId::from_bytes(bytes)
}

pub fn spec(number: u64) -> JobSpec {
    JobSpec::new(id(number), JobName::new("send").unwrap(), Payload::none())
}

pub fn specs(numbers: std::ops::Range<u64>) -> Vec<JobSpec> {
    numbers.map(spec).collect()
}

/// A worker of one incarnation.
pub struct Worker {
    incarnation: Incarnation,
    number: u64,
    held: usize,
}

impl Worker {
    pub fn new(number: u8) -> Self {
        Self { incarnation: Incarnation::new(START, [number; 10]), number: 0, held: 0 }
    }

    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub async fn exchange(
        &mut self,
        adapter: &dyn JobAdapter,
        settlements: Vec<Settlement>,
        claim: usize,
    ) -> ExchangeAnswer {
        self.number += 1;
        let mut exchange = Exchange::new(queue(), self.incarnation, self.number);
        self.held -= settlements.len();
        exchange.held = self.held;
        exchange.settlements = settlements;
        exchange.claim = claim;
        match adapter.exchange(&exchange).await.unwrap() {
            ExchangeReply::Answered(answer) => {
                self.held += answer.claimed.len();
                answer
            }
            other => panic!("the exchange was not applied: {other:?}"),
        }
    }

    pub async fn claim(&mut self, adapter: &dyn JobAdapter, claim: usize) -> Vec<Claimed> {
        self.exchange(adapter, Vec::new(), claim).await.claimed
    }
}

pub fn settled(claimed: &[Claimed], outcome: Outcome) -> Vec<Settlement> {
    let settlement = |job: &Claimed| Settlement::new(job.spec.id, job.generation, outcome);
    claimed.iter().map(settlement).collect()
}
