//! What people should know of a server is said when a process connects to it, once.

use crate::events::{Fields, record};
use crate::support::*;

/// What was said of a server at this level.
fn said(server: &RedisServer, level: &str) -> Vec<Fields> {
    let shown = format!("{}/0", server.url());
    record().with([("server", &shown), ("level", level)])
}

fn all_that_say<'a>(events: &'a [Fields], text: &str) -> Vec<&'a Fields> {
    events.iter().filter(|event| event["message"].contains(text)).collect()
}

fn says(server: &RedisServer, level: &str, text: &str) -> bool {
    !all_that_say(&said(server, level), text).is_empty()
}

#[tokio::test]
async fn a_server_that_may_lose_jobs_is_warned_of_once() {
    record();
    let policy = ["--maxmemory-policy", "allkeys-lru"];
    let server = RedisServer::options().args(policy).start();
    let adapter = open(&server.url());
    adapter.ping().await.unwrap();
    let warnings = said(&server, "WARN");
    let policy = all_that_say(&warnings, "maxmemory-policy");
    assert_eq!(policy.len(), 1, "{warnings:?}");
    for word in ["allkeys-lru", "DELETE JOBS", "noeviction"] {
        assert!(policy[0]["message"].contains(word), "{policy:?}");
    }
    let append_only = all_that_say(&warnings, "appendonly");
    assert_eq!(append_only.len(), 1, "{warnings:?}");
    assert!(append_only[0]["message"].contains("set appendonly yes"), "{append_only:?}");

    // A connection that is made anew has nothing new to say.
    server.call(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("it is connected again", || says(&server, "INFO", "redis is back")).await;
    assert_eq!(all_that_say(&said(&server, "WARN"), "maxmemory-policy").len(), 1);

    // Until something changes.
    server.call(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    server.call(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("it is said", || says(&server, "WARN", "volatile-ttl")).await;
}

#[tokio::test]
async fn of_a_server_that_keeps_jobs_safe_nothing_is_said_but_what_it_is() {
    record();
    let server = RedisServer::options().append_only(Fsync::EverySecond).start();
    open(&server.url()).ping().await.unwrap();
    assert_eq!(said(&server, "WARN"), []);
    assert_eq!(said(&server, "ERROR"), []);
    let told = said(&server, "INFO");
    assert_eq!(told.len(), 1, "{told:?}");
    let version = &server.info("server")["redis_version"];
    let is = |field: &str| told[0].get(field).map(String::as_str);
    assert_eq!(is("version"), Some(version.as_str()));
    assert_eq!((is("maxmemory_policy"), is("append_only")), (Some("noeviction"), Some("true")));
    assert!(is("round_trip").is_some(), "{told:?}");
}

#[tokio::test]
async fn a_server_that_is_away_is_spoken_of_seldom_and_so_is_its_return() {
    record();
    let server = RedisServer::start();
    let adapter = open_with(&server.url(), |settings| settings.connect_timeout = ms(200));
    adapter.ping().await.unwrap();
    server.kill();
    for _ in 0..4 {
        adapter.ping().await.unwrap_err();
    }
    let warnings = said(&server, "WARN");
    assert_eq!(all_that_say(&warnings, "redis is away").len(), 1, "{warnings:?}");
    server.restart();
    soon("it is found", async { while adapter.ping().await.is_err() {} }).await;
    assert_eq!(all_that_say(&said(&server, "INFO"), "redis is back").len(), 1);
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_an_error_in_the_log() {
    record();
    let server = RedisServer::start();
    server.call(&["SET", "{test}:format", "2"]);
    open(&server.url()).ping().await.unwrap_err();
    let errors = said(&server, "ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0]["message"].contains("format"), "{errors:?}");
}

#[tokio::test]
async fn a_server_whose_settings_a_user_may_not_see_is_said_to_be_unchecked_once() {
    record();
    let server = RedisServer::start();
    server.call(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-info"]);
    let adapter = open(&format!("redis://app:pw@{}", server.address()));
    adapter.ping().await.unwrap();
    server.call(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("it is connected again", || says(&server, "INFO", "redis is back")).await;
    let warnings = said(&server, "WARN");
    assert_eq!(all_that_say(&warnings, "may not use INFO").len(), 1, "{warnings:?}");
}
