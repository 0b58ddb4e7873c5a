//! Cluster: which of its nodes has which slots, as the nodes say.
//!
//! They are asked at the start, and whenever a connection is in trouble or a node says that it no
//! longer has a slot. A process keeps one connection to each node that has slots, and knows by
//! itself where a queue is: what is asked of a cluster client, and of which this adapter has need
//! to know more than one tells, such as on which node a subscription is.

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, ConnectionInfo, FromRedisValue, Value};

use crate::asking::ask_all;
use crate::fault::{Fault, What};
use crate::sent::good;
use crate::server::Node;
use crate::slot::SLOTS;
use crate::tls::Tls;
use crate::url::{Several, at};

const FORM: &str = "redis-cluster://user:password@node:6379,node:6379";

/// How many nodes are asked at once, beside those of the URL.
const ASKED: usize = 5;

/// Nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Those that the URL names.
    seeds: Vec<ConnectionInfo>,
    /// The URL, without user and password.
    shown: String,
    /// Those of which they spoke last.
    known: Mutex<Vec<(String, u16)>>,
}

/// Which node has what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Grows with each change.
    epoch: u64,
    pub(crate) parts: Vec<(RangeInclusive<u16>, Node)>,
    /// All of whom it speaks, replicas too.
    nodes: Vec<(String, u16)>,
}

impl Cluster {
    /// # Errors
    /// What a URL of a cluster looks like, or what brings it.
    pub(crate) fn read(url: &Several<'_>) -> Result<Self, String> {
        if !cfg!(feature = "cluster") {
            let why = "this program was built without Cluster; build it with the feature cluster \
                       of shiftwork, or use the URL of a server";
            return Err(why.into());
        }
        if !["", "0"].contains(&url.path) || !url.query.is_empty() {
            return Err(format!("a cluster has one database, 0, and no options; use {FORM}"));
        }
        let seeds = url.hosts.iter().map(|host| url.info(&url.user, host, ""));
        let seeds = seeds.collect::<Option<Vec<_>>>().ok_or_else(|| format!("use {FORM}"))?;
        let shown = format!("{}-cluster://{}", url.scheme, url.hosts.join(","));
        Ok(Self { seeds, shown, known: Mutex::default() })
    }

    /// How to connect to a node, but for its address.
    pub(crate) fn node(&self) -> &ConnectionInfo {
        &self.seeds[0]
    }

    /// How to connect to this one.
    pub(crate) fn node_at(&self, host: &str, port: u16) -> ConnectionInfo {
        at(self.node(), host.to_owned(), port)
    }

    /// Without user and password.
    pub(crate) fn shown(&self) -> String {
        self.shown.clone()
    }

    /// What the nodes say now.
    pub(crate) async fn view(&self, tls: Option<&Tls>, patience: Duration) -> Result<View, Fault> {
        let view = ask_all(self.asked(), tls, patience, ask, |view: &View| view.epoch).await?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = view.nodes.clone();
        Ok(view)
    }

    /// Whom to ask: those of the URL, and some of those that are known.
    fn asked(&self) -> Vec<ConnectionInfo> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_no_seed = |(host, port): &(String, u16)| {
            self.seeds.iter().all(|seed| address(seed) != Some((host, *port)))
        };
        known.retain(is_no_seed);
        fastrand::shuffle(&mut known);
        let known = known.iter().take(ASKED).map(|(host, port)| self.node_at(host, *port));
        self.seeds.iter().cloned().chain(known).collect()
    }
}

fn address(info: &ConnectionInfo) -> Option<(&str, u16)> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host, *port))
        }
        _ => None,
    }
}

async fn ask(info: ConnectionInfo, mut connection: MultiplexedConnection) -> Result<View, Fault> {
    let mut questions = redis::pipe();
    questions.cmd("CLUSTER").arg("SLOTS").cmd("CLUSTER").arg("INFO");
    let answers = connection.send_packed_commands(&questions, 0, 2).await?;
    let mut answers = answers.into_iter().map(good);
    let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
    let slots = next().map_err(|fault| {
        if fault.message.contains("cluster support disabled") {
            let message = "the server is no node of a cluster; set JOBS_REDIS_URL to redis:// \
                           instead of redis-cluster://";
            return Fault::new(What::Invalid, message);
        }
        fault
    })?;
    // Who may not ask for it takes the first view there is.
    let told = next().ok().and_then(|info| String::from_redis_value(info).ok());
    let epoch = told.as_deref().and_then(epoch).unwrap_or(0);
    let asked = address(&info).unwrap_or_default();
    let view = read(&slots, epoch, asked.0);
    view.ok_or_else(|| Fault::new(What::Corrupt, "CLUSTER SLOTS was answered in another form"))
}

