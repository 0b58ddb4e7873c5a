//! Enqueueing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use peers_protocol::{Batches, NewJob, Producer, Told};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo, Script};
use tokio::sync::Mutex;

use crate::wire::Wire;

/// Jobs in one script, and scripts under way at once, each on a connection of its own.
const BATCH: u64 = 500;
const AT_ONCE: u64 = 4;

const ENQUEUE: &str = include_str!("enqueue.lua");
const NOTIFY: &str = include_str!("notify.lua");

/// The keys of a queue. Ids are the jobs' numbers.
pub(crate) fn keys(queue: &str) -> [String; 4] {
    ["jobs", "waiting", "flying", "wakeup"].map(|key| format!("{{{queue}}}:{key}"))
}

#[derive(Clone)]
pub(crate) struct Enqueues {
    wires: Arc<[Mutex<Wire>]>,
    next: Arc<AtomicUsize>,
    client: MultiplexedConnection,
    keys: Arc<[String; 4]>,
    sha: Arc<str>,
    notify: Arc<Script>,
    one: u64,
    bare: bool,
    batches: Batches,
}

impl Enqueues {
    pub(crate) async fn open(told: &Told) -> Result<Self> {
        let batches =
            Batches { of: told.tuned("batch", BATCH), at_once: told.tuned("at_once", AT_ONCE) };
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = told.redis.as_str().into_connection_info()?.set_tcp_settings(tcp);
        let mut client = Client::open(info)?.get_multiplexed_async_connection().await?;
        let sha: String =
            redis::cmd("SCRIPT").arg("LOAD").arg(ENQUEUE).query_async(&mut client).await?;
        let mut wires = Vec::new();
        for _ in 0..batches.at_once {
            wires.push(Mutex::new(Wire::open(&told.redis).await?));
        }
        Ok(Self {
            wires: wires.into(),
            next: Arc::default(),
            client,
            keys: Arc::new(keys(&told.queue)),
            sha: sha.into(),
            notify: Arc::new(Script::new(NOTIFY)),
            one: told.tuned("one", 0),
            bare: told.tuned("bare", 0) == 1,
            batches,
        })
    }
}

impl Producer for Enqueues {
    async fn one(&self, job: NewJob) -> Result<()> {
        let mut client = self.client.clone();
        let [jobs, waiting, _, wakeup] = &*self.keys;
        if self.one == 0 {
            return redis::cmd("PING").query_async(&mut client).await.context("PING");
        }
        let mut envelope = String::with_capacity(128);
        job.payload.write(&mut envelope);
        if self.one == 1 {
            let push = redis::cmd("RPUSH").arg(waiting).arg(envelope).clone();
            return push.query_async(&mut client).await.context("RPUSH");
        }
        let mut call = self.notify.prepare_invoke();
        call.key(jobs).key(waiting).key(wakeup).arg(job.payload.number).arg(envelope);
        call.invoke_async(&mut client).await.context("the script")
    }

    async fn bulk(&self, jobs: Vec<NewJob>) -> Result<()> {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.wires.len();
        let mut wire = self.wires[place].lock().await;
        let [hash, waiting, ..] = &*self.keys;
        let mut envelope = String::with_capacity(128);
        if self.bare {
            wire.command(2 + jobs.len());
            wire.part(b"RPUSH");
            wire.part(waiting.as_bytes());
        } else {
            wire.command(6 + 3 * jobs.len());
            for part in ["EVALSHA", &self.sha, "2", hash, waiting, &jobs.len().to_string()] {
                wire.part(part.as_bytes());
            }
        }
        let mut ids = Vec::with_capacity(jobs.len());
        for NewJob { payload, .. } in &jobs {
            envelope.clear();
            payload.write(&mut envelope);
            if !self.bare {
                let id = payload.number.to_string();
                wire.part(id.as_bytes());
                ids.push(id);
            }
            wire.part(envelope.as_bytes());
        }
        for id in ids {
            wire.part(id.as_bytes());
        }
        wire.send().await?;
        let length = wire.reply(|_| {}).await?;
        ensure!(length >= jobs.len(), "{} jobs were pushed, and {length} are there", jobs.len());
        Ok(())
    }

    fn batches(&self) -> Batches {
        self.batches
    }
}
