//! Schedules on Redis, the whole way: made at run time they outlive processes and server; what is
//! queued, once and by hand is as it is in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use shiftwork::adapter::{
    Connection, Fired, Firing, JobAdapter, Namespace, Provider, SystemClock, Timestamp,
};
use shiftwork::prelude::*;
use shiftwork::{ErrorKind, JobState, JobsBuilder, Overlap};
use shiftwork_test_kit::{Fsync, RedisServer};
use tokio::sync::Notify;
use tokio::time::timeout;

/// For what must come: far longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

#[job]
async fn digest(account: u64) {
    let _ = account;
}

fn process(server: &RedisServer, namespace: &str, role: &str) -> JobsBuilder {
    let url = server.url();
    Jobs::from_vars([
        ("JOBS_PROVIDER", "redis"),
        ("JOBS_REDIS_URL", &url),
        ("JOBS_NAMESPACE", namespace),
        ("JOBS_APP", "shop"),
        ("WORKER_ROLE", role),
    ])
    .without_linked_jobs()
}

#[tokio::test]
async fn a_schedule_made_at_run_time_outlives_processes_and_the_server() {
    let server = RedisServer::options().append_only(Fsync::Always).start();
    let start = async |role| {
        let process = process(&server, "outlives", role);
        process.register(digest::definition()).start().await.unwrap()
    };
    let web = start("web").await;
    let daily = |id: &str| NewSchedule::cron(id, "0 7 * * *", digest::job(17));
    web.schedule(daily("stays").jitter(minutes(5)).limit(9)).await.unwrap();
    web.schedule(daily("paused")).await.unwrap();
    web.schedule(daily("cancelled")).await.unwrap();
    assert!(web.pause_schedule("paused").await.unwrap());
    assert!(web.cancel("cancelled").await.unwrap());
    let before = web.scheduled_jobs().await.unwrap();
    web.shutdown().await.unwrap();
    server.kill();
    server.restart();

    // One that knows none of them, and whose code declares nothing.
    let other = process(&server, "outlives", "worker").start().await.unwrap();
    assert_eq!(other.scheduled_jobs().await.unwrap(), before);
    assert_eq!(before.len(), 2);
    assert!(before[0].paused && before[1].schedule.limit.is_some());
    other.shutdown().await.unwrap();
    let again = start("worker").await;
    assert_eq!(again.scheduled_jobs().await.unwrap(), before);
    assert!(again.cancel("stays").await.unwrap() && again.cancel("paused").await.unwrap());
    again.shutdown().await.unwrap();
    assert!(start("web").await.scheduled_jobs().await.unwrap().is_empty());
}

