//! A primary with two replicas, and three sentinels that watch over them.

use std::thread;
use std::time::{Duration, Instant};

use crate::{Certificates, RedisServer, Reply};

/// What the sentinels call the primary.
const NAME: &str = "primary";

/// How long the servers may take to find each other.
const PATIENCE: Duration = Duration::from_secs(20);

/// A primary, two replicas, and three sentinels of which two must agree. A primary that has not
/// answered for a second is down to them.
#[derive(Debug)]
pub struct Watched {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl Watched {
    /// Starts them, and waits until each sentinel knows all others.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`], or if they do not find each other within twenty seconds.
    pub fn start() -> Self {
        Self::with(None)
    }

    /// The same, where all is encrypted: [`Watched::tls_url`].
    ///
    /// # Panics
    ///
    /// As [`Watched::start`].
    pub fn by_tls(certificates: &Certificates) -> Self {
        Self::with(Some(certificates))
    }

    fn with(certificates: Option<&Certificates>) -> Self {
        // Each of them can be the primary, which need not wait for more replicas to come.
        let server = || {
            let options = RedisServer::options().all_by_tls(certificates);
            options.args(["--repl-diskless-sync-delay", "0"])
        };
        let primary = server().start();
        let port = primary.port_among_servers().to_string();
        let replica = || server().args(["--replicaof", "127.0.0.1", &port]).start();
        let servers = vec![replica(), replica(), primary];
        let sentinel = || RedisServer::options().sentinel().all_by_tls(certificates).start();
        let sentinels = (0..3).map(|_| sentinel()).collect();
        let watched = Self { servers, sentinels };
        for sentinel in &watched.sentinels {
            sentinel.call(&["SENTINEL", "MONITOR", NAME, "127.0.0.1", &port, "2"]);
            for (option, value) in
                [("down-after-milliseconds", "1000"), ("failover-timeout", "5000")]
            {
                sentinel.call(&["SENTINEL", "SET", NAME, option, value]);
            }
        }
        watched.until("they know each other", || {
            watched.sentinels.iter().all(|sentinel| {
                let known = |field| watched.told(sentinel, field);
                known("num-slaves") == "2" && known("num-other-sentinels") == "2"
            })
        });
        watched
    }

    /// The URL by which the primary is found: `redis-sentinel://127.0.0.1:PORT,…/primary/0`.
    pub fn url(&self) -> String {
        let sentinels = self.sentinels.iter().map(|sentinel| sentinel.address().to_string());
        format!("redis-sentinel://{}/{NAME}/0", sentinels.collect::<Vec<_>>().join(","))
    }

    /// The same, for connections by TLS: `rediss-sentinel://127.0.0.1:PORT,…/primary/0`.
    ///
    /// # Panics
    ///
    /// If it was not started [by TLS](Watched::by_tls).
    pub fn tls_url(&self) -> String {
        let hosts = self.sentinels.iter().map(|node| node.tls_url().replace("rediss://", ""));
        format!("rediss-sentinel://{}/{NAME}/0", hosts.collect::<Vec<_>>().join(","))
    }

    /// The servers of data, in no order that would mean anything.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The server that the first sentinel names, whether it lives or not.
    ///
    /// # Panics
    ///
    /// If the sentinel does not answer.
    pub fn primary(&self) -> &RedisServer {
        let port = self.told(&self.sentinels[0], "port");
        let is_named = |server: &&RedisServer| server.port_among_servers().to_string() == port;
        self.servers.iter().find(is_named).expect("the sentinel names one of the servers")
    }

    /// Waits until the first sentinel names another primary than this.
    ///
    /// # Panics
    ///
    /// If that takes longer than twenty seconds.
    pub fn until_replaced(&self, primary: &RedisServer) {
        self.until("another primary", || self.primary().port() != primary.port());
    }

    /// A field of what a sentinel knows of the primary.
    fn told(&self, sentinel: &RedisServer, field: &str) -> String {
        let fields = sentinel.call(&["SENTINEL", "MASTER", NAME]);
        let fields: Vec<_> = fields.array().iter().map(Reply::text).collect();
        let value = fields.chunks(2).find(|pair| pair[0] == field).map(|pair| pair[1].clone());
        value.unwrap_or_default()
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
