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

#![expect(clippy::disallowed_methods, reason = "it pauses before it asks a server again")]

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, Value};
use shiftwork_adapter::{AdapterError, Effect, ErrorKind, Result, ServerHealth, ServerState};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::debug;

use crate::cluster::View;
use crate::fault::{Fault, What};
use crate::link::{Link, Owner, PAUSES, Ready, State, Subscription, Troubles};
use crate::sent::Sent;
use crate::server::{Node, Server};
use crate::slot::{SLOTS, Slot};

/// How long to leave the nodes of a cluster alone after they were asked where its slots are.
const NOT_SOONER: Duration = Duration::from_millis(100);

/// How soon to ask them again while one is away.
const SOON: Duration = Duration::from_millis(400);

tokio::task_local! {
    /// Until when the commands of one call may take.
    static DEADLINE: Instant;
}

/// The connections to a store. Dropped, they end.
pub(crate) struct Links {
    shared: Arc<Shared>,
    /// Follows what the nodes of a cluster say.
    follower: Option<JoinHandle<()>>,
}

struct Shared {
    server: Arc<Server>,
    purpose: &'static str,
    /// How long one call may take in all.
    patience: Duration,
    map: watch::Sender<Arc<Map>>,
    listener: Arc<dyn Listener>,
    epochs: AtomicU64,
    closed: AtomicBool,
    /// Another server may have what one had.
    trouble: Notify,
    began: Instant,
}

/// Who hears what the servers push, and when some of it is lost.
pub(crate) trait Listener: Send + Sync + 'static {
    /// A message came.
    fn message(&self, channel: &[u8], payload: &[u8]);

    /// Whatever was pushed of these parts of the store may be lost.
    fn missed(&self, parts: &dyn Fn(Slot) -> bool);
}

/// Which server has which part of the store.
#[derive(Clone, Default)]
struct Map {
    /// Each once.
    links: Vec<Arc<Link>>,
    /// By slot, which of them; empty: the first has all.
    table: Vec<u16>,
    /// Why there is none, if that is known.
    why: Option<Fault>,
}

/// In a table: nobody.
const NOBODY: u16 = u16::MAX;

impl Map {
    fn link(&self, slot: Slot) -> Option<&Arc<Link>> {
        match self.table.get(usize::from(slot.0)) {
            Some(place) => self.links.get(usize::from(*place)),
            None => self.links.first(),
        }
    }

    fn node(&self, slot: Slot) -> Option<&Node> {
        self.link(slot).map(|link| link.node())
    }

    /// What to tell of a slot that nobody has.
    fn missing(&self, slot: Slot) -> Fault {
        self.why.clone().unwrap_or_else(|| match self.links.len() {
            0 => no_connection(),
            _ => {
                let message = format!("no node of the cluster has the slot {}", slot.0);
                Fault::new(What::Unready, message)
            }
        })
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
    /// Starts connecting. Needs a tokio runtime, on which the supervisors live. `purpose` is told
    /// behind the names of servers.
    pub(crate) fn new(
        server: Arc<Server>,
        purpose: &'static str,
        patience: Duration,
        listener: Arc<dyn Listener>,
    ) -> Self {
        let shared = Arc::new(Shared {
            server,
            purpose,
            patience,
            map: watch::channel(Arc::default()).0,
            listener,
            epochs: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            trouble: Notify::new(),
            began: Instant::now(),
        });
        let follower = if shared.server.cluster().is_some() {
            Some(tokio::spawn(follow(shared.clone())))
        } else {
            let links = vec![shared.link_to(Node::Only)];
            shared.map.send_replace(Arc::new(Map { links, ..Map::default() }));
            None
        };
        Self { shared, follower }
    }

    /// Lets all commands that `call` sends take no longer together than one may.
    pub(crate) async fn as_one<T>(&self, call: impl Future<Output = T>) -> T {
        DEADLINE.scope(self.deadline(), call).await
    }

    /// Until when a call that is made now may take.
    pub(crate) fn deadline(&self) -> Instant {
        let until = DEADLINE.try_with(|deadline| *deadline);
        until.unwrap_or_else(|_| Instant::now() + self.shared.patience)
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
        let mut values = self.shared.send(operation, target, Sent::one(cmd), deadline).await?;
        values.pop().ok_or_else(|| missing(operation))
    }

    /// Sends a command until it is answered, and with it one that waits for replicas: how many
    /// have what the command did.
    pub(crate) async fn call_confirmed(
        &self,
        operation: &'static str,
        target: Target<'_>,
        cmd: &Cmd,
        wait: &Cmd,
        deadline: Instant,
    ) -> Result<(Value, usize)> {
        let sent = Sent::Confirmed(Cow::Borrowed(cmd), wait);
        let values = self.shared.send(operation, target, sent, deadline).await?;
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (Some(value), Some(Value::Int(count))) => {
                Ok((value, usize::try_from(count).unwrap_or(0)))
            }
            _ => Err(missing(operation)),
        }
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
        let values = self.shared.send(operation, target, sent, self.deadline()).await?;
        if values.len() == count { Ok(values) } else { Err(missing(operation)) }
    }

