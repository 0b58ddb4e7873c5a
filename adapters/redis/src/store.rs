//! The store as this process knows it: the link to the server, and what is local to each queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redis::{Cmd, Value};
use shiftwork_adapter::{
    AdapterError, Connection, Effect, ErrorKind, Namespace, QueueName, Result, Schedule,
    ScheduleId, StoreSettings,
};
use tokio::time::Instant;

use crate::enqueue::Lanes;
use crate::envelope::millis;
use crate::keys::{NamespaceKeys, QueueKeys};
use crate::link::{Link, Listener};
use crate::reckoning::Reckoning;
use crate::reply::Reply;
use crate::server::Server;
use crate::wakeup::{Bell, Wakeups};

/// What adapter and heart share.
pub(crate) struct Store {
    pub(crate) link: Link,
    pub(crate) server: Arc<Server>,
    pub(crate) settings: StoreSettings,
    pub(crate) names: Arc<NamespaceKeys>,
    /// The definitions that were read last, each with the revision it was read of.
    pub(crate) definitions: Mutex<BTreeMap<ScheduleId, (u64, Arc<Schedule>)>>,
    pub(crate) local: Arc<Local>,
    pub(crate) reckoning: Reckoning,
}

/// What this process keeps for itself.
pub(crate) struct Local {
    /// The name by which it is told things.
    pub(crate) process: String,
    /// Rung when schedules change.
    pub(crate) schedules: Bell,
    /// Somebody waits for changes of schedules.
    watches_schedules: AtomicBool,
    schedules_subscribed: AtomicBool,
    namespace: Namespace,
    names: Arc<NamespaceKeys>,
    queues: RwLock<BTreeMap<QueueName, Arc<Queue>>>,
}

/// What this process knows of a queue.
pub(crate) struct Queue {
    pub(crate) name: QueueName,
    pub(crate) keys: QueueKeys,
    pub(crate) channel: String,
    pub(crate) wakeups: Wakeups,
    /// Whether this process wants to hear of it.
    listens: AtomicBool,
    subscribed: AtomicBool,
    /// The connection on which the queue was made known.
    registered: AtomicU64,
    /// The incarnations that hold jobs, as they were when somebody last looked.
    pub(crate) holders: Mutex<Vec<String>>,
    pub(crate) lanes: Lanes,
}

impl Store {
    /// Starts connecting. Needs a tokio runtime.
    pub(crate) fn new(connection: Connection, url: &str) -> Result<Arc<Self>> {
        let settings = connection.settings;
        let names = Arc::new(NamespaceKeys::new(&connection.namespace));
        let server =
            Server::new(url, &connection.variables, names.clone(), settings.connect_timeout);
        let server =
            server.map_err(|fault| AdapterError::new(ErrorKind::Invalid, "connect", fault))?;
        let server = Arc::new(server);
        let local = Arc::new(Local {
            process: format!("{:016x}", fastrand::u64(..)),
            schedules: Bell::default(),
            watches_schedules: AtomicBool::new(false),
            schedules_subscribed: AtomicBool::new(false),
            namespace: connection.namespace,
            names: names.clone(),
            queues: RwLock::default(),
        });
        let link = Link::new(server.clone(), settings.connect_timeout, local.clone());
        let definitions = Mutex::default();
        let reckoning = Reckoning::default();
        Ok(Arc::new(Self { link, server, settings, names, definitions, local, reckoning }))
    }

    /// What this process knows of a queue.
    pub(crate) fn queue(&self, name: &QueueName) -> Arc<Queue> {
        self.local.queue(name)
    }

    pub(crate) async fn call(&self, operation: &'static str, cmd: &Cmd) -> Result<Value> {
        self.link.call(operation, cmd).await
    }

    /// Makes sure that a queue is known by name, before the first thing is written to it.
    pub(crate) async fn register(&self, operation: &'static str, queue: &Queue) -> Result<()> {
        self.register_until(operation, queue, self.link.deadline()).await
    }

