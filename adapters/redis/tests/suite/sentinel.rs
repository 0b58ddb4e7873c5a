//! Sentinels: who is followed when a primary dies, and what is said where there is none.

use std::collections::BTreeSet;

use shiftwork_test_kit::Watched;

use crate::support::*;

/// Follows within so long: a second until it is down, an election, and the pauses between tries.
const FOLLOWED: Duration = Duration::from_secs(15);

async fn answers(adapter: &RedisAdapter) {
    let began = Instant::now();
    let answers = async {
        while adapter.ping().await.is_err() {
            sleep(ms(20)).await;
        }
    };
    timeout(FOLLOWED, answers).await.expect("it is followed");
    println!("followed after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_dies_is_followed_by_another_and_jobs_run_there() {
    let watched = tokio::task::spawn_blocking(Watched::start).await.unwrap();
    let adapter = open(&watched.url());
    let first = watched.primary();
    let before: BTreeSet<JobId> = enqueued(&adapter, 10).await;
    // So that the failover takes nothing with it.
    assert_eq!(first.call(&["WAIT", "2", "5000"]).int(), 2);

    first.kill();
    answers(&adapter).await;
    // The first sentinel may be told a little later than the one that was followed.
    watched.until_replaced(first);
    let after = enqueued(&adapter, 10).await;
    let mut worker = Worker::new(&adapter, &work());
    let claimed: BTreeSet<JobId> = worker.claim(100).await.into_iter().collect();
    assert_eq!(claimed, before.union(&after).copied().collect());
    // The heart finds it as well, once it reaches a sentinel that knows.
    let heart = async {
        loop {
            if let Ok(heart) = adapter.heart().await {
                return heart;
            }
        }
    };
    let mut heart = soon("a heart", heart).await;
    let beat = Beat::new(work(), worker.incarnation, claimed.len());
    let answers = heart.beat(&[beat]).await.unwrap();
    assert!(matches!(answers[..], [BeatReply::Renewed { .. }]), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_falls_silent_is_left() {
    let watched = tokio::task::spawn_blocking(Watched::start).await.unwrap();
    let adapter = open(&watched.url());
    adapter.ping().await.unwrap();
    let first = watched.primary();
    first.stall();
    answers(&adapter).await;
    // The first sentinel may be told a little later than the one that was followed.
    watched.until_replaced(first);
    first.resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sentinel_that_lives_will_do() {
    let watched = tokio::task::spawn_blocking(Watched::start).await.unwrap();
    watched.sentinels()[1].kill();
    watched.sentinels()[2].stall();
    let adapter = open(&watched.url());
    adapter.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_sentinels_is_said_at_once() {
    let server = RedisServer::start();
    let watched = tokio::task::spawn_blocking(Watched::start).await.unwrap();
    let no_sentinel = format!("redis-sentinel://me:hunter2@{}/shop/0", server.address());
    let no_such_name = watched.url().replace("/primary/", "/shop/");
    let nowhere = "redis-sentinel://me:hunter2@127.0.0.1:1,127.0.0.1:2/shop/0".to_owned();
    for (url, kind, says) in [
        (no_sentinel, ErrorKind::Invalid, "no sentinel"),
        (no_such_name, ErrorKind::Invalid, "no primary that is called \"shop\""),
        (nowhere, ErrorKind::Unavailable, "refused"),
    ] {
        let adapter = open(&url);
        let error = adapter.ping().await.unwrap_err();
        let shown = url.replace("me:hunter2@", "");
        assert_error(&error, kind, Effect::None, &[says, &shown]);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

/// A user of the sentinels, and one of the servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_servers_have_users_and_passwords_of_their_own() {
    let watched = tokio::task::spawn_blocking(Watched::start).await.unwrap();
    let rules = |password| ["ACL", "SETUSER", "app", "on", password, "~*", "&*", "+@all"];
    watched.sentinels().iter().for_each(|sentinel| drop(sentinel.call(&rules(">of-sentinels"))));
    watched.servers().iter().for_each(|server| drop(server.call(&rules(">of-servers"))));
    let url = |server: &str, sentinel: &str| {
        let url = watched.url().replace("://", &format!("://app:{server}@"));
        format!("{url}?sentinel_username=app&sentinel_password={sentinel}")
    };
    open(&url("of-servers", "of-sentinels")).ping().await.unwrap();
    let sentinel = watched.sentinels()[0].address().to_string();
    for (url, whose) in [
        (url("of-sentinels", "of-sentinels"), "WRONGPASS"),
        (url("of-servers", "of-servers"), &*sentinel),
    ] {
        let error = open(&url).ping().await.unwrap_err();
        let says = [whose, "user and password", "JOBS_REDIS_URL"];
        assert_error(&error, ErrorKind::Denied, Effect::None, &says);
        assert!(!format!("{error} {error:?}").contains("of-se"), "{error}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_servers_are_spoken_to_by_tls() {
    let (certificates, watched) = blocking(|| {
        let certificates = shiftwork_test_kit::Certificates::new();
        let watched = Watched::by_tls(&certificates);
        (certificates, watched)
    })
    .await;
    let mut connection = connection(&watched.tls_url(), "test", |_| {});
    connection.variables.insert("JOBS_REDIS_TLS_CA", certificates.ca().display().to_string());
    let adapter = RedisAdapter::new(connection).unwrap();
    adapter.ping().await.unwrap();
    let first = watched.primary();
    first.kill();
    answers(&adapter).await;
    watched.until_replaced(first);
}

async fn enqueued(adapter: &RedisAdapter, count: usize) -> BTreeSet<JobId> {
    let batch = jobs(count);
    let ids = batch.iter().map(|job| job.id).collect();
    adapter.enqueue(&work(), batch).await.unwrap();
    ids
}
