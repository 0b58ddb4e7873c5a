//! Renewing leases, on a connection of its own: a busy or stuck one costs no lease.

use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;
use redis::aio::MultiplexedConnection;
use shiftwork_adapter::{AdapterError, Beat, BeatReply, Effect, Heart, Result};

use crate::envelope::millis;
use crate::fault::{Fault, What};
use crate::reply::Reply;
use crate::script;
use crate::sent::Sent;
use crate::server::Node;
use crate::store::Store;

/// A way to renew leases. One that failed is replaced by whoever has it.
pub(crate) struct RedisHeart {
    store: Arc<Store>,
    connection: MultiplexedConnection,
}

impl RedisHeart {
    pub(crate) async fn connect(store: Arc<Store>) -> Result<Self> {
        let operation = "heart";
        store.check_open(operation)?;
        let opened = store.server.open(&Node::Only, |_| {}).await;
        let connection = opened.map_err(|fault| told(&store, operation, fault, Effect::None))?;
        Ok(Self { store, connection })
    }
}

#[async_trait]
impl Heart for RedisHeart {
    async fn beat(&mut self, beats: &[Beat]) -> Result<Vec<BeatReply>> {
        let operation = "beat";
        self.store.check_open(operation)?;
        if beats.is_empty() {
            return Ok(Vec::new());
        }
        let beat = |beat: &Beat| {
            let keys = &self.store.queue(&beat.queue).keys;
            let mut cmd = script::BEAT.call(keys, &keys.of(beat.incarnation));
            cmd.arg(beat.incarnation.to_string()).arg(millis(self.store.settings.lease));
            cmd
        };
        let sent = Sent::many(beats.iter().map(beat).collect());
        let answers = match sent.on(&mut self.connection).await {
            // The server has lost its scripts.
            Err(fault) if fault.what == What::NoScript => {
                sent.with_sources().on(&mut self.connection).await
            }
            answers => answers,
        };
        // A renewal that may have happened does no harm.
        let told = |fault| told(&self.store, operation, fault, Effect::Unknown);
        let answers = answers.map_err(told)?;
        answers.into_iter().map(|answer| read(operation, answer)).collect()
    }
}

fn read(operation: &'static str, answer: Value) -> Result<BeatReply> {
    let mut reply = Reply::new(operation, answer);
    match reply.text()?.as_str() {
        "ok" => Ok(BeatReply::Renewed { cancelled: reply.list()?.rest(Reply::id)? }),
        "expired" => Ok(BeatReply::Expired),
        unknown => Err(reply.unknown(unknown)),
    }
}

fn told(store: &Store, operation: &'static str, fault: Fault, effect: Effect) -> AdapterError {
    fault.into_error(operation, effect).with_context("server", &store.server)
}
