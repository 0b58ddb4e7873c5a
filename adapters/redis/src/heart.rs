//! Renewing leases, on connections of its own: a busy or stuck one costs no lease.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::Value;
use redis::aio::MultiplexedConnection;
use shiftwork_adapter::{AdapterError, Beat, BeatReply, Effect, Heart, Result};
use tokio::time::timeout;

use crate::envelope::millis;
use crate::fault::{Fault, What};
use crate::reply::Reply;
use crate::script;
use crate::sent::Sent;
use crate::server::Node;
use crate::store::Store;

const OPERATION: &str = "beat";

/// A way to renew leases. One that failed is replaced by whoever has it.
pub(crate) struct RedisHeart {
    store: Arc<Store>,
    /// To each server that it needs.
    connections: HashMap<Node, MultiplexedConnection>,
}

impl RedisHeart {
    pub(crate) async fn connect(store: Arc<Store>) -> Result<Self> {
        let operation = "heart";
        store.check_open(operation)?;
        let mut connections = HashMap::new();
        if store.server.cluster().is_some() {
            // To the nodes that it needs, once it needs them.
            store.links.known(operation).await?;
        } else {
            let opened = store.server.open(&Node::Only, |_| {}).await;
            let told = |fault| told(&store, &Node::Only, operation, fault, Effect::None);
            connections.insert(Node::Only, opened.map_err(told)?.0);
        }
        Ok(Self { store, connections })
    }
}

#[async_trait]
impl Heart for RedisHeart {
    async fn beat(&mut self, beats: &[Beat]) -> Result<Vec<BeatReply>> {
        self.store.check_open(OPERATION)?;
        let mut nodes: HashMap<Option<Node>, Vec<usize>> = HashMap::new();
        for (place, beat) in beats.iter().enumerate() {
            let node = self.store.links.node(self.store.queue(&beat.queue).slot);
            nodes.entry(node).or_default().push(place);
        }
        let beating = nodes.into_iter().map(|(node, places)| {
            let connection = node.as_ref().and_then(|node| self.connections.remove(node));
            let beats = places.iter().map(|place| &beats[*place]).collect::<Vec<_>>();
            let store = &self.store;
            async move {
                let answer = beat(store, node.as_ref(), connection, &beats).await;
                (node, places, answer)
            }
        });
        let mut replies: Vec<Option<Result<BeatReply>>> = beats.iter().map(|_| None).collect();
        for (node, places, (connection, answers)) in join_all(beating).await {
            self.connections.extend(node.zip(connection));
            for (place, answer) in places.into_iter().zip(answers) {
                replies[place] = Some(answer);
            }
        }
        let answered = |reply: &Option<Result<BeatReply>>| matches!(reply, Some(Ok(_)));
        let is_any = replies.iter().any(answered);
        let replies = replies.into_iter().map(|reply| match reply {
            Some(Err(error)) if is_any => Ok(BeatReply::Unanswered { why: error.to_string() }),
            Some(reply) => reply,
            None => Ok(BeatReply::Unanswered { why: "there was no answer".into() }),
        });
        replies.collect()
    }
}

/// Renews leases of queues that one server has, each by itself: while the slot of one is moved, the
/// others are told all the same. Hands the connection back, if it is good for more.
async fn beat(
    store: &Store,
    node: Option<&Node>,
    connection: Option<MultiplexedConnection>,
    beats: &[&Beat],
) -> (Option<MultiplexedConnection>, Vec<Result<BeatReply>>) {
    let all = |error: AdapterError| beats.iter().map(|_| Err(error.clone())).collect();
    let Some(node) = node else {
        let fault = Fault::new(What::Unready, "no node of the cluster is known to have the queue");
        return (None, all(told(store, &Node::Only, OPERATION, fault, Effect::None)));
    };
    let renewing = async {
        let connection = match connection {
            Some(connection) => connection,
            None => store.server.open(node, |_| {}).await?.0,
        };
        let answers = beats.iter().map(|beat| renew(store, connection.clone(), beat));
        Ok((join_all(answers).await, connection))
    };
    // Who asks waits for all together, and is to be told of those that answer.
    let is_one_of_many = store.server.cluster().is_some();
    let patience = store.settings.lease / if is_one_of_many { HASTE } else { 1 };
    let renewed = match timeout(patience, renewing).await {
        Ok(renewed) => renewed,
        Err(_) => Err(Fault::new(What::Silent, "no answer in time")),
    };
    // A renewal that may have happened does no harm.
    let told = |fault| told(store, node, OPERATION, fault, Effect::Unknown);
    match renewed {
        Err(fault) => (None, all(told(fault))),
        Ok((answers, connection)) => {
            let faults = || answers.iter().filter_map(|answer| answer.as_ref().err());
            // The next beat goes where the queue is.
            faults().for_each(|fault| store.links.moved(fault, node));
            let is_good = faults().all(|fault| matches!(fault.what, What::Moved | What::Busy));
            let replies = answers.into_iter().map(|answer| read(OPERATION, answer.map_err(told)?));
            (is_good.then_some(connection), replies.collect())
        }
    }
}

async fn renew(
    store: &Store,
    mut connection: MultiplexedConnection,
    beat: &Beat,
) -> Result<Value, Fault> {
    let keys = &store.queue(&beat.queue).keys;
    let mut cmd = script::BEAT.call(keys, &keys.of(beat.incarnation));
    cmd.arg(beat.incarnation.to_string()).arg(millis(store.settings.lease));
    let sent = Sent::one(&cmd);
    let mut answer = sent.on(&mut connection).await;
    if answer.as_ref().is_err_and(|fault| fault.what == What::NoScript) {
        // The server has lost its scripts.
        answer = sent.with_sources().on(&mut connection).await;
    }
    Ok(answer?.pop().unwrap_or_default())
}

/// A server has this part of a lease to answer a beat, where others are asked at the same time.
const HASTE: u32 = 8;

fn read(operation: &'static str, answer: Value) -> Result<BeatReply> {
    let mut reply = Reply::new(operation, answer);
    match reply.text()?.as_str() {
        "ok" => Ok(BeatReply::Renewed { cancelled: reply.list()?.rest(Reply::id)? }),
        "expired" => Ok(BeatReply::Expired),
        unknown => Err(reply.unknown(unknown)),
    }
}

fn told(
    store: &Store,
    node: &Node,
    operation: &'static str,
    fault: Fault,
    effect: Effect,
) -> AdapterError {
    fault.into_error(operation, effect).with_context("server", store.server.shown(node))
}
