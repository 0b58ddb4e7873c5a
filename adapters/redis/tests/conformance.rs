//! The redis adapter keeps the contract, on a server that this test starts itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use shiftwork_adapter::conformance::{Factory, Store, Time};
use shiftwork_adapter::{Connection, JobAdapter, Namespace, StoreSettings, SystemClock};
use shiftwork_redis::RedisAdapter;
use shiftwork_test_kit::RedisServer;

shiftwork_adapter::conformance!(Redis);

struct Redis;

#[async_trait]
impl Factory for Redis {
    fn time(&self) -> Time {
        Time::Real { unit: Duration::from_millis(100) }
    }

    async fn open(&self, settings: StoreSettings) -> Box<dyn Store> {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("case-{}", OPENED.fetch_add(1, Ordering::Relaxed));
        Box::new(RedisStore {
            namespace: Namespace::new(namespace).expect("it is a valid name"),
            settings,
        })
    }
}

/// A namespace that nobody else uses.
struct RedisStore {
    namespace: Namespace,
    settings: StoreSettings,
}

#[async_trait]
impl Store for RedisStore {
    /// Each with a connection of its own, as another process has.
    async fn adapter(&self) -> Arc<dyn JobAdapter> {
        let mut connection = Connection::new(self.namespace.clone(), Arc::new(SystemClock));
        connection.settings = self.settings;
        connection.variables.insert("JOBS_REDIS_URL", RedisServer::shared().url());
        Arc::new(RedisAdapter::new(connection).expect("the server's URL is one"))
    }
}
