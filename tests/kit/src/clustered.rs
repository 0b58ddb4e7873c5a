//! A cluster: three masters, and a replica of each.

use std::thread;
use std::time::{Duration, Instant};

use crate::{Certificates, RedisServer, Reply};

/// How many masters there are.
const MASTERS: usize = 3;

/// How many slots there are.
const SLOTS: usize = 16_384;

/// How long the nodes may take to find each other, or to agree on something.
const PATIENCE: Duration = Duration::from_secs(20);

/// Three masters with a third of the slots each, and a replica of each. A master that has not
/// answered for a second is down to the others, and its replica takes its place.
#[derive(Debug)]
pub struct Clustered {
    /// The masters as they began, then their replicas in the same order.
    nodes: Vec<RedisServer>,
}

impl Clustered {
    /// Starts the nodes, and waits until each knows all others and each replica follows its master.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`], or if they do not find each other within twenty seconds. The
    /// server must be of version 7.0 or later.
    pub fn start() -> Self {
        Self::with(None)
    }

    /// The same, where all is encrypted: [`Clustered::tls_url`].
    ///
    /// # Panics
    ///
    /// As [`Clustered::start`].
    pub fn by_tls(certificates: &Certificates) -> Self {
        Self::with(Some(certificates))
    }

    fn with(certificates: Option<&Certificates>) -> Self {
        let node = || {
            let options = RedisServer::options().node().all_by_tls(certificates);
            let options = options.args(["--cluster-node-timeout", "1000"]);
            let options = options.args(["--cluster-replica-validity-factor", "0"]);
            // A replica is named only once it has had something from its master.
            let options = options.args(["--repl-ping-replica-period", "1"]);
            options.args(["--repl-diskless-sync-delay", "0"]).start()
        };
        let nodes: Vec<_> = (0..2 * MASTERS).map(|_| node()).collect();
        let cluster = Self { nodes };
        let (masters, replicas) = cluster.nodes.split_at(MASTERS);
        for (place, master) in masters.iter().enumerate() {
            // Those who have the same epoch have to agree first on who changes it.
            done(master, &["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
            let first = (place * SLOTS / MASTERS).to_string();
            let last = ((place + 1) * SLOTS / MASTERS - 1).to_string();
            done(master, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        for node in &cluster.nodes[1..] {
            let port = node.port_among_servers().to_string();
            let bus = node.bus_port().to_string();
            done(&cluster.nodes[0], &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let known = |node: &RedisServer| info(node, "cluster_known_nodes");
        let all = cluster.nodes.len().to_string();
        until("the nodes know each other", || cluster.nodes.iter().all(|node| known(node) == all));
        for (master, replica) in masters.iter().zip(replicas) {
            done(replica, &["CLUSTER", "REPLICATE", &id(master)]);
        }
        until("the cluster is up", || {
            let is_up = |node: &RedisServer| info(node, "cluster_state") == "ok";
            let follows = |node: &RedisServer| {
                node.info("replication").get("master_link_status").is_some_and(|is| is == "up")
            };
            let shows_all = |node: &RedisServer| {
                let ranges = node.call(&["CLUSTER", "SLOTS"]);
                ranges.array().iter().all(|range| range.array().len() == 4)
            };
            cluster.nodes.iter().all(|node| is_up(node) && shows_all(node))
                && replicas.iter().all(follows)
        });
        cluster
    }

    /// The URL by which it is found: `redis-cluster://127.0.0.1:PORT,…`, of the first masters.
    pub fn url(&self) -> String {
        let seeds = self.nodes[..MASTERS].iter().map(|node| node.address().to_string());
        format!("redis-cluster://{}", seeds.collect::<Vec<_>>().join(","))
    }

    /// The same, for connections by TLS: `rediss-cluster://127.0.0.1:PORT,…`.
    ///
    /// # Panics
    ///
    /// If it was not started [by TLS](Clustered::by_tls).
    pub fn tls_url(&self) -> String {
        let seeds =
            self.nodes[..MASTERS].iter().map(|node| node.tls_url().replace("rediss://", ""));
        format!("rediss-cluster://{}", seeds.collect::<Vec<_>>().join(","))
    }

    /// All nodes: the masters as they began, then their replicas in the same order.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The node that has the slot of a key, as the first of the others says that lives; `but` is not
    /// asked.
    ///
    /// # Panics
    ///
    /// If nobody has it.
    pub fn master_of(&self, key: &str, but: Option<&RedisServer>) -> &RedisServer {
        self.find_master(key, but).expect("somebody has the slot")
    }

    fn find_master(&self, key: &str, but: Option<&RedisServer>) -> Option<&RedisServer> {
        let is_but = |node: &RedisServer| but.is_some_and(|but| but.port() == node.port());
        let asked = self.nodes.iter().find(|node| !is_but(node)).expect("there are six");
        let slot = self.slot_of(key);
        let ranges = asked.call(&["CLUSTER", "SLOTS"]);
        let ranges = ranges.array();
        let has = |range: &&Reply| {
            let range = range.array();
            (range[0].int()..=range[1].int()).contains(&i64::from(slot))
        };
        // While one takes another's place, nobody may have it.
        let range = ranges.iter().find(has)?.array();
        let port = range[2].array()[1].int();
        let is_it = |node: &&RedisServer| i64::from(node.port()) == port;
        self.nodes.iter().find(is_it)
    }

    /// The slot of a key.
    pub fn slot_of(&self, key: &str) -> u16 {
        let answered = |node: &RedisServer| node.call(&["CLUSTER", "KEYSLOT", key]).int();
        u16::try_from(answered(&self.nodes[self.nodes.len() - 1])).expect("a slot is small")
    }

    /// Begins to move the slot of a key to another master: its keys can be moved, and nobody can
    /// use several of them at once.
    pub fn begin_move(&self, key: &str, from: &RedisServer, to: &RedisServer) {
        let slot = self.slot_of(key).to_string();
        done(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        done(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
    }

    /// Moves keys of the slot, all but the last so many.
    pub fn move_keys(&self, key: &str, from: &RedisServer, to: &RedisServer, leave: usize) {
        let slot = self.slot_of(key).to_string();
        let keys = from.call(&["CLUSTER", "GETKEYSINSLOT", &slot, "100000"]);
        let keys: Vec<_> = keys.array().iter().map(Reply::text).collect();
        let port = to.port().to_string();
        for key in &keys[..keys.len().saturating_sub(leave)] {
            done(from, &["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        }
    }

    /// Moves what is left of the slot of a key, and lets all know who has it.
    pub fn end_move(&self, key: &str, from: &RedisServer, to: &RedisServer) {
        self.move_keys(key, from, to, 0);
        let slot = self.slot_of(key).to_string();
        for node in [to, from] {
            done(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &id(to)]);
        }
    }

    /// Waits until another node than this has the slot of a key.
    ///
    /// # Panics
    ///
    /// If that takes longer than twenty seconds.
    pub fn until_replaced(&self, key: &str, master: &RedisServer) {
        until("another master", || {
            let now = self.find_master(key, Some(master));
            now.is_some_and(|now| now.port() != master.port())
        });
    }
}

fn id(node: &RedisServer) -> String {
    node.call(&["CLUSTER", "MYID"]).text()
}

fn info(node: &RedisServer, field: &str) -> String {
    let told = node.call(&["CLUSTER", "INFO"]).text();
    let told = told.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    told.unwrap_or_default().to_owned()
}

#[track_caller]
fn done(node: &RedisServer, command: &[&str]) {
    let reply = node.call(command);
    assert!(!matches!(reply, Reply::Error(_)), "{command:?} on {}: {reply:?}", node.url());
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
