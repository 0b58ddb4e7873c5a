//! Where the server is, and whether what is there will do.

use crate::support::*;

#[tokio::test]
async fn user_password_and_database_are_taken_from_the_url() {
    let server = RedisServer::start();
    server.call(&["ACL", "SETUSER", "a:b", "on", ">p@ss/w:rd%", "~*", "&*", "+@all"]);
    let address = server.address();
    let adapter = open(&format!(" redis://a%3Ab:p%40ss%2Fw%3Ard%25@{address}/3\n"));
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    assert_eq!(server.info("keyspace").keys().collect::<Vec<_>>(), ["db3"]);
    let clients = server.call(&["CLIENT", "LIST", "TYPE", "pubsub"]).text();
    assert!(clients.contains(" user=a:b ") && clients.contains(" db=3 "), "{clients}");
}

#[tokio::test]
async fn two_databases_are_two_stores() {
    let server = RedisServer::start();
    let (first, second) = (open(&server.url()), open(&format!("{}/1", server.url())));
    first.enqueue(&work(), jobs(1)).await.unwrap();
    assert_eq!(second.counts(&work()).await.unwrap().total(), 0);
    assert!(second.queues().await.unwrap().is_empty());
}

#[tokio::test]
async fn two_namespaces_are_two_stores() {
    let server = RedisServer::start();
    let of = |name| RedisAdapter::new(connection(&server.url(), name, |_| {})).unwrap();
    let (first, second) = (of("shop"), of("shop-2"));
    first.enqueue(&work(), jobs(1)).await.unwrap();
    assert_eq!(second.counts(&work()).await.unwrap().total(), 0);
    assert!(second.queues().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_socket_will_do() {
    let server = RedisServer::options().unix_socket().start();
    let url = format!("unix://{}?db=2", server.socket_path().display());
    let adapter = open(&url);
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    assert_eq!(server.info("keyspace").keys().collect::<Vec<_>>(), ["db2"]);
    let mut worker = Worker::new(&adapter, &work());
    assert_eq!(worker.claim(1).await.len(), 1);

    server.kill();
    let error = open_with(&url, |settings| settings.connect_timeout = ms(300)).ping().await;
    let error = error.unwrap_err();
    assert_error(&error, ErrorKind::Unavailable, Effect::None, &["unix://", "redis.sock"]);
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_with_what_to_use_and_without_its_password() {
    let check = shiftwork_redis::PROVIDER.variables[0].check;
    for url in [
        "",
        "localhost",
        "localhost:6379",
        "http://me:hunter2@localhost:6379",
        "redis//me:hunter2@localhost",
        "redis:/me:hunter2@localhost",
        "redis://me:hunter2@localhost:port",
        "redis://me:hunter2@localhost:6379/three",
        "redis://me:hunter2@localhost:6379/-1",
        "redis://me:hunter2@",
        "me:hunter2@localhost:6379",
    ] {
        let Err(error) = try_open(url, |_| {}) else { panic!("{url:?} is taken") };
        let says = ["JOBS_REDIS_URL", "redis://user:password@host:port/database", "unix:///"];
        assert_error(&error, ErrorKind::Invalid, Effect::None, &says);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        let told = check(url).unwrap_err();
        assert!(told.contains("use redis://") && !told.contains("hunter2"), "{told}");
    }
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn a_program_without_tls_says_what_brings_it() {
    for url in ["rediss://me:hunter2@localhost", "valkeys://me:hunter2@localhost"] {
        let Err(error) = try_open(url, |_| {}) else { panic!("{url} is taken") };
        assert_error(&error, ErrorKind::Invalid, Effect::None, &["feature tls", "redis://"]);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_database_that_the_server_does_not_have_is_named() {
    let server = RedisServer::start();
    let adapter = open(&format!("{}/16", server.url()));
    let error = adapter.ping().await.unwrap_err();
    let says = ["out of range", "databases", "JOBS_REDIS_URL", "/16"];
    assert_error(&error, ErrorKind::Invalid, Effect::None, &says);
}

#[tokio::test]
async fn a_store_of_a_newer_format_is_refused_and_left_alone() {
    let server = RedisServer::start();
    server.call(&["SET", "{test}:format", "2"]);
    let adapter = open(&server.url());
    let (answer, took) = timed(adapter.enqueue(&work(), jobs(1))).await;
    assert!(took < PATIENCE, "{took:?}");
    let says = ["format \"2\"", "up to 1", "upgrade", "JOBS_NAMESPACE"];
    assert_error(&answer.unwrap_err(), ErrorKind::Invalid, Effect::None, &says);
    assert_eq!(server.call(&["DBSIZE"]).int(), 1, "nothing was written");
    // Somebody moves it away.
    server.call(&["DEL", "{test}:format"]);
    let used = async {
        while adapter.ping().await.is_err() {
            sleep(ms(20)).await;
        }
    };
    soon("it is used", used).await;
    assert_eq!(server.call(&["GET", "{test}:format"]).text(), "1");
}

#[tokio::test]
async fn a_format_that_is_none_is_refused() {
    let server = RedisServer::start();
    server.call(&["SET", "{test}:format", "mine"]);
    let error = open(&server.url()).ping().await.unwrap_err();
    assert_error(&error, ErrorKind::Invalid, Effect::None, &["\"mine\"", "{test}:format"]);
}
