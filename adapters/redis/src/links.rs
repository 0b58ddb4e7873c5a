//! The connections that all but the hearts share: which of them a command goes to, and again where
//! no answer comes.
//!
//! A command waits for the connection to the server that has its part of the store, is sent, and,
//! where its answer does not come, is sent again on the next one, or to the server that has that
//! part by then; all within the connect timeout. That is safe, since every script knows a resend
//! for what it is. What a caller is told at the end says whether the command can have had its
//! effect: it can where it was written to a connection that then broke.
//!
//! A queue is in one part of the store, and what is sent to it waits for that one alone: the
//! trouble of a server is that of its queues, not of the others.
//!
//! **Never** a blocking command: what the server pops for a connection that is gone is gone too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, Value};
use shiftwork_adapter::{AdapterError, Effect, ErrorKind, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use crate::fault::{Fault, What};
use crate::link::{Link, Owner, PAUSES, Ready, State, Subscription};
use crate::sent::Sent;
use crate::server::{Node, Server};
use crate::slot::Slot;

tokio::task_local! {
    /// Until when the commands of one call may take.
    static DEADLINE: Instant;
}

/// The connections to a store. Dropped, they end.
pub(crate) struct Links(Arc<Shared>);

struct Shared {
    server: Arc<Server>,
    /// How long one call may take in all.
    patience: Duration,
    map: watch::Sender<Arc<Map>>,
    listener: Arc<dyn Listener>,
    epochs: AtomicU64,
    closed: AtomicBool,
}

/// Who hears what the servers push, and when some of it is lost.
pub(crate) trait Listener: Send + Sync + 'static {
    /// A message came.
    fn message(&self, channel: &[u8], payload: &[u8]);

    /// Whatever was pushed of these parts of the store may be lost.
    fn missed(&self, parts: &dyn Fn(Slot) -> bool);
}

/// Which server has which part of the store.
#[derive(Default)]
pub(crate) struct Map {
    /// Each once.
    links: Vec<Arc<Link>>,
}

impl Map {
    fn link(&self, _: Slot) -> Option<&Arc<Link>> {
        self.links.first()
    }
}

/// Where a command goes.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The part of the store that its keys are in.
    pub(crate) slot: Slot,
    /// What this process must hear from then on.
    pub(crate) hears: Option<&'a Subscription>,
}

