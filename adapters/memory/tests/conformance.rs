//! The memory adapter keeps the contract.

use std::sync::Arc;

use async_trait::async_trait;
use shiftwork_adapter::conformance::{Factory, Store, Time};
use shiftwork_adapter::{Connection, JobAdapter, Namespace, StoreSettings, TestClock, Timestamp};
use shiftwork_memory::MemoryAdapter;

shiftwork_adapter::conformance!(Memory);

struct Memory;

#[async_trait]
impl Factory for Memory {
    fn time(&self) -> Time {
        Time::Simulated
    }

    async fn open(&self, settings: StoreSettings) -> Box<dyn Store> {
        let clock = Arc::new(TestClock::new(Timestamp::from_millis(1_772_330_400_000)));
        let mut connection = Connection::new(
            Namespace::new("conformance").expect("it is a valid name"),
            clock.clone(),
        );
        connection.settings = settings;
        Box::new(MemoryStore {
            adapter: Arc::new(MemoryAdapter::new(connection).expect("it has no variables")),
            clock,
        })
    }
}

struct MemoryStore {
    adapter: Arc<MemoryAdapter>,
    clock: Arc<TestClock>,
}

#[async_trait]
impl Store for MemoryStore {
    async fn adapter(&self) -> Arc<dyn JobAdapter> {
        self.adapter.clone()
    }

    fn set_clock(&self, now: Timestamp) -> bool {
        self.clock.set(now);
        true
    }
}