    /// Waits until there is a connection, but not longer than until then.
    pub(crate) async fn ready(
        &self,
        operation: &'static str,
        slot: Slot,
        deadline: Instant,
    ) -> Result<()> {
        self.shared.ready(operation, slot, deadline, Effect::None).await.map(drop)
    }

    /// Waits until it is known which servers there are, but not longer than a call may take.
    pub(crate) async fn known(&self, operation: &'static str) -> Result<()> {
        let mut map = self.shared.map.subscribe();
        let is_known = |map: &Arc<Map>| !map.links.is_empty();
        match timeout_at(self.deadline(), map.wait_for(is_known)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.out_of_time(operation, Slot(0), Effect::None)),
        }
    }

    /// What to tell of a call whose time is over, as far as that is known.
    pub(crate) fn out_of_time(
        &self,
        operation: &'static str,
        slot: Slot,
        effect: Effect,
    ) -> AdapterError {
        let map = self.shared.map();
        let link = map.link(slot);
        let fault = match link.map(|link| link.state()) {
            Some(State::Connecting(Some(fault)) | State::Refused(fault)) => fault,
            Some(State::Ready(_) | State::Closed) => Fault::new(What::Silent, "no answer in time"),
            Some(State::Connecting(None)) => no_connection(),
            None => map.missing(slot),
        };
        self.shared.error(link.map(|link| &**link), fault, operation, effect)
    }

    /// Why there is no connection to a part of the store now, where that is known.
    pub(crate) fn trouble(&self, operation: &'static str, slot: Slot) -> Option<AdapterError> {
        let map = self.shared.map();
        let link = map.link(slot)?;
        match link.state() {
            State::Connecting(Some(fault)) | State::Refused(fault) => {
                Some(self.shared.error(Some(link), fault, operation, Effect::None))
            }
            _ => None,
        }
    }

    /// Whether nothing is heard of a part of the store.
    pub(crate) fn is_deaf(&self, slot: Slot) -> bool {
        self.shared.map().link(slot).is_some_and(|link| link.is_deaf())
    }

    /// The server that has a part of the store, as far as that is known.
    pub(crate) fn node(&self, slot: Slot) -> Option<Node> {
        self.shared.map().node(slot).cloned()
    }

    /// A server has said that another has a part of the store.
    pub(crate) fn moved(&self, fault: &Fault, by: &Node) {
        self.shared.moved(fault, by);
    }

    /// Which connection leads to a part of the store, of all that there ever were, from 1 on; 0:
    /// there is none now.
    pub(crate) fn epoch(&self, slot: Slot) -> u64 {
        let map = self.shared.map();
        map.link(slot).and_then(|link| link.connection()).map_or(0, |ready| ready.epoch)
    }

    /// How each is.
    pub(crate) fn servers(&self) -> Vec<ServerHealth> {
        let map = self.shared.map();
        if map.links.is_empty() && !self.is_closed() {
            let state = match &map.why {
                Some(why) if !why.is_away() => ServerState::Refused { why: why.message.clone() },
                why => ServerState::Connecting { why: why.as_ref().map(|why| why.message.clone()) },
            };
            let since = self.shared.began.elapsed();
            return vec![ServerHealth::new(self.shared.server.to_string(), state, since)];
        }
        map.links.iter().filter_map(|link| link.health()).collect()
    }

    /// Whether they were closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }

    /// Ends them; whoever waits for one is told.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.follower.iter().for_each(JoinHandle::abort);
        // They have a reference to this, as this has to them.
        let map = self.shared.map.send_replace(Arc::default());
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

    fn link_to(self: &Arc<Self>, node: Node) -> Arc<Link> {
        Arc::new(Link::new(self.server.clone(), node, self.purpose, self.patience, self.clone()))
    }

    async fn send(
        self: &Arc<Self>,
        operation: &'static str,
        target: Target<'_>,
        sent: Sent<'_>,
        deadline: Instant,
    ) -> Result<Vec<Value>> {
        // Whether it can have been executed by now.
        let mut effect = Effect::None;
        let mut pause = PAUSES.0;
        let (mut has_moved, mut with_sources) = (false, false);
        loop {
            let (link, mut ready) = self.ready(operation, target.slot, deadline, effect).await?;
            let mut is_sent = false;
            let heard_on = target.hears.map_or(0, Subscription::heard_on);
            let sending = async {
                link.hear(&mut ready, target.hears).await?;
                if let Some(hears) = target.hears.filter(|now| now.heard_on() != heard_on) {
                    let map = self.map();
                    map.links.iter().for_each(|link| link.forget(heard_on, &hears.channel));
                }
                is_sent = true;
                link.send(&mut ready, &sent, with_sources).await
            };
            let answer = timeout_at(deadline, sending).await;
            let epoch = ready.epoch;
            let fault = match answer {
                Ok(Ok(values)) => return Ok(values),
                Ok(Err(fault)) => fault,
                // Which says nothing of the connection: it may have come about just now.
                Err(_) => {
                    let fault = Fault::new(What::Silent, "no answer in the time that was left");
                    let effect = if is_sent { Effect::Unknown } else { effect };
                    return Err(self.error(Some(&link), fault, operation, effect));
                }
            };
            // Of several, some may have been executed before the one that was refused. A script
            // that is full or on a replica is stopped at its first write, by other faults anywhere.
            let in_part = fault.midway && !fault.is_away() && fault.what != What::Full;
            if is_sent && (sent.is_several() || in_part) {
                effect = Effect::Unknown;
            }
            match fault.what {
                What::Broken | What::Silent => {
                    if is_sent {
                        effect = Effect::Unknown;
                    }
                    link.give_up(epoch, &fault);
                }
                What::Unready => link.give_up(epoch, &fault),
                What::NoScript => {
                    debug!(server = link.shown(), "the server has lost its scripts");
                    with_sources = true;
                }
                What::Moved if !has_moved => {
                    has_moved = true;
                    self.moved(&fault, link.node());
                }
                What::Busy | What::Moved => {
                    self.moved(&fault, link.node());
                    sleep_until(deadline.min(Instant::now() + pause)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                What::Corrupt => {
                    return Err(self.error(Some(&link), fault, operation, Effect::Unknown));
                }
                What::Full | What::Denied | What::Old | What::Invalid => {
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
                    None => match current.missing(slot) {
                        fault if fault.is_away() => {
                            sleep_until(deadline).await;
                            State::Connecting(Some(fault))
                        }
                        fault => State::Refused(fault),
                    },
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

impl Shared {
    /// Takes over what the nodes of a cluster say.
    fn adopt(self: &Arc<Self>, view: &View) {
        self.change(|old| {
            let mut map = Map { table: vec![NOBODY; usize::from(SLOTS)], ..Map::default() };
            for (slots, node) in &view.parts {
                let place = map.place_of(node, old, self);
                let slots = usize::from(*slots.start())..=usize::from(*slots.end());
                map.table[slots].fill(place);
            }
            map
        });
    }

    /// A node has said that another has a slot.
    fn moved(self: &Arc<Self>, fault: &Fault, by: &Node) {
        let (Some((slot, host, port)), Node::At(same, _)) = (&fault.moved, by) else { return };
        let host = if host.is_empty() { same } else { host };
        let node = Node::At(host.clone(), *port);
        self.change(|old| {
            let mut map = old.clone();
            if usize::from(slot.0) < map.table.len() {
                debug!(slot = slot.0, from = ?by, to = ?node, "a slot has moved");
                let place = map.place_of(&node, old, self);
                map.table[usize::from(slot.0)] = place;
            }
            map
        });
        self.trouble.notify_one();
    }

    fn change(self: &Arc<Self>, change: impl FnOnce(&Map) -> Map) {
        let (mut before, mut after) = (Arc::default(), Arc::default());
        let changed = self.map.send_if_modified(|map| {
            if self.closed.load(Ordering::SeqCst) {
                return false;
            }
            before = map.clone();
            after = Arc::new(change(&before));
            let same = before.table.len() == after.table.len()
                && before.why.is_none()
                && (0..SLOTS).all(|slot| before.node(Slot(slot)) == after.node(Slot(slot)));
            if !same {
                *map = after.clone();
            }
            !same
        });
        if !changed {
            return;
        }
        let gone = |link: &&Arc<Link>| after.links.iter().all(|other| !Arc::ptr_eq(link, other));
        before.links.iter().filter(gone).for_each(|link| link.close());
        // What a new link's connection brings with it, its own beginning tells.
        self.listener.missed(&|slot| before.node(slot) != after.node(slot));
    }

    /// The nodes of the cluster cannot be asked.
    fn lost(&self, fault: Fault) {
        self.map.send_if_modified(|map| {
            let none = map.links.is_empty();
            if none {
                *map = Arc::new(Map { why: Some(fault), ..Map::default() });
            }
            none
        });
    }
}

impl Map {
    /// The place of a node's link, which is that of `old` where it had one.
    fn place_of(&mut self, node: &Node, old: &Map, shared: &Arc<Shared>) -> u16 {
        let is_it = |link: &&Arc<Link>| link.node() == node;
        let place = self.links.iter().position(|link| is_it(&link)).unwrap_or_else(|| {
            let link = old.links.iter().find(is_it).cloned();
            self.links.push(link.unwrap_or_else(|| shared.link_to(node.clone())));
            self.links.len() - 1
        });
        u16::try_from(place).unwrap_or(NOBODY)
    }
}

/// Asks the nodes of a cluster which has what: at the start, and when there is trouble.
async fn follow(shared: Arc<Shared>) {
    let Some(cluster) = shared.server.cluster() else { return };
    let mut troubles = Troubles::default();
    let shown = cluster.shown();
    loop {
        match shared.server.view(cluster).await {
            Ok(view) => {
                troubles.over(&shown);
                troubles = Troubles::default();
                shared.adopt(&view);
                sleep(NOT_SOONER).await;
                // While one is away, another may take its place at any time.
                let links = shared.map().links.clone();
                let all_well = links.iter().all(|link| link.connection().is_some());
                let soon = sleep(SOON.mul_f64(0.5 + fastrand::f64()));
                tokio::select! {
                    () = shared.trouble.notified() => {}
                    () = soon, if !all_well => {}
                }
            }
            Err(fault) => {
                troubles.meet(&shown, &fault);
                shared.lost(fault);
                sleep(troubles.pause().min(shared.patience / 4)).await;
            }
        }
    }
}

impl Owner for Shared {
    fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn has(&self, node: &Node, slot: Slot) -> bool {
        *node == Node::Only || self.map.borrow().node(slot) == Some(node)
    }

    fn message(&self, channel: &[u8], payload: &[u8]) {
        self.listener.message(channel, payload);
    }

    fn connected(&self, node: &Node) {
        self.listener.missed(&|slot| self.has(node, slot));
    }

    fn troubled(&self) {
        self.trouble.notify_one();
    }
}

fn no_connection() -> Fault {
    Fault::new(What::Silent, "no connection came about")
}

fn missing(operation: &'static str) -> AdapterError {
    AdapterError::new(ErrorKind::Internal, operation, "an answer of the store is missing")
}
