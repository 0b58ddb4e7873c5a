//! Running.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use peers_protocol::{Tally, Told};
use tokio::task::JoinHandle;

use crate::enqueue::keys;
use crate::wire::Wire;

/// Jobs in one exchange, and exchanges in flight, each on a connection of its own.
const BATCH: u64 = 100;
const IN_FLIGHT: u64 = 4;

/// How long a lane waits that found nothing.
const PAUSE: Duration = Duration::from_millis(5);

const CYCLE: &str = include_str!("cycle.lua");

/// What a lane runs by.
#[derive(Clone)]
struct Lane {
    keys: [String; 4],
    sha: String,
    batch: String,
    tally: Arc<Tally>,
}

/// Starts the lanes.
pub(crate) async fn start(told: &Told, tally: Arc<Tally>) -> Result<Vec<JoinHandle<Result<()>>>> {
    let sha = load(&told.redis).await?;
    let batch = told.tuned("batch", BATCH).to_string();
    let keys = keys(&told.queue);
    let idle = told.tuned("one", 0);
    let lanes = if idle > 0 { 1 } else { told.tuned("in_flight", IN_FLIGHT) };
    let mut started = Vec::new();
    for number in 0..lanes {
        let mut lane = Lane {
            keys: keys.clone(),
            sha: sha.clone(),
            batch: batch.clone(),
            tally: tally.clone(),
        };
        lane.keys[2] += &number.to_string();
        let wire = Wire::open(&told.redis).await?;
        started.push(match idle {
            1 => tokio::spawn(lane.block(wire)),
            2 => {
                let mut messages = Wire::open(&told.redis).await?;
                messages.command(2);
                messages.part(b"SUBSCRIBE");
                messages.part(lane.keys[3].as_bytes());
                messages.send().await?;
                messages.reply(|_| {}).await.context("subscribing")?;
                tokio::spawn(lane.listen(wire, messages))
            }
            _ if told.tuned("bare", 0) == 1 => tokio::spawn(lane.pop(wire)),
            _ => tokio::spawn(lane.cycle(wire)),
        });
    }
    Ok(started)
}

impl Lane {
    /// One script a batch.
    async fn cycle(self, mut wire: Wire) -> Result<()> {
        let mut ended = Vec::new();
        loop {
            if self.exchange(&mut wire, &mut ended).await? == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// One script for every message.
    async fn listen(self, mut wire: Wire, mut messages: Wire) -> Result<()> {
        let mut ended = Vec::new();
        loop {
            messages.reply(|_| {}).await?;
            self.exchange(&mut wire, &mut ended).await?;
        }
    }

    /// One LPOP a batch.
    async fn pop(self, mut wire: Wire) -> Result<()> {
        loop {
            wire.command(3);
            for part in ["LPOP", &self.keys[1], &self.batch] {
                wire.part(part.as_bytes());
            }
            wire.send().await?;
            if wire.reply(|payload| run(&self.tally, payload)).await? == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// One BLPOP a job.
    async fn block(self, mut wire: Wire) -> Result<()> {
        loop {
            wire.command(3);
            for part in ["BLPOP", &self.keys[1], "1"] {
                wire.part(part.as_bytes());
            }
            wire.send().await?;
            // Its key comes first.
            let run = |part: &[u8]| {
                if part.first() == Some(&b'{') && part.get(1) == Some(&b'"') {
                    run(&self.tally, part);
                }
            };
            wire.reply(run).await?;
        }
    }

    async fn exchange(&self, wire: &mut Wire, ended: &mut Vec<Vec<u8>>) -> Result<usize> {
        let [jobs, waiting, flying, _] = &self.keys;
        wire.command(7 + ended.len());
        for part in ["EVALSHA", &self.sha, "3", jobs, waiting, flying, &self.batch] {
            wire.part(part.as_bytes());
        }
        for id in ended.drain(..) {
            wire.part(&id);
        }
        wire.send().await?;
        let each = |envelope: &[u8]| {
            run(&self.tally, envelope);
            ended.push(digits(envelope, ID).to_vec());
        };
        wire.reply(each).await
    }
}

async fn load(url: &str) -> Result<String> {
    let mut wire = Wire::open(url).await?;
    wire.command(3);
    for part in ["SCRIPT", "LOAD", CYCLE] {
        wire.part(part.as_bytes());
    }
    wire.send().await?;
    let mut sha = String::new();
    wire.reply(|text| sha = String::from_utf8_lossy(text).into_owned()).await?;
    Ok(sha)
}

/// Where the job's number begins: `{"number":123,"due":456,…`.
const ID: usize = r#"{"number":"#.len();

fn run(tally: &Tally, envelope: &[u8]) {
    let id = digits(envelope, ID);
    let due = digits(envelope, ID + id.len() + r#","due":"#.len());
    let number = |digits: &[u8]| digits.iter().fold(0, |sum, d| sum * 10 + u64::from(d - b'0'));
    // Nothing is told to fail here.
    let _ = tally.run(number(id), number(due));
}

fn digits(text: &[u8], from: usize) -> &[u8] {
    let rest = text.get(from..).unwrap_or_default();
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    &rest[..end]
}
