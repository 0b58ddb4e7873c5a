//! A server that forgets its scripts is given them again, and nobody notices.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::*;

const JOBS: usize = 2000;

/// Lets a server forget its scripts, again and again, until it is dropped.
struct Flusher {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Flusher {
    fn start(server: &RedisServer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, address) = (stop.clone(), server.address());
        let thread = std::thread::spawn(move || {
            let mut connection = shiftwork_test_kit::Connection::open(address, LONG).unwrap();
            while !stopped.load(Ordering::SeqCst) {
                connection.call(&["SCRIPT", "FLUSH"]).unwrap();
                std::thread::sleep(ms(1));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// How often a call met a server without its script.
fn misses(server: &RedisServer) -> u64 {
    let stats = server.info("errorstats");
    let count = stats.get("errorstat_NOSCRIPT").and_then(|stat| stat.strip_prefix("count="));
    count.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn every_job_runs_once_while_scripts_are_flushed() {
    let server = RedisServer::start();
    let adapter = open(&server.url());
    adapter.ping().await.unwrap();
    let flusher = Flusher::start(&server);
    let ran = Arc::new(Mutex::new(BTreeMap::new()));
    let left = Arc::new(AtomicUsize::new(JOBS));

    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let adapter = adapter.clone();
        tasks.spawn(async move {
            for _ in 0..JOBS / 40 {
                adapter.enqueue(&work(), jobs(10)).await.expect("it enqueues");
            }
        });
    }
    for _ in 0..3 {
        let (adapter, ran, left) = (adapter.clone(), ran.clone(), left.clone());
        tasks.spawn(async move {
            let mut worker = Worker::new(&adapter, &work());
            while left.load(Ordering::SeqCst) > 0 || !worker.held.is_empty() {
                let held: Vec<_> =
                    worker.held.keys().map(|job| (*job, Outcome::Complete)).collect();
                let answer = worker.exchange(&worker.turn(&held, 20)).await;
                assert_eq!(answer.refused, [], "what is held can be settled");
                for job in answer.claimed {
                    *ran.lock().unwrap().entry(job.spec.id).or_insert(0) += 1;
                    left.fetch_sub(1, Ordering::SeqCst);
                }
            }
        });
    }
    soon("all jobs run", async {
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    })
    .await;

    let ran = ran.lock().unwrap().clone();
    assert!(ran.len() == JOBS && ran.values().all(|times| *times == 1), "each ran once");
    assert!(misses(&server) > 10, "scripts were missing again and again");
    drop(flusher);
    let counts = adapter.counts(&work()).await.unwrap();
    assert_eq!((counts.waiting, counts.active), (0, 0));
}

#[tokio::test]
async fn a_heart_beats_on_while_scripts_are_flushed() {
    let server = RedisServer::start();
    let adapter = open(&server.url());
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    worker.claim(1).await;
    let mut heart = adapter.heart().await.unwrap();
    let _flusher = Flusher::start(&server);
    let deadline = Instant::now() + LONG;
    while misses(&server) < 20 {
        assert!(Instant::now() < deadline, "scripts are never missing");
        for _ in 0..50 {
            // Several in one go: the scripts may go between two of them.
            let replies = heart.beat(&vec![worker.beat(); 20]).await.expect("it beats");
            let renewed = |reply: &BeatReply| matches!(reply, BeatReply::Renewed { .. });
            assert!(replies.len() == 20 && replies.iter().all(renewed));
        }
    }
}

#[tokio::test]
async fn firings_and_triggers_survive_a_flush_between_them() {
    let server = RedisServer::start();
    let adapter = open(&server.url());
    let first = Timestamp::from_millis(1000);
    for at in 0..20 {
        let name = format!("schedule-{at}");
        adapter.schedule(schedule(&name, &work()), Some(first)).await.unwrap();
    }
    let stored = adapter.scheduled_jobs().await.unwrap().records;
    let batch: Vec<_> = stored.iter().map(|record| Firing::new(record, first, None)).collect();
    let _flusher = Flusher::start(&server);
    let fired = adapter.fire(&batch).await.unwrap();
    assert!(fired.iter().all(|fired| matches!(fired, Fired::Job(_))), "{fired:?}");
    assert_eq!(adapter.counts(&work()).await.unwrap().waiting, 20);
}
