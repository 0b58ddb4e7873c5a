//! A server that is full refuses what is new, and lets go on what frees memory.

use crate::support::*;

fn fill(server: &RedisServer) {
    server.call(&["CONFIG", "SET", "maxmemory", "1"]);
}

fn empty(server: &RedisServer) {
    server.call(&["CONFIG", "SET", "maxmemory", "0"]);
}

/// A job that is due 50 ms after it is enqueued.
fn due_soon() -> JobSpec {
    let mut job = job();
    job.due = Due::After(ms(50));
    job
}

#[tokio::test]
async fn an_enqueue_to_a_full_server_is_refused_and_may_be_tried_again() {
    let server = RedisServer::start();
    let adapter = open(&server.url());
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    fill(&server);
    // Of a queue that the process knows, and of a new one.
    for queue in [work(), queue("another")] {
        let (answer, took) = timed(adapter.enqueue(&queue, jobs(1))).await;
        let error = answer.unwrap_err();
        assert!(took < PATIENCE, "{took:?}");
        let says = ["full", "OOM", "maxmemory", &server.url(), queue.as_str()];
        assert_error(&error, ErrorKind::Capacity, Effect::None, &says);
        assert!(error.is_retryable());
    }
    empty(&server);
    assert_eq!(adapter.enqueue(&work(), jobs(1)).await.unwrap(), [Enqueued::New]);
    assert_eq!(adapter.counts(&work()).await.unwrap().waiting, 2);
}

#[tokio::test]
async fn jobs_of_a_full_server_are_claimed_settled_and_kept_alive() {
    let server = RedisServer::start();
    let keep_nothing = |settings: &mut StoreSettings| {
        settings.keep_completed.age = Duration::ZERO;
    };
    let adapter = open_with(&server.url(), keep_nothing);
    adapter.enqueue(&work(), jobs(3)).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    let held = worker.claim(1).await;
    fill(&server);
    let answer = worker.exchange(&worker.turn(&[(held[0], Outcome::Complete)], 1)).await;
    assert_eq!((answer.refused.len(), answer.claimed.len()), (0, 1));
    let mut heart = adapter.heart().await.unwrap();
    heart.beat(&[worker.beat()]).await.unwrap();

    // So it is for one that comes only now.
    let late = open_with(&server.url(), keep_nothing);
    let mut worker = Worker::new(&late, &work());
    let held = worker.claim(1).await;
    assert_eq!(held.len(), 1);
    worker.settle(&[(held[0], Outcome::Complete)]).await;
    let counts = late.counts(&work()).await.unwrap();
    assert_eq!((counts.waiting, counts.active), (0, 1));
}

#[tokio::test]
async fn finished_jobs_of_a_full_server_are_forgotten_in_time() {
    let server = RedisServer::start();
    let adapter = open_with(&server.url(), |settings| settings.keep_completed.age = ms(50));
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    let held = worker.claim(1).await;
    worker.settle(&[(held[0], Outcome::Complete)]).await;
    fill(&server);
    sleep(ms(100)).await;
    assert_eq!(adapter.sweep(&work()).await.unwrap().trimmed, 1);
    assert_eq!(server.call(&["EXISTS", "{test:work}:jobs"]).int(), 0);
}

#[tokio::test]
async fn a_sweep_of_a_full_server_forgets_what_is_finished_and_lets_wait_what_is_due() {
    let server = RedisServer::start();
    let adapter = open_with(&server.url(), |settings| settings.keep_completed.age = ms(50));
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    let held = worker.claim(1).await;
    worker.settle(&[(held[0], Outcome::Complete)]).await;
    adapter.enqueue(&work(), vec![due_soon()]).await.unwrap();
    fill(&server);
    sleep(ms(100)).await;
    let swept = adapter.sweep(&work()).await.unwrap();
    assert_eq!((swept.trimmed, swept.promoted), (1, 1));
}

#[tokio::test]
async fn a_full_server_with_nothing_to_forget_lets_wait_what_is_due() {
    let server = RedisServer::start();
    let adapter = open(&server.url());
    adapter.enqueue(&work(), vec![due_soon()]).await.unwrap();
    fill(&server);
    sleep(ms(100)).await;
    assert_eq!(adapter.sweep(&work()).await.unwrap().promoted, 1);
    assert_eq!(adapter.counts(&work()).await.unwrap().waiting, 1);
}

#[tokio::test]
async fn jobs_of_a_full_server_are_settled_while_another_is_due() {
    let server = RedisServer::start();
    let adapter = open_with(&server.url(), |settings| settings.keep_completed.age = Duration::ZERO);
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    let held = worker.claim(1).await;
    adapter.enqueue(&work(), vec![due_soon()]).await.unwrap();
    fill(&server);
    sleep(ms(100)).await;
    let answer = worker.exchange(&worker.turn(&[(held[0], Outcome::Complete)], 1)).await;
    assert_eq!((answer.refused.len(), answer.claimed.len()), (0, 1));
}

#[tokio::test]
async fn jobs_of_a_dead_worker_are_taken_back_at_a_full_server() {
    let server = RedisServer::start();
    let adapter = open_with(&server.url(), |settings| {
        settings.lease = ms(50);
        settings.grace = ms(50);
    });
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    let held = worker.claim(1).await;
    fill(&server);
    let taken_back = async {
        loop {
            let swept = adapter.sweep(&work()).await.unwrap();
            if let Some(recovered) = swept.recovered.first() {
                return recovered.spec.id;
            }
            sleep(ms(20)).await;
        }
    };
    assert_eq!(soon("the job is taken back", taken_back).await, held[0]);
}

#[tokio::test]
async fn awaiting_a_job_at_a_full_server_is_patient() {
    let server = RedisServer::start();
    let adapter = open(&server.url());
    let job = job();
    adapter.enqueue(&work(), vec![job.clone()]).await.unwrap();
    fill(&server);
    let calls = || {
        let stats = server.info("commandstats");
        let stat = stats.get("cmdstat_evalsha").and_then(|stat| stat.strip_prefix("calls="));
        let count = stat.and_then(|stat| stat.split(',').next());
        count.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    let before = calls();
    let awaiting = {
        let adapter = adapter.clone();
        tokio::spawn(async move { adapter.await_finish(&work(), job.id, LONG).await })
    };
    sleep(ms(1200)).await;
    let asked = calls() - before;
    assert!((1..10).contains(&asked), "it asked {asked} times in a second");
    empty(&server);
    let mut worker = Worker::new(&adapter, &work());
    let held = worker.claim(1).await;
    worker.settle(&[(held[0], Outcome::Complete)]).await;
    let ended = soon("the job's end", awaiting).await.unwrap().unwrap().unwrap();
    assert_eq!(ended.state, JobState::Completed);
}

#[tokio::test]
async fn an_occurrence_that_finds_the_server_full_is_fired_later() {
    let server = RedisServer::start();
    let adapter = open(&server.url());
    let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
    let definition = schedule("nightly", &work());
    adapter.schedule(definition.clone(), Some(at(1))).await.unwrap();
    let due = record(&adapter, &definition.id).await;
    let firing = Firing::new(&due, at(1), Some(at(2)));
    fill(&server);
    let error = adapter.fire(std::slice::from_ref(&firing)).await.unwrap_err();
    assert_error(&error, ErrorKind::Capacity, Effect::None, &["full"]);
    empty(&server);
    let fired = adapter.fire(&[firing]).await.unwrap();
    assert_eq!(fired, [Fired::Job(JobId::of_occurrence(&definition.id, at(1)))]);
}
