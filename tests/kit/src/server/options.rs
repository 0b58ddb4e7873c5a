//! How a server differs from the plain one.

use std::path::PathBuf;

use super::RedisServer;
use crate::Certificates;

/// When a server with an append-only file brings a write to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before it answers: nothing that was answered is lost.
    Always,
    /// Once a second, as most production servers do. A killed process loses little by it, as a rule
    /// nothing: the server writes to its file before it answers, and the system keeps what was
    /// written. But while the disk is slow to take an earlier second, the server answers for up to
    /// two seconds what it has only in its memory, and a kill takes that with it. A test that
    /// cannot have this happen takes [`Fsync::Always`].
    EverySecond,
}

/// A server that is yet to be started. By [`RedisServer::options`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing runs before `start`"]
pub struct RedisOptions {
    append_only: Option<Fsync>,
    pub(super) unix_socket: bool,
    pub(super) tls: Option<Tls>,
    /// It is no server of data, but a sentinel.
    pub(super) sentinel: bool,
    /// It is a node of a cluster.
    pub(super) node: bool,
    pub(super) args: Vec<String>,
}

/// How a server speaks TLS.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    ca: PathBuf,
    identity: (PathBuf, PathBuf),
    /// Whether it wants a certificate of its clients.
    asks: bool,
}

impl Tls {
    pub(super) fn args(&self, port: u16) -> Vec<String> {
        let (cert, key) = &self.identity;
        let file = |path: &PathBuf| path.display().to_string();
        let asks = if self.asks { "yes" } else { "no" };
        [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", file(cert)),
            ("--tls-key-file", file(key)),
            ("--tls-ca-cert-file", file(&self.ca)),
            ("--tls-auth-clients", asks.to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }
}

impl RedisOptions {
    /// Speaks TLS on a port beside the plain one: [`RedisServer::tls_url`]. The certificates are to
    /// live as long as the server.
    pub fn tls(mut self, certificates: &Certificates) -> Self {
        let (ca, identity) = (certificates.ca(), certificates.server());
        self.tls = Some(Tls { ca, identity, asks: false });
        self
    }

    /// The same, and takes only clients that show a certificate of the same authority.
    pub fn mutual_tls(mut self, certificates: &Certificates) -> Self {
        let (ca, identity) = (certificates.ca(), certificates.server());
        self.tls = Some(Tls { ca, identity, asks: true });
        self
    }

    /// As [`tls`](Self::tls) where there are certificates, also for what servers say to each other.
    pub(crate) fn all_by_tls(self, certificates: Option<&Certificates>) -> Self {
        match certificates {
            None => self,
            Some(certificates) => {
                self.tls(certificates).args(["--tls-replication", "yes", "--tls-cluster", "yes"])
            }
        }
    }

    /// Keeps the data in an append-only file, so that they are there after a restart.
    pub fn append_only(mut self, fsync: Fsync) -> Self {
        self.append_only = Some(fsync);
        self
    }

    /// Listens on a socket in the server's directory as well: [`RedisServer::socket_path`].
    pub fn unix_socket(mut self) -> Self {
        self.unix_socket = true;
        self
    }

    /// Adds arguments of the server: `.args(["--maxmemory-policy", "allkeys-lru"])`.
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Watches over servers instead of being one.
    pub(crate) fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    /// Can be a node of a cluster, and is one with nothing and nobody else yet.
    pub(crate) fn node(mut self) -> Self {
        self.node = true;
        self
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`].
    pub fn start(self) -> RedisServer {
        RedisServer::open(self)
    }

    pub(super) fn persistence(&self) -> [&'static str; 4] {
        match self.append_only {
            None => ["--appendonly", "no", "--appendfsync", "no"],
            Some(Fsync::Always) => ["--appendonly", "yes", "--appendfsync", "always"],
            Some(Fsync::EverySecond) => ["--appendonly", "yes", "--appendfsync", "everysec"],
        }
    }
}