fn epoch(info: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"))?;
    line.trim().parse().ok()
}

/// Reads an answer of `CLUSTER SLOTS` that `asked` gave.
fn read(answer: &Value, epoch: u64, asked: &str) -> Option<View> {
    let Value::Array(ranges) = answer else { return None };
    let (mut parts, mut nodes) = (Vec::new(), Vec::new());
    for range in ranges {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), of @ ..] = &range[..] else { return None };
        let range = u16::try_from(*first).ok()?..=u16::try_from(*last).ok()?;
        if *range.end() >= SLOTS {
            return None;
        }
        let mut of = of.iter().map(|node| read_node(node, asked));
        // The first is the one that has them; without an address, it is one that nobody knows yet.
        if let Some((host, port)) = of.next()?? {
            nodes.push((host.clone(), port));
            parts.push((range, Node::At(host, port)));
        }
        nodes.extend(of.flatten().flatten());
    }
    nodes.sort();
    nodes.dedup();
    Some(View { epoch, parts, nodes })
}

/// The address of a node; of one that names none, where it was asked.
fn read_node(node: &Value, asked: &str) -> Option<Option<(String, u16)>> {
    let Value::Array(node) = node else { return None };
    let [host, Value::Int(port), ..] = &node[..] else { return None };
    let host = match host {
        Value::Nil => String::new(),
        host => String::from_redis_value_ref(host).ok()?,
    };
    let port = u16::try_from(*port).ok()?;
    Some(match &*host {
        "?" => None,
        "" => Some((asked.to_owned(), port)),
        _ => Some((host, port)),
    })
}

#[cfg(all(test, feature = "cluster"))]
mod tests {
    use super::*;
    use crate::url::Named;

    fn cluster(url: &str) -> Result<Cluster, String> {
        match Named::read(url)? {
            Named::Cluster(cluster) => Ok(cluster),
            other => panic!("{url} is {other:?}"),
        }
    }

    #[test]
    fn a_url_of_a_cluster_is_read_and_shown_without_what_is_secret() {
        let read = cluster("redis-cluster://me:hunter2@a:1,b,[::1]:3/0").unwrap();
        assert_eq!(read.shown(), "redis-cluster://a:1,b:6379,[::1]:3");
        let node = read.node_at("c", 4);
        assert_eq!(address(&node), Some(("c", 4)));
        assert_eq!(node.redis_settings().password(), Some("hunter2"));
    }

    #[test]
    fn one_that_will_not_do_is_refused_with_what_to_use() {
        for url in ["redis-cluster://me:hunter2@a:1/2", "redis-cluster://a?b=c", "redis-cluster://"]
        {
            let told = cluster(url).unwrap_err();
            assert!(told.contains(FORM) && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn what_nodes_say_of_their_slots_is_read() {
        let node = |host: Value, port| {
            Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())])
        };
        let text = |text: &str| Value::BulkString(text.into());
        let range = |first, last, nodes: Vec<Value>| {
            Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
        };
        let at = |host: &str, port| Node::At(host.to_owned(), port);
        let answer = Value::Array(vec![
            range(0, 99, vec![node(text("a"), 1), node(text("b"), 2)]),
            range(100, 100, vec![node(Value::Nil, 3), node(text("?"), 4)]),
            range(101, 16_383, vec![node(text("?"), 5)]),
        ]);
        let view = read(&answer, 7, "asked").unwrap();
        assert_eq!(view.parts, [(0..=99, at("a", 1)), (100..=100, at("asked", 3))]);
        let nodes = [("a", 1), ("asked", 3), ("b", 2)].map(|(host, port)| (host.to_owned(), port));
        assert_eq!(view.nodes, nodes);
        assert!(read(&Value::Array(vec![range(0, 16_384, vec![])]), 7, "asked").is_none());
        assert_eq!(epoch("cluster_state:ok\r\ncluster_current_epoch:12\r\n"), Some(12));
    }
}