    /// The same, for at most until then.
    pub(crate) async fn register_until(
        &self,
        operation: &'static str,
        queue: &Queue,
        deadline: Instant,
    ) -> Result<()> {
        let epoch = self.link.epoch();
        // Once a connection: a failover may have lost it.
        if epoch != 0 && queue.registered.load(Ordering::Relaxed) == epoch {
            return Ok(());
        }
        let mut add = redis::cmd("SADD");
        add.arg(&self.names.queues).arg(queue.name.as_str());
        if let Err(error) = self.link.call_until(operation, &add, deadline).await {
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
        let answer = self.link.call_until(operation, &ask, deadline).await?;
        Ok(Reply::new(operation, answer).int()? == 1)
    }

    /// Makes sure that this process hears of what happens in a queue.
    pub(crate) async fn subscribe(&self, operation: &'static str, queue: &Queue) -> Result<()> {
        // From now on, every new connection subscribes before anything else is sent on it.
        queue.listens.store(true, Ordering::SeqCst);
        self.subscribe_once(operation, &queue.channel, &queue.subscribed).await
    }

    /// Makes sure that this process hears of changes of schedules.
    pub(crate) async fn subscribe_to_schedules(&self, operation: &'static str) -> Result<()> {
        let local = &self.local;
        local.watches_schedules.store(true, Ordering::SeqCst);
        self.subscribe_once(operation, &self.names.schedules, &local.schedules_subscribed).await
    }

    /// Several who come at the same time all do it, which does no harm: none may depend on how soon
    /// another's future is polled.
    async fn subscribe_once(
        &self,
        operation: &'static str,
        channel: &str,
        is_done: &AtomicBool,
    ) -> Result<()> {
        if !is_done.load(Ordering::SeqCst) {
            self.link.subscribe(operation, channel).await?;
            is_done.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Adds what this process keeps of finished jobs to a call.
    pub(crate) fn add_retention(&self, cmd: &mut Cmd) {
        for retention in [self.settings.keep_completed, self.settings.keep_dead] {
            cmd.arg(millis(retention.age).min(MAX_AGE_MS)).arg(retention.count);
        }
    }

    /// Refuses what is called after the end.
    pub(crate) fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.link.is_closed() {
            let message = "the connection to the store was shut down";
            return Err(AdapterError::new(ErrorKind::Closed, operation, message));
        }
        Ok(())
    }

    /// Takes this process's name out of the idle lists, as far as that can be done at once, and
    /// lets go of the connection.
    pub(crate) async fn close(&self) {
        if self.link.is_closed() {
            return;
        }
        let listens = |queue: &&Arc<Queue>| queue.listens.load(Ordering::SeqCst);
        let leave = |set: &str| {
            let mut cmd = redis::cmd("SREM");
            cmd.arg(set).arg(&self.local.process);
            cmd
        };
        let queues = self.local.queues();
        let sets = queues.iter().filter(listens).flat_map(|q| [q.keys.idle(), q.keys.sweepers()]);
        let commands: Vec<_> = sets.map(leave).collect();
        if self.link.epoch() != 0 {
            let leaving = self.link.call_all("shutdown", commands);
            // Who wakes a process that is gone sees that nobody heard it.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(500), leaving).await;
        }
        self.link.close();
        self.local.connected();
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
            channel: keys.channel(&self.process),
            keys,
            wakeups: Wakeups::default(),
            listens: AtomicBool::new(false),
            subscribed: AtomicBool::new(false),
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
    fn channels(&self) -> Vec<String> {
        let queues = self.queues();
        let listens = queues.iter().filter(|queue| queue.listens.load(Ordering::SeqCst));
        let schedules = self.watches_schedules.load(Ordering::SeqCst);
        let schedules = schedules.then(|| self.names.schedules.clone());
        listens.map(|queue| queue.channel.clone()).chain(schedules).collect()
    }

    fn message(&self, channel: &[u8], payload: &[u8]) {
        if channel == self.names.schedules.as_bytes() {
            return self.schedules.ring();
        }
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.values().find(|queue| queue.channel.as_bytes() == channel) {
            queue.wakeups.message(payload);
        }
    }

    fn connected(&self) {
        self.schedules.ring();
        self.queues().iter().for_each(|queue| queue.wakeups.ring_all());
    }
}
