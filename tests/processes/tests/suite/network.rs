//! A network between workers and server that fails in every way, for each worker in its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use shiftwork::Jobs;
use shiftwork_process_tests::jobs::BRIEF;
use shiftwork_test_kit::{Proxy, RedisServer, Reply};
use tokio::time::{Instant, sleep};

use crate::account::{completed, ran, settled};
use crate::enqueuer::{Enqueued, enqueue};
use crate::process::shut_down;
use crate::world::{LONG, World, report, until};

const JOBS: usize = 10_000;
const BRIEF_MS: u64 = 60;

const VARIABLES: [(&str, &str); 4] = [
    ("JOBS_LEASE", "1s"),
    ("JOBS_MAX_CRASHES", "1000"),
    ("JOBS_CONCURRENCY", "50"),
    // What does not answer is given up soon.
    ("JOBS_CONNECT_TIMEOUT", "1s"),
];

/// What has happened to a network.
#[derive(Default)]
pub struct Faults {
    pub count: AtomicUsize,
    pub lost_replies: AtomicUsize,
    /// There are to be no more.
    pub over: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_and_each_is_settled_once_while_the_network_fails() {
    let kept = [("JOBS_KEEP_COMPLETED", "1h"), ("JOBS_KEEP_COMPLETED_COUNT", "100000")];
    let world = World::new([&VARIABLES[..], &kept].concat());
    let (web, enqueued, faults, took) = work(&world, Caller::GivesUp).await;
    let counts = web.counts(BRIEF).await.unwrap();
    assert_eq!((counts.completed, counts.dead, counts.cancelled), (JOBS as u64, 0, 0));
    let account = completed(&world, &web, BRIEF, &enqueued.ids, |_| false).await;
    report("network", format_args!("{enqueued}; {account}; {faults} in {took:.1?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_or_doubled_where_nothing_is_kept_while_the_network_fails() {
    let world = World::new(VARIABLES.to_vec());
    let (web, enqueued, faults, took) = work(&world, Caller::Waits).await;
    let counts = web.counts(BRIEF).await.unwrap();
    assert_eq!((counts.completed, counts.dead, counts.cancelled), (0, 0, 0));
    let account = ran(&world, &enqueued.ids, &enqueued.sent_again);
    let _sweeper = world.started("async", [("JOBS_QUEUES", BRIEF)]).await;
    until("nothing is left behind for good", LONG, async || {
        let left: Vec<_> =
            kept_for_good(&world.server).into_iter().filter(|key| is_left(key)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    let again = enqueued.sent_again.len();
    report(
        "network, nothing kept",
        format_args!("{enqueued}, {again} sent again; {account}; {faults} in {took:.1?}"),
    );
}

/// The keys that do not expire by themselves.
fn kept_for_good(server: &RedisServer) -> Vec<String> {
    let keys = server.call(&["KEYS", "*"]);
    let keys = keys.array().iter().map(Reply::text);
    keys.filter(|key| server.call(&["PTTL", key]).int() == -1).collect()
}

/// Whether a key is of something that has been. The others are as many as there are queues.
fn is_left(key: &str) -> bool {
    ![":format", ":queues", ":meta", ":idle", ":sweepers"].iter().any(|end| key.ends_with(end))
}

/// Enqueues and runs all jobs while the networks of all processes fail.
async fn work(world: &World, caller: Caller) -> (Jobs, Enqueued, Arc<Faults>, Duration) {
    let mut chance = world.chance();
    let proxies: Vec<_> = (0..5).map(|_| Arc::new(Proxy::start(world.server.address()))).collect();
    let urls: Vec<_> = proxies.iter().map(|proxy| proxy.url()).collect();
    let workers: Vec<_> = urls[1..]
        .iter()
        .map(|url| world.process("async", [("JOBS_QUEUES", BRIEF), ("JOBS_REDIS_URL", url)]))
        .collect();
    let (timeout, callers_faults, batches) = match caller {
        Caller::GivesUp => ("300ms", EVERY_FAULT, (200, Duration::from_millis(150))),
        // Each takes long.
        Caller::Waits => ("20s", LOST_REPLIES, (500, Duration::from_millis(300))),
    };
    // The caller's network fails as well; who looks at the end has one that does not.
    let url = ("JOBS_REDIS_URL", urls[0].as_str());
    let caller = world.web([url, ("JOBS_CONNECT_TIMEOUT", timeout)]).await;
    let web = world.web([]).await;

    let began = Instant::now();
    let faults = Arc::new(Faults::default());
    let mut failing = Vec::new();
    for (place, proxy) in proxies.iter().enumerate() {
        let which = if place == 0 { callers_faults.clone() } else { EVERY_FAULT };
        failing.push(tokio::spawn(fail(proxy.clone(), which, chance.fork(), faults.clone())));
    }
    let enqueued = enqueue(caller, chance.fork(), (JOBS, BRIEF_MS), batches).await;
    faults.over.store(true, Ordering::SeqCst);
    for failing in failing {
        failing.await.unwrap();
    }
    settled(&web, BRIEF, LONG).await;
    let took = began.elapsed();
    shut_down(workers).await;
    let lost = faults.lost_replies.load(Ordering::SeqCst);
    assert!(lost >= 3, "only {lost} replies were lost");
    (web, enqueued, faults, took)
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} faults, {:?} lost replies", self.count, self.lost_replies)
    }
}

/// Who enqueues.
enum Caller {
    /// Is told soon that an enqueue failed, and tries again.
    GivesUp,
    /// Leaves it to the adapter, which sends it again: late, when its jobs have run already.
    Waits,
}

/// Which faults there are.
pub type Which = std::ops::Range<u8>;
pub const EVERY_FAULT: Which = 0..8;
const LOST_REPLIES: Which = 5..8;

/// Lets one fault follow the other.
pub async fn fail(proxy: Arc<Proxy>, which: Which, mut chance: fastrand::Rng, faults: Arc<Faults>) {
    while !faults.over.load(Ordering::SeqCst) {
        // Most of them end before a lease does, and some not before jobs are taken back.
        let longest = if chance.u8(..6) == 0 { 4500 } else { 700 };
        let lasts = Duration::from_millis(chance.u64(50..longest));
        let mut losses = Vec::new();
        match chance.u8(which.clone()) {
            0 => proxy.cut(),
            1 => proxy.stall(),
            2 => proxy.half_open(),
            3 => proxy.refuse(),
            4 => proxy.delay(Duration::from_millis(chance.u64(1..50))),
            // The reply to a script, once for each of the next few.
            _ => losses.extend((0..3).map(|_| proxy.lose_next_reply(is_script))),
        }
        sleep(lasts).await;
        faults.count.fetch_add(1, Ordering::SeqCst);
        let happened = losses.iter().filter(|loss| loss.happened()).count();
        faults.lost_replies.fetch_add(happened, Ordering::SeqCst);
        proxy.pass();
        // A while in which something gets done.
        sleep(Duration::from_millis(chance.u64(100..1500))).await;
    }
}

fn is_script(request: &[u8]) -> bool {
    request.windows(7).any(|bytes| bytes == b"EVALSHA")
}
