//! The store as this process knows it: the links to its servers, and what is local to each queue.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Value};
use shiftwork_adapter::{
    AdapterError, Connection, Effect, ErrorKind, Namespace, QueueName, Result, ScheduleId,
    ServerHealth, StoreSettings,
};
use tokio::time::Instant;

use crate::enqueue::Lanes;
use crate::envelope::millis;
use crate::keys::{NamespaceKeys, QueueKeys};
use crate::link::Subscription;
use crate::links::{Links, Listener, Target};
use crate::reckoning::Reckoning;
use crate::replicas::Confirmed;
use crate::reply::Reply;
use crate::schedules::Known;
use crate::server::Server;
use crate::slot::Slot;
use crate::wakeup::{Bell, Wakeups};

/// What adapter and heart share.
pub(crate) struct Store {
    pub(crate) links: Links,
    /// Where enqueues wait for replicas.
    pub(crate) confirmed: Option<Confirmed>,
    pub(crate) server: Arc<Server>,
    pub(crate) settings: StoreSettings,
    pub(crate) names: Arc<NamespaceKeys>,
    /// The schedules that were read last, as they were.
    pub(crate) known: Mutex<HashMap<ScheduleId, Known>>,
    pub(crate) local: Arc<Local>,
}

/// What this process keeps for itself.
pub(crate) struct Local {
    /// The name by which it is told things.
    pub(crate) process: String,
    /// Rung when schedules change.
    pub(crate) schedules: Bell,
    /// How it hears of that.
    schedules_channel: Subscription,
    /// The part of the store that has the keys of the namespace.
    pub(crate) home: Slot,
    namespace: Namespace,
    names: Arc<NamespaceKeys>,
    queues: RwLock<BTreeMap<QueueName, Arc<Queue>>>,
}

/// What this process knows of a queue.
pub(crate) struct Queue {
    pub(crate) name: QueueName,
    pub(crate) keys: QueueKeys,
    /// The part of the store that it is in.
    pub(crate) slot: Slot,
    /// How this process hears of it.
    channel: Subscription,
    pub(crate) wakeups: Wakeups,
    pub(crate) reckoning: Reckoning,
    /// The connection on which the queue was made known.
    registered: AtomicU64,
    /// The incarnations that hold jobs, as they were when somebody last looked.
    pub(crate) holders: Mutex<Vec<String>>,
    pub(crate) lanes: Lanes,
}

impl Queue {
    /// Where its commands go.
    pub(crate) fn target(&self) -> Target<'_> {
        Target { slot: self.slot, hears: Some(&self.channel) }
    }

    /// Has this process hear of what happens in it, from the next command on.
    pub(crate) fn listen(&self) {
        self.channel.want();
    }
}

impl Store {
    /// Starts connecting. Needs a tokio runtime.
    pub(crate) fn new(connection: Connection, url: &str) -> Result<Arc<Self>> {
        let settings = connection.settings;
        let names = Arc::new(NamespaceKeys::new(&connection.namespace));
        let server = Server::new(url, &connection.variables, names.clone(), &settings);
        let server =
            server.map_err(|fault| AdapterError::new(ErrorKind::Invalid, "connect", fault))?;
        let server = Arc::new(server);
        let local = Arc::new(Local {
            process: format!("{:016x}", fastrand::u64(..)),
            schedules: Bell::default(),
            schedules_channel: Subscription::new(names.schedules.clone()),
            home: Slot::of(&names.queues),
            namespace: connection.namespace,
            names: names.clone(),
            queues: RwLock::default(),
        });
        let links = Links::new(server.clone(), "", settings.connect_timeout, local.clone());
        let confirmed = (server.wait_replicas() > 0).then(|| {
            Confirmed::new(server.clone(), server.wait_replicas(), settings.connect_timeout)
        });
        let known = Mutex::default();
        Ok(Arc::new(Self { links, confirmed, server, settings, names, known, local }))
    }

    /// What this process knows of a queue.
    pub(crate) fn queue(&self, name: &QueueName) -> Arc<Queue> {
        self.local.queue(name)
    }

    /// Sends a command that is about a queue.
    pub(crate) async fn call(
        &self,
        operation: &'static str,
        queue: &Queue,
        cmd: &Cmd,
    ) -> Result<Value> {
        self.links.call(operation, queue.target(), cmd).await
    }

    /// Sends a command that is about the namespace.
    pub(crate) async fn call_home(&self, operation: &'static str, cmd: &Cmd) -> Result<Value> {
        self.links.call(operation, self.home(), cmd).await
    }

    /// Sends commands that are about the namespace, together and in this order.
    pub(crate) async fn call_home_all(
        &self,
        operation: &'static str,
        commands: Vec<Cmd>,
    ) -> Result<Vec<Value>> {
        self.links.call_all(operation, self.home(), commands).await
    }

    /// Why a queue cannot be asked now, where that is known and not the namespace's trouble too.
    pub(crate) fn trouble(&self, operation: &'static str, queue: &Queue) -> Option<AdapterError> {
        let is_elsewhere = self.links.node(queue.slot) != self.links.node(self.local.home);
        is_elsewhere.then(|| self.links.trouble(operation, queue.slot)).flatten()
    }

