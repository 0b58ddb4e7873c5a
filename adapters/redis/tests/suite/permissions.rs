//! Users and passwords: who is refused is told what is missing, and goes on when it is there.

use crate::events::record;
use crate::support::*;
use crate::workload;

const SECRET: &str = "hunter2";

/// A URL of the server with user and password.
fn url(server: &RedisServer, user: &str, password: &str) -> String {
    format!("redis://{user}:{password}@{}", server.address())
}

fn set_user(server: &RedisServer, rules: &[&str]) {
    let command: Vec<_> = ["ACL", "SETUSER", "app"].iter().chain(rules).collect();
    assert_eq!(server.call(&command).text(), "OK");
}

/// All that is said of the server, to callers and in the log, keeps the password to itself.
fn assert_no_secret(server: &RedisServer, error: &AdapterError) {
    let shown = format!("redis://{}/0", server.address());
    let events = record().with([("server", &shown)]);
    assert!(!events.is_empty(), "something is said of {shown}");
    for text in [format!("{error} {error:?}"), format!("{events:?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

/// The user of `docs/production.md`, for the namespace `test`: keys and channels, then commands.
pub fn documented() -> (Vec<String>, Vec<String>) {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/production.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rules) = page.split_once("ACL SETUSER shiftwork on >password").unwrap();
    let (rules, _) = rules.split_once("```").unwrap();
    let rules = rules.split_whitespace().map(|rule| rule.replace("shop", "test"));
    rules.partition(|rule| !rule.starts_with('+'))
}

/// Lets the user be as documented, but for these rules.
fn set_documented(server: &RedisServer, but: &[&str]) {
    let (places, commands) = documented();
    let rules = ["reset", "on", ">hunter2"].into_iter();
    let rules = rules.chain(places.iter().chain(&commands).map(String::as_str));
    set_user(server, &rules.chain(but.iter().copied()).collect::<Vec<_>>());
}

/// Connects anew as the user.
async fn try_in(server: &RedisServer) -> Result<Pong> {
    open(&url(server, "app", SECRET)).ping().await
}

/// It becomes able to reach its server, by itself.
async fn is_let_in(adapter: &RedisAdapter) {
    let let_in = async {
        while adapter.ping().await.is_err() {
            sleep(ms(20)).await;
        }
    };
    soon("it is let in", let_in).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_a_right_one_is_found_later() {
    record();
    let server = RedisServer::start();
    set_user(&server, &["on", ">another", "~*", "&*", "+@all"]);
    let adapter = open(&url(&server, "app", SECRET));
    let (answer, took) = timed(adapter.enqueue(&work(), jobs(1))).await;
    let error = answer.unwrap_err();
    assert!(took < PATIENCE, "{took:?}");
    let says = ["WRONGPASS", "JOBS_REDIS_URL", &server.url()];
    assert_error(&error, ErrorKind::Denied, Effect::None, &says);
    assert_no_secret(&server, &error);
    let error = adapter.heart().await.err().unwrap();
    assert_error(&error, ErrorKind::Denied, Effect::None, &says);
    assert_no_secret(&server, &error);

    set_user(&server, &[">hunter2"]);
    is_let_in(&adapter).await;
    assert_eq!(adapter.enqueue(&work(), jobs(1)).await.unwrap(), [Enqueued::New]);
}

#[tokio::test]
async fn a_missing_password_is_asked_for() {
    let server = RedisServer::start();
    let mut admin = shiftwork_test_kit::Connection::open(server.address(), LONG).unwrap();
    admin.call(&["CONFIG", "SET", "requirepass", SECRET]).unwrap();
    let error = open(&server.url()).ping().await.unwrap_err();
    let says = ["NOAUTH", "JOBS_REDIS_URL", "redis://user:password@host:port"];
    assert_error(&error, ErrorKind::Denied, Effect::None, &says);
    open(&format!("redis://:{SECRET}@{}", server.address())).ping().await.unwrap();
}

#[tokio::test]
async fn a_user_that_goes_and_comes_back_is_told_and_let_in() {
    let server = RedisServer::start();
    set_documented(&server, &[]);
    let adapter = open(&url(&server, "app", SECRET));
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    server.call(&["ACL", "DELUSER", "app"]);
    let error = adapter.enqueue(&work(), jobs(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    set_documented(&server, &[]);
    is_let_in(&adapter).await;
}

#[tokio::test]
async fn the_user_of_the_documentation_may_do_all_that_is_needed() {
    let server = RedisServer::start();
    set_documented(&server, &[]);
    workload::run(&url(&server, "app", SECRET)).await;
    let refused = server.call(&["ACL", "LOG"]);
    assert!(refused.array().is_empty(), "nothing was refused on the way: {refused:?}");
}

#[tokio::test]
async fn whichever_command_a_user_may_not_use_is_named_at_the_start() {
    let server = RedisServer::start();
    let (_, commands) = documented();
    // Nobody can be refused a greeting; the others the adapter can do without.
    let optional = ["+hello", "+info", "+select", "+subscribe", "+publish"];
    for command in commands.iter().filter(|command| !optional.contains(&command.as_str())) {
        let name = &command[1..];
        set_documented(&server, &[&format!("-{name}")]);
        let error = try_in(&server).await.expect_err(name);
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Denied, Effect::None), "{error}");
        let text = error.to_string();
        assert!(text.to_lowercase().contains(name), "{name} is missing in: {text}");
        assert!(text.contains("docs/production.md"), "{text}");
    }
    for command in optional {
        set_documented(&server, &[&command.replace('+', "-")]);
        try_in(&server).await.unwrap_or_else(|error| panic!("without {command}: {error}"));
    }
}

#[tokio::test]
async fn keys_that_a_user_may_not_use_are_named_at_the_start() {
    let server = RedisServer::start();
    for (rules, names) in [
        (&["resetkeys", "~{test}:*"][..], "{test:check}:check"),
        (&["resetkeys", "~{test:*"], "{test}:check"),
    ] {
        set_documented(&server, rules);
        let error = try_in(&server).await.unwrap_err();
        let says = [names, "docs/production.md"];
        assert_error(&error, ErrorKind::Denied, Effect::None, &says);
    }
}

#[tokio::test]
async fn channels_that_a_user_may_not_use_are_named_in_a_warning_and_done_without() {
    record();
    for (channels, names) in [
        ("&{test}:*", "PUBLISH on channels such as {test:check}:check"),
        ("&{test:*", "PUBLISH on channels such as {test}:check"),
    ] {
        let server = RedisServer::start();
        set_documented(&server, &["resetchannels", channels]);
        try_in(&server).await.unwrap();
        let shown = format!("{}/0", server.url());
        let warnings = record().with([("server", &*shown), ("level", "WARN")]);
        assert!(warnings.iter().any(|event| event["message"].contains(names)), "{warnings:?}");
    }
}

#[tokio::test]
async fn a_permission_that_is_taken_away_fails_calls_until_it_is_back() {
    let server = RedisServer::start();
    set_documented(&server, &[]);
    let adapter = open(&url(&server, "app", SECRET));
    adapter.enqueue(&work(), jobs(1)).await.unwrap();

    set_user(&server, &["-evalsha"]);
    let error = adapter.enqueue(&work(), jobs(1)).await.unwrap_err();
    assert_error(&error, ErrorKind::Denied, Effect::None, &["evalsha", "docs/production.md"]);

    // In the middle of a script, something may have been written before.
    set_user(&server, &["+evalsha", "-rpush"]);
    let error = adapter.enqueue(&work(), jobs(1)).await.unwrap_err();
    assert_error(&error, ErrorKind::Denied, Effect::Unknown, &["docs/production.md"]);

    set_user(&server, &["+rpush"]);
    assert_eq!(adapter.enqueue(&work(), jobs(1)).await.unwrap(), [Enqueued::New]);
}
