//! The store: all queues and schedules of one adapter, each behind its lock.
//!
//! **Lock order**: the map of queues for a moment; the schedules before a queue; never two queues.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use shiftwork_adapter::{
    AdapterError, Clock, Connection, ErrorKind, QueueName, Result, StoreSettings, Timestamp,
};
use tokio::sync::Notify;

use crate::capacity::Capacity;
use crate::queue::Queue;
use crate::schedules::SchedulesLock;

/// All that an adapter keeps.
pub(crate) struct Store {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) schedules: SchedulesLock,
    settings: StoreSettings,
    capacity: Arc<Capacity>,
    queues: RwLock<BTreeMap<QueueName, Arc<QueueLock>>>,
    closed: AtomicBool,
}

/// A queue behind its lock, and who waits for what it does.
pub(crate) struct QueueLock {
    queue: Mutex<Queue>,
    /// Wakes who waits for jobs to claim.
    pub(crate) work: Notify,
    /// Wakes who sweeps.
    pub(crate) sweep: Notify,
}

impl Store {
    pub(crate) fn new(connection: Connection) -> Result<Self> {
        let capacity = Arc::new(Capacity::from_variables(&connection)?);
        Ok(Self {
            clock: connection.clock,
            schedules: SchedulesLock::default(),
            settings: connection.settings,
            capacity,
            queues: RwLock::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Does one step in a queue: locks it, reads the clock, and wakes afterwards whoever waits for
    /// what the step did.
    pub(crate) fn step<T>(
        &self,
        lock: &QueueLock,
        step: impl FnOnce(&mut Queue, Timestamp) -> T,
    ) -> T {
        let mut queue = lock.lock();
        let (work, sweep) = (queue.jobs.ticket(), queue.sweep_ticket());
        // Read under the lock, so that steps follow each other in time as well.
        let answer = step(&mut queue, self.clock.now());
        queue.note_horizon();
        queue.release_room();
        let is_work = queue.jobs.ticket() != work && !queue.paused;
        let is_sweep = queue.sweep_ticket() != sweep;
        let ended = queue.jobs.awaited.take_bells();
        let has_freed = queue.jobs.runs.take_freed();
        drop(queue);

        if is_work {
            lock.work.notify_waiters();
        }
        if is_sweep {
            lock.sweep.notify_waiters();
        }
        ended.iter().for_each(|bell| bell.notify_waiters());
        if has_freed {
            self.schedules.note_freed();
        }
        answer
    }

    /// A queue, made where there is none.
    pub(crate) fn queue(&self, name: &QueueName) -> Arc<QueueLock> {
        if let Some(queue) = self.known_queue(name) {
            return queue;
        }
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(QueueLock::new(name.clone(), &self.settings, self.capacity.clone()));
        queues.entry(name.clone()).or_insert_with(make).clone()
    }

    /// A queue, if there is one.
    pub(crate) fn known_queue(&self, name: &QueueName) -> Option<Arc<QueueLock>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All queues in which somebody has done more than look, ordered by name.
    pub(crate) fn used_queues(&self) -> Vec<QueueName> {
        let used = |queue: &QueueLock| {
            let queue = queue.lock();
            queue.used.then(|| queue.name.clone())
        };
        self.all_queues().iter().filter_map(|queue| used(queue)).collect()
    }

    /// Refuses what is called after the end.
    pub(crate) fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            let message = "the memory store was shut down, and its jobs are gone with it";
            return Err(AdapterError::new(ErrorKind::Closed, operation, message));
        }
        Ok(())
    }

    /// Refuses all that comes later and wakes all who wait, to be refused too.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.schedules.changed.notify_waiters();
        for queue in self.all_queues() {
            queue.work.notify_waiters();
            queue.sweep.notify_waiters();
            self.step(&queue, |queue, _| queue.jobs.awaited.end_all());
        }
    }

    fn all_queues(&self) -> Vec<Arc<QueueLock>> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.values().cloned().collect()
    }
}

impl QueueLock {
    fn new(name: QueueName, settings: &StoreSettings, capacity: Arc<Capacity>) -> Self {
        Self {
            queue: Mutex::new(Queue::new(name, settings, capacity)),
            work: Notify::new(),
            sweep: Notify::new(),
        }
    }

    /// The queue, also after a thread that had it panicked: the other queues' and programs' jobs
    /// are not to be lost for it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
