//! The example adapter keeps the contract.

use std::sync::Arc;

use async_trait::async_trait;
use shiftwork_adapter::conformance::{Factory, Store, Time};
use shiftwork_adapter::{Connection, JobAdapter, Namespace, StoreSettings, TestClock, Timestamp};
use shiftwork_example_adapter::ExampleAdapter;
use tempfile::TempDir;

shiftwork_adapter::conformance!(Example);

struct Example;

#[async_trait]
impl Factory for Example {
    fn time(&self) -> Time {
        Time::Simulated
    }

    async fn open(&self, settings: StoreSettings) -> Box<dyn Store> {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let clock = Arc::new(TestClock::new(Timestamp::from_millis(1_772_330_400_000)));
        let namespace = Namespace::new("conformance").expect("it is a valid name");
        let mut connection = Connection::new(namespace, clock.clone());
        connection.settings = settings;
        let path = dir.path().join("journal").display().to_string();
        connection.variables.insert("JOBS_EXAMPLE_PATH", path);
        let adapter = Arc::new(ExampleAdapter::new(connection).expect("the path is writable"));
        Box::new(ExampleStore { adapter, clock, _dir: dir })
    }
}

struct ExampleStore {
    adapter: Arc<ExampleAdapter>,
    clock: Arc<TestClock>,
    _dir: TempDir,
}

#[async_trait]
impl Store for ExampleStore {
    async fn adapter(&self) -> Arc<dyn JobAdapter> {
        self.adapter.clone()
    }

    fn set_clock(&self, now: Timestamp) -> bool {
        self.clock.set(now);
        true
    }
}
