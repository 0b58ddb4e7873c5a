//! Enqueues that wait until replicas have them.

use crate::monitor::calls;
use crate::support::*;

/// A primary, and a replica that follows it.
async fn pair() -> (RedisServer, RedisServer) {
    let primary = RedisServer::options().args(["--repl-diskless-sync-delay", "0"]).start();
    let args = ["--replicaof", "127.0.0.1", &primary.port().to_string()];
    let replica = RedisServer::options().args(args).start();
    primary.call(&["SET", "first", "1"]);
    eventually("it follows, as its primary has heard", || {
        let info = primary.info("replication");
        let offset = format!("offset={},", info["master_repl_offset"]);
        let follows = |is: &String| is.contains("state=online") && is.contains(&offset);
        info.get("slave0").is_some_and(follows)
    })
    .await;
    (primary, replica)
}

fn waiting(url: &str, replicas: &str) -> Arc<RedisAdapter> {
    // Two seconds for the replicas, however busy the machine is.
    let mut connection = connection(url, "test", |all| all.connect_timeout = ms(10_000));
    connection.variables.insert("JOBS_REDIS_WAIT_REPLICAS", replicas.into());
    Arc::new(RedisAdapter::new(connection).unwrap())
}

fn stored(server: &RedisServer) -> i64 {
    server.call(&["HLEN", "{test:work}:jobs"]).int()
}

#[tokio::test]
async fn an_enqueue_is_acknowledged_once_a_replica_has_it() {
    let (primary, replica) = pair().await;
    let adapter = waiting(&primary.url(), "1");
    for count in [1, 10, 100] {
        let before = stored(&replica);
        adapter.enqueue(&work(), jobs(count)).await.unwrap();
        assert_eq!(stored(&replica) - before, i64::try_from(count).unwrap());
    }
}

#[tokio::test]
async fn with_too_few_replicas_it_is_stored_and_not_confirmed_and_can_be_once_they_are_back() {
    let (primary, replica) = pair().await;
    let adapter = waiting(&primary.url(), "1");
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    replica.stall();
    let mut worker = Worker::new(&adapter, &work());
    let spec = job();
    let queue = work();
    let mut enqueueing = Box::pin(adapter.enqueue(&queue, vec![spec.clone()]));
    begin(&mut enqueueing).await;
    // It waits on a connection of its own, and holds up no other call.
    let (claimed, took) = timed(worker.claim(1)).await;
    assert_eq!(claimed.len(), 1);
    assert!(took < Duration::from_secs(1), "{took:?}");
    let error = enqueueing.await.unwrap_err();
    assert_error(
        &error,
        ErrorKind::Unavailable,
        Effect::Unknown,
        &["0 of 1 replicas", "JOBS_REDIS_WAIT_REPLICAS", "the same id"],
    );
    assert!(error.is_retryable());
    assert_eq!(stored(&primary), 2);

    replica.resume();
    let again = adapter.enqueue(&work(), vec![spec]).await.unwrap();
    assert_eq!(again, [Enqueued::Existing]);
    assert_eq!(stored(&replica), 2);
}

#[tokio::test]
async fn an_enqueue_that_is_sent_again_waits_again() {
    let (primary, replica) = pair().await;
    let world = World::of(primary);
    let adapter = waiting(&world.proxy.url(), "1");
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let spec = job();
    replica.stall();
    let lost = world.proxy.lose_next_reply(calls("push"));
    let told = adapter.enqueue(&work(), vec![spec]).await.unwrap_err();
    assert!(lost.happened(), "it was sent again");
    assert_error(&told, ErrorKind::Unavailable, Effect::Unknown, &["0 of 1 replicas"]);
}

#[tokio::test]
async fn who_may_not_wait_is_told_so_at_once() {
    let server = RedisServer::start();
    server.call(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-wait"]);
    let url = server.url().replace("://", "://app:secret@");
    let error = waiting(&url, "1").ping().await.unwrap_err();
    assert_error(&error, ErrorKind::Denied, Effect::None, &["wait"]);
    open(&url).ping().await.expect("who does not wait needs it not");
}

#[tokio::test]
async fn a_number_that_is_none_is_refused_at_the_start() {
    let mut connection = connection("redis://127.0.0.1", "test", |_| {});
    connection.variables.insert("JOBS_REDIS_WAIT_REPLICAS", "most".into());
    let error = RedisAdapter::new(connection).err().expect("it is refused");
    assert_error(
        &error,
        ErrorKind::Invalid,
        Effect::None,
        &["JOBS_REDIS_WAIT_REPLICAS", "\"most\"", "from 0 to 100"],
    );
}