#[tokio::test]
async fn one_occurrence_is_queued_behind_a_run_and_follows_it_at_once() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static BEGAN: Notify = Notify::const_new();
    static END: Notify = Notify::const_new();
    #[job]
    async fn held(ctx: JobContext) {
        RUNS.fetch_add(1, Ordering::SeqCst);
        BEGAN.notify_one();
        tokio::select! {
            () = END.notified() => {}
            () = ctx.cancelled() => {}
        }
    }
    let process = process(RedisServer::shared(), "queued", "worker");
    let jobs = process.register(held::definition()).start().await.unwrap();
    let second = NewSchedule::every("held", Duration::from_secs(1), held::job());
    jobs.schedule(second.overlap(Overlap::Queue)).await.unwrap();
    timeout(LONG, BEGAN.notified()).await.unwrap();
    let record = async || jobs.scheduled_job("held").await.unwrap().unwrap();
    while record().await.overlapped == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let queued = record().await.queued.expect("the first that came is queued");
    assert_eq!((RUNS.load(Ordering::SeqCst), record().await.fired), (1, 1));
    assert_eq!(jobs.trigger("held").await.unwrap_err().kind(), ErrorKind::Refused);

    END.notify_one();
    timeout(LONG, BEGAN.notified()).await.unwrap();
    let last = record().await.last.unwrap();
    assert_eq!((last.occurrence, last.state), (queued, Some(JobState::Active)));
    let forced = jobs.trigger_forced("held").await.unwrap();
    timeout(LONG, BEGAN.notified()).await.unwrap();
    jobs.pause_schedule("held").await.unwrap();
    assert_eq!(record().await.by_hand.map(|run| run.job), Some(forced.id()));
    END.notify_waiters();
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_due_once_runs_once_and_is_gone_for_all_processes() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static RAN: Notify = Notify::const_new();
    #[job]
    async fn launch(what: String) {
        assert_eq!(what, "it");
        RUNS.fetch_add(1, Ordering::SeqCst);
        RAN.notify_one();
    }
    let start = async |role| {
        let process = process(RedisServer::shared(), "once", role);
        process.register(launch::definition()).start().await.unwrap()
    };
    let (web, one, two) = (start("web").await, start("worker").await, start("worker").await);
    let at = SystemTime::now() + Duration::from_millis(700);
    web.schedule(NewSchedule::once("launch", at, launch::job("it".into()))).await.unwrap();
    let record = web.scheduled_job("launch").await.unwrap().unwrap();
    timeout(LONG, RAN.notified()).await.unwrap();
    assert!(SystemTime::from(record.next.unwrap()) <= SystemTime::now(), "and not early");
    while web.is_scheduled("launch").await.unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(web.scheduled_jobs().await.unwrap().is_empty());
    for jobs in [web, one, two] {
        jobs.shutdown().await.unwrap();
    }
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn schedules_in_code_are_back_after_the_server_lost_them() {
    #[job(cron = "0 3 * * *")]
    async fn nightly() {}
    let server = RedisServer::start();
    let worker = process(&server, "lost", "worker").register(nightly::definition());
    let worker = worker.start().await.unwrap();
    let web = process(&server, "lost", "web").register(digest::definition()).start().await.unwrap();
    assert!(web.is_scheduled("nightly").await.unwrap());
    server.call(&["FLUSHALL"]);
    assert!(!web.is_scheduled("nightly").await.unwrap());
    // Within half a minute it would be noticed anyway; whoever changes a schedule wakes it.
    let other = NewSchedule::cron("other", "0 7 * * *", digest::job(1));
    web.schedule(other).await.unwrap();
    let back = async {
        while !web.is_scheduled("nightly").await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, back).await.expect("it is there again");
    worker.shutdown().await.unwrap();
}

/// A store of which the test has hold.
async fn store(server: &RedisServer, namespace: &str) -> Arc<dyn JobAdapter> {
    let namespace = Namespace::new(namespace).unwrap();
    let mut connection = Connection::new(namespace, Arc::new(SystemClock));
    connection.variables.insert("JOBS_REDIS_URL", server.url());
    let redis = Provider::linked().into_iter().find(|provider| provider.name == "redis");
    (redis.unwrap().connect)(connection).await.unwrap()
}

#[tokio::test]
async fn a_schedule_that_a_clock_that_was_ahead_took_along_goes_on_when_somebody_starts() {
    static RUNS: Mutex<Vec<Timestamp>> = Mutex::new(Vec::new());
    #[job]
    async fn tick(ctx: JobContext) {
        RUNS.lock().unwrap().push(ctx.scheduled_at());
    }
    let server = RedisServer::start();
    let store = store(&server, "ahead").await;
    let web = process(&server, "ahead", "web").adapter(store.clone()).register(tick::definition());
    let web = web.start().await.unwrap();
    web.schedule(NewSchedule::every("tick", seconds(1), tick::job())).await.unwrap();
    let record = web.scheduled_job("tick").await.unwrap().unwrap();
    let at = record.next.unwrap();
    while web.now().await.unwrap() < at {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // As somebody fires it whose clock is a day ahead, and so was the server's.
    let run = at + hours(24);
    let mut ahead = Firing::new(&record, at, Some(run + seconds(1)));
    (ahead.run, ahead.missed) = (Some(run), 24 * 3600);
    assert!(matches!(store.fire(&[ahead]).await.unwrap()[..], [Fired::Job(_)]));

    let worker = process(&server, "ahead", "worker").adapter(store.clone());
    let worker = worker.register(tick::definition()).start().await.unwrap();
    let ran = async {
        while RUNS.lock().unwrap().len() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, ran).await.expect("it goes on");
    let record = web.scheduled_job("tick").await.unwrap().unwrap();
    assert_eq!(record.passed.unwrap().resume, Some(run + seconds(1)));
    worker.shutdown().await.unwrap();
    web.shutdown().await.unwrap();
    let mut runs = RUNS.lock().unwrap().clone();
    let made_up = runs.iter().position(|at| *at == run).expect("the one of tomorrow had its job");
    runs.remove(made_up);
    assert!(runs[0] > at && runs[0] < at + minutes(1), "{runs:?}");
    assert!(runs.windows(2).all(|pair| pair[1] == pair[0] + seconds(1)), "{runs:?}");
}