    /// Where commands go that are about the namespace.
    fn home(&self) -> Target<'_> {
        Target { slot: self.local.home, hears: Some(&self.local.schedules_channel) }
    }

    /// Has this process hear of changes of schedules, from the next command on that is about the
    /// namespace.
    pub(crate) fn listen_to_schedules(&self) {
        self.local.schedules_channel.want();
    }

    /// Makes sure that a queue is known by name, before the first thing is written to it.
    pub(crate) async fn register(&self, operation: &'static str, queue: &Queue) -> Result<()> {
        self.register_until(operation, queue, self.links.deadline()).await
    }

    /// The same, for at most until then.
    pub(crate) async fn register_until(
        &self,
        operation: &'static str,
        queue: &Queue,
        deadline: Instant,
    ) -> Result<()> {
        let home = self.local.home;
        let epoch = self.links.epoch(home);
        // Once a connection: a failover may have lost it.
        if epoch != 0 && queue.registered.load(Ordering::Relaxed) == epoch {
            return Ok(());
        }
        // Where another server has the list of queues, its trouble is not the queue's. What is
        // missing there is made up for by a later call.
        let is_elsewhere = self.links.node(queue.slot) != self.links.node(home);
        if is_elsewhere && self.links.trouble(operation, home).is_some() {
            return Ok(());
        }
        let patience = if is_elsewhere { self.settings.connect_timeout / 4 } else { Duration::MAX };
        let until = Instant::now().checked_add(patience).map_or(deadline, |at| at.min(deadline));
        let mut add = redis::cmd("SADD");
        add.arg(&self.names.queues).arg(queue.name.as_str());
        if let Err(error) = self.links.call_until(operation, self.home(), &add, until).await {
            if is_elsewhere && error.is_retryable() {
                return Ok(());
            }
            let is_known = || self.is_registered(operation, queue, deadline);
            // A server that is full adds nothing, and the queue's jobs can be settled all the same.
            if error.kind() != ErrorKind::Capacity || !is_known().await? {
                return Err(error.with_effect(Effect::None));
            }
        }
        queue.registered.store(epoch, Ordering::Relaxed);
        Ok(())
    }

    async fn is_registered(
        &self,
        operation: &'static str,
        queue: &Queue,
        deadline: Instant,
    ) -> Result<bool> {
        let mut ask = redis::cmd("SMISMEMBER");
        ask.arg(&self.names.queues).arg(queue.name.as_str());
        let answer = self.links.call_until(operation, self.home(), &ask, deadline).await?;
        Ok(Reply::new(operation, answer).int()? == 1)
    }

    /// Adds what this process keeps of finished jobs to a call.
    pub(crate) fn add_retention(&self, cmd: &mut Cmd) {
        for retention in [self.settings.keep_completed, self.settings.keep_dead] {
            cmd.arg(millis(retention.age).min(MAX_AGE_MS)).arg(retention.count);
        }
    }

    /// How the servers are, and the connections to them.
    pub(crate) fn servers(&self) -> Vec<ServerHealth> {
        let mut servers = self.links.servers();
        if let Some(confirmed) = &self.confirmed {
            servers.extend(confirmed.links.servers());
        }
        servers
    }

    /// Refuses what is called after the end.
    pub(crate) fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.links.is_closed() {
            let message = "the connection to the store was shut down";
            return Err(AdapterError::new(ErrorKind::Closed, operation, message));
        }
        Ok(())
    }

    /// Takes this process's name out of the idle lists, as far as that can be done at once, and
    /// lets go of the connection.
    pub(crate) async fn close(&self) {
        if self.links.is_closed() {
            return;
        }
        let leave = async |queue: Arc<Queue>| {
            let leave = |set: &str| {
                let mut cmd = redis::cmd("SREM");
                cmd.arg(set).arg(&self.local.process);
                cmd
            };
            let commands = [queue.keys.idle(), queue.keys.sweepers()].map(leave).into();
            self.links.call_all("shutdown", queue.target(), commands).await
        };
        let listens =
            |queue: &Arc<Queue>| queue.channel.is_wanted() && self.links.epoch(queue.slot) != 0;
        let queues = self.local.queues().into_iter().filter(listens);
        // Who wakes a process that is gone sees that nobody heard it.
        let leaving = join_all(queues.map(leave));
        let _ = tokio::time::timeout(Duration::from_millis(500), leaving).await;
        self.links.close();
        if let Some(confirmed) = &self.confirmed {
            confirmed.links.close();
        }
        self.local.missed(&|_| true);
    }
}

/// As long as a header can state; longer is for ever.
const MAX_AGE_MS: u64 = 1 << 52;

impl Local {
    fn queue(&self, name: &QueueName) -> Arc<Queue> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(name) {
            return queue.clone();
        }
        drop(queues);
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(self.make(name));
        queues.entry(name.clone()).or_insert_with(make).clone()
    }

    fn make(&self, name: &QueueName) -> Queue {
        let keys = QueueKeys::new(&self.namespace, name, self.names.clone());
        Queue {
            name: name.clone(),
            slot: Slot::of(keys.jobs()),
            channel: Subscription::new(keys.channel(&self.process)),
            keys,
            wakeups: Wakeups::default(),
            reckoning: Reckoning::default(),
            registered: AtomicU64::new(0),
            holders: Mutex::default(),
            lanes: Lanes::default(),
        }
    }

    fn queues(&self) -> Vec<Arc<Queue>> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.values().cloned().collect()
    }
}

impl Listener for Local {
    fn message(&self, channel: &[u8], payload: &[u8]) {
        if channel == self.names.schedules.as_bytes() {
            return self.schedules.ring();
        }
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) =
            queues.values().find(|queue| queue.channel.channel.as_bytes() == channel)
        {
            queue.wakeups.message(payload);
        }
    }

    fn missed(&self, parts: &dyn Fn(Slot) -> bool) {
        if parts(self.home) {
            self.schedules.ring();
        }
        let queues = self.queues();
        queues.iter().filter(|queue| parts(queue.slot)).for_each(|queue| queue.wakeups.ring_all());
    }
}
