//! The redis adapter keeps the contract, whatever the form of the server; on servers that this test
//! starts itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use shiftwork_adapter::conformance::{Factory, Store, Time};
use shiftwork_adapter::{Connection, JobAdapter, Namespace, StoreSettings, SystemClock};
use shiftwork_redis::RedisAdapter;
use shiftwork_test_kit::RedisServer;

/// One server, by a plain connection.
mod single {
    use super::*;

    fn tell(connection: &mut Connection) {
        connection.variables.insert("JOBS_REDIS_URL", RedisServer::shared().url());
    }

    shiftwork_adapter::conformance!(Redis(tell));
}

/// One server, by encrypted connections, each side with a certificate.
#[cfg(feature = "tls")]
mod tls {
    use std::sync::OnceLock;

    use shiftwork_test_kit::Certificates;

    use super::*;

    fn tell(connection: &mut Connection) {
        static SHARED: OnceLock<(RedisServer, Certificates)> = OnceLock::new();
        let (server, certificates) = SHARED.get_or_init(|| {
            let certificates = Certificates::new();
            (RedisServer::options().mutual_tls(&certificates).start(), certificates)
        });
        let (cert, key) = certificates.client();
        connection.variables.insert("JOBS_REDIS_URL", server.tls_url());
        for (name, path) in [
            ("JOBS_REDIS_TLS_CA", certificates.ca()),
            ("JOBS_REDIS_TLS_CERT", cert),
            ("JOBS_REDIS_TLS_KEY", key),
        ] {
            connection.variables.insert(name, path.display().to_string());
        }
    }

    shiftwork_adapter::conformance!(Redis(tell));
}

/// By what tells a connection where its server is.
struct Redis(fn(&mut Connection));

#[async_trait]
impl Factory for Redis {
    fn time(&self) -> Time {
        Time::Real { unit: Duration::from_millis(100) }
    }

    async fn open(&self, settings: StoreSettings) -> Box<dyn Store> {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("case-{}", OPENED.fetch_add(1, Ordering::Relaxed));
        Box::new(RedisStore {
            tell: self.0,
            namespace: Namespace::new(namespace).expect("it is a valid name"),
            settings,
        })
    }
}

/// A namespace that nobody else uses.
struct RedisStore {
    tell: fn(&mut Connection),
    namespace: Namespace,
    settings: StoreSettings,
}

#[async_trait]
impl Store for RedisStore {
    /// Each with a connection of its own, as another process has.
    async fn adapter(&self) -> Arc<dyn JobAdapter> {
        let mut connection = Connection::new(self.namespace.clone(), Arc::new(SystemClock));
        connection.settings = self.settings;
        (self.tell)(&mut connection);
        Arc::new(RedisAdapter::new(connection).expect("the server's URL is one"))
    }
}
