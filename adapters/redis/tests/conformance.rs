//! The redis adapter keeps the contract, whatever the form of the server; on servers that this test
//! starts itself.
//!
//! A case waits more than it works, so more of them run at once than there are cores.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::{Arguments, Trial};
use shiftwork_adapter::conformance::{Factory, Store, Time, cases, run, run_model};
use shiftwork_adapter::{Connection, JobAdapter, Namespace, StoreSettings, SystemClock};
use shiftwork_redis::RedisAdapter;
use shiftwork_test_kit::{Certificates, Clustered, RedisServer, Watched};

/// How many cases run at once, where nobody says.
const AT_ONCE: usize = 8;

/// Tells a connection where its server is.
type Tell = fn(&mut Connection);

/// The forms in which there is a server, each with the feature that it needs.
const FORMS: [(&str, bool, Tell); 5] = [
    ("single", true, single),
    ("tls", cfg!(feature = "tls"), tls),
    ("sentinel", cfg!(feature = "sentinel"), sentinel),
    ("cluster", cfg!(feature = "cluster"), cluster),
    ("mute", true, mute),
];

/// The one case that a server which wakes nobody cannot keep: with nothing to do, a wait goes on.
const WAITS_IN_VAIN: &str = "a_ticket_seen_while_nothing_happened_is_good";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let forms = FORMS.into_iter().filter(|(_, is_built, _)| *is_built);
    let trials = forms.flat_map(|(form, _, tell)| {
        let trial = move |(subject, case)| {
            Trial::test(format!("{form}::{subject}::{case}"), move || {
                run(Redis(tell), subject, case);
                Ok(())
            })
        };
        let model = Trial::test(format!("{form}::model"), move || {
            run_model(Redis(tell));
            Ok(())
        });
        // A wait that nobody can end in time ends by itself.
        let is_kept = move |case: &(&str, &str)| form != "mute" || case.1 != WAITS_IN_VAIN;
        cases().filter(is_kept).map(trial).chain([model])
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// One server, by plain connections.
fn single(connection: &mut Connection) {
    connection.variables.insert("JOBS_REDIS_URL", RedisServer::shared().url());
}

/// One server, by encrypted connections, each side with a certificate.
fn tls(connection: &mut Connection) {
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

/// A primary that sentinels name.
fn sentinel(connection: &mut Connection) {
    static SHARED: OnceLock<Watched> = OnceLock::new();
    connection.variables.insert("JOBS_REDIS_URL", SHARED.get_or_init(Watched::start).url());
}

/// Three masters, each with a replica.
fn cluster(connection: &mut Connection) {
    static SHARED: OnceLock<Clustered> = OnceLock::new();
    connection.variables.insert("JOBS_REDIS_URL", SHARED.get_or_init(Clustered::start).url());
}

/// One server that wakes nobody, as some services are: whoever is idle looks by itself.
fn mute(connection: &mut Connection) {
    static SHARED: OnceLock<RedisServer> = OnceLock::new();
    let server = SHARED.get_or_init(|| {
        let forbidden = ["HELLO", "SUBSCRIBE", "PUBLISH"];
        let renamed = forbidden.iter().flat_map(|name| ["--rename-command", *name, ""]);
        RedisServer::options().args(renamed).start()
    });
    connection.variables.insert("JOBS_REDIS_URL", server.url());
    // What is seen at every fifth poll is seen within a unit of time.
    connection.settings.idle_poll = Some(Duration::from_millis(15));
}

struct Redis(Tell);

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
    tell: Tell,
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