impl Links {
    /// Starts connecting. Needs a tokio runtime, on which the supervisors live.
    pub(crate) fn new(
        server: Arc<Server>,
        patience: Duration,
        listener: Arc<dyn Listener>,
    ) -> Self {
        let shared = Arc::new(Shared {
            server,
            patience,
            map: watch::channel(Arc::default()).0,
            listener,
            epochs: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let link = shared.clone().link_to(Node::Only);
        shared.map.send_replace(Arc::new(Map { links: vec![link] }));
        Self(shared)
    }

    /// Lets all commands that `call` sends take no longer together than one may.
    pub(crate) async fn as_one<T>(&self, call: impl Future<Output = T>) -> T {
        DEADLINE.scope(self.deadline(), call).await
    }

    /// Until when a call that is made now may take.
    pub(crate) fn deadline(&self) -> Instant {
        let until = DEADLINE.try_with(|deadline| *deadline);
        until.unwrap_or_else(|_| Instant::now() + self.0.patience)
    }

    /// Sends a command until it is answered, for at most the connect timeout.
    pub(crate) async fn call(
        &self,
        operation: &'static str,
        target: Target<'_>,
        cmd: &Cmd,
    ) -> Result<Value> {
        self.call_until(operation, target, cmd, self.deadline()).await
    }

    /// The same, for at most until then.
    pub(crate) async fn call_until(
        &self,
        operation: &'static str,
        target: Target<'_>,
        cmd: &Cmd,
        deadline: Instant,
    ) -> Result<Value> {
        let mut values = self.0.send(operation, target, Sent::one(cmd), deadline).await?;
        values.pop().ok_or_else(|| missing(operation))
    }

    /// Sends commands together, in this order, until all are answered. They are not one step.
    pub(crate) async fn call_all(
        &self,
        operation: &'static str,
        target: Target<'_>,
        commands: Vec<Cmd>,
    ) -> Result<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let count = commands.len();
        let sent = Sent::many(commands);
        let values = self.0.send(operation, target, sent, self.deadline()).await?;
        if values.len() == count { Ok(values) } else { Err(missing(operation)) }
    }

    /// Waits until there is a connection, but not longer than until then.
    pub(crate) async fn ready(
        &self,
        operation: &'static str,
        slot: Slot,
        deadline: Instant,
    ) -> Result<()> {
        self.0.ready(operation, slot, deadline, Effect::None).await.map(drop)
    }

    /// What to tell of a call whose time is over, as far as that is known.
    pub(crate) fn out_of_time(
        &self,
        operation: &'static str,
        slot: Slot,
        effect: Effect,
    ) -> AdapterError {
        let link = self.0.map().link(slot).cloned();
        let fault = match link.as_ref().map(|link| link.state()) {
            Some(State::Connecting(Some(fault)) | State::Refused(fault)) => fault,
            Some(State::Ready(_) | State::Closed) => Fault::new(What::Silent, "no answer in time"),
            Some(State::Connecting(None)) | None => no_connection(),
        };
        self.0.error(link.as_deref(), fault, operation, effect)
    }

    /// Which connection leads to a part of the store, of all that there ever were, from 1 on; 0:
    /// there is none now.
    pub(crate) fn epoch(&self, slot: Slot) -> u64 {
        let map = self.0.map();
        map.link(slot).and_then(|link| link.connection()).map_or(0, |ready| ready.epoch)
    }

    /// Whether they were closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// Ends them; whoever waits for one is told.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        // They have a reference to this, as this has to them.
        let map = self.0.map.send_replace(Arc::default());
        map.links.iter().for_each(|link| link.close());
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn map(&self) -> Arc<Map> {
        self.map.borrow().clone()
    }

    fn link_to(self: Arc<Self>, node: Node) -> Arc<Link> {
        Arc::new(Link::new(self.server.clone(), node, self.patience, self.clone()))
    }

    async fn send(
        &self,
        operation: &'static str,
        target: Target<'_>,
        mut sent: Sent<'_>,
        deadline: Instant,
    ) -> Result<Vec<Value>> {
        // Whether it can have been executed by now.
        let mut effect = Effect::None;
        let mut pause = PAUSES.0;
        loop {
            let (link, mut ready) = self.ready(operation, target.slot, deadline, effect).await?;
            let answer = timeout_at(deadline, link.send(&mut ready, target.hears, &sent)).await;
            let fault = match answer {
                Ok(Ok(values)) => return Ok(values),
                Ok(Err(fault)) => fault,
                // Which says nothing of the connection: it may have come about just now.
                Err(_) => {
                    let fault = Fault::new(What::Silent, "no answer in the time that was left");
                    return Err(self.error(Some(&link), fault, operation, Effect::Unknown));
                }
            };
            // Of several, some may have been executed before the one that was refused. A script
            // that is full or on a replica is stopped at its first write, by other faults anywhere.
            let in_part = fault.midway && !fault.is_away() && fault.what != What::Full;
            if sent.is_several() || in_part {
                effect = Effect::Unknown;
            }
            match fault.what {
                What::Broken | What::Silent => {
                    effect = Effect::Unknown;
                    link.give_up(ready.epoch, &fault);
                }
                What::Unready => link.give_up(ready.epoch, &fault),
                What::NoScript => {
                    debug!(server = link.shown(), "the server has lost its scripts");
                    sent = sent.with_sources();
                }
                What::Busy | What::Moved => {
                    sleep_until(deadline.min(Instant::now() + pause)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                What::Corrupt => {
                    return Err(self.error(Some(&link), fault, operation, Effect::Unknown));
                }
                What::Full | What::Denied | What::Invalid => {
                    return Err(self.error(Some(&link), fault, operation, effect));
                }
            }
            if Instant::now() >= deadline {
                return Err(self.error(Some(&link), fault, operation, effect));
            }
        }
    }

    /// The connection to a part of the store, as soon as there is one.
    async fn ready(
        &self,
        operation: &'static str,
        slot: Slot,
        deadline: Instant,
        effect: Effect,
    ) -> Result<(Arc<Link>, Ready)> {
        if let Some(link) = self.map.borrow().link(slot)
            && let Some(ready) = link.connection()
        {
            return Ok((link.clone(), ready));
        }
        let mut map = self.map.subscribe();
        loop {
            let current = map.borrow_and_update().clone();
            if self.closed.load(Ordering::SeqCst) {
                let message = "the connection to the store was shut down";
                let error = AdapterError::new(ErrorKind::Closed, operation, message);
                return Err(error.with_effect(effect));
            }
            let link = current.link(slot);
            if let Some(link) = link
                && let Some(ready) = link.connection()
            {
                return Ok((link.clone(), ready));
            }
            let settled = async {
                match link {
                    Some(link) => link.settled(deadline).await,
                    None => {
                        sleep_until(deadline).await;
                        State::Connecting(None)
                    }
                }
            };
            let state = tokio::select! {
                state = settled => state,
                // Another server may have it now.
                Ok(()) = map.changed() => continue,
            };
            let fault = match state {
                State::Ready(_) | State::Closed => continue,
                State::Refused(fault) => fault,
                State::Connecting(why) => why.unwrap_or_else(no_connection),
            };
            return Err(self.error(link.map(|link| &**link), fault, operation, effect));
        }
    }

    fn error(
        &self,
        link: Option<&Link>,
        mut fault: Fault,
        operation: &'static str,
        effect: Effect,
    ) -> AdapterError {
        if fault.is_away() {
            let patience = self.patience;
            fault.message = format!(
                "redis could not do it within {patience:?} (JOBS_CONNECT_TIMEOUT): {}",
                fault.message
            );
        }
        let error = fault.into_error(operation, effect);
        match link {
            Some(link) => error.with_context("server", link.shown()),
            None => error.with_context("server", &self.server),
        }
    }
}

impl Owner for Shared {
    fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn has(&self, node: &Node, slot: Slot) -> bool {
        self.map().link(slot).is_none_or(|link| link.node() == node)
    }

    fn message(&self, channel: &[u8], payload: &[u8]) {
        self.listener.message(channel, payload);
    }

    fn connected(&self, node: &Node) {
        self.listener.missed(&|slot| self.has(node, slot));
    }

    fn troubled(&self, _: &Node) {}
}

fn no_connection() -> Fault {
    Fault::new(What::Silent, "no connection came about")
}

fn missing(operation: &'static str) -> AdapterError {
    AdapterError::new(ErrorKind::Internal, operation, "an answer of the store is missing")
}
