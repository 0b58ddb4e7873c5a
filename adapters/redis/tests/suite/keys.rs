//! What scripts touch: only keys that they declare, all in one slot of a cluster.

use std::collections::BTreeSet;

use crate::monitor::{Executed, Monitor, SCRIPTS};
use crate::support::*;
use crate::workload;

/// The keys of a command, by its name.
fn keys_of(executed: &Executed) -> &[Vec<u8>] {
    match executed.command.as_str() {
        "time" | "publish" => &[],
        "del" | "exists" => &executed.arguments,
        "get" | "set" | "pexpire" | "pttl" | "hgetall" | "hexists" | "hscan" | "setnx" | "hset"
        | "hsetnx" | "hget" | "hmget" | "hdel" | "hlen" | "hincrby" | "rpush" | "lpush"
        | "lpop" | "llen" | "sadd" | "srem" | "spop" | "scard" | "sismember" | "smembers"
        | "srandmember" | "smismember" | "sscan" | "zadd" | "zrem" | "zcard" | "zscore"
        | "zpopmin" | "zrange" | "zremrangebyrank" => &executed.arguments[..1],
        other => panic!("a script calls {other}: say here which of its arguments are keys"),
    }
}

/// The keys that a call of a script declares.
fn declared(call: &Executed) -> &[Vec<u8>] {
    let count: usize = String::from_utf8_lossy(&call.arguments[1]).parse().unwrap();
    &call.arguments[2..2 + count]
}

/// What is between the braces: it decides the slot.
fn tag(key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    let (_, rest) = key.split_once('{').unwrap_or_else(|| panic!("{key} has no hash tag"));
    let (tag, _) = rest.split_once('}').unwrap_or_else(|| panic!("{key} has no hash tag"));
    tag.to_owned()
}

fn is_call(executed: &Executed) -> bool {
    !executed.in_script && matches!(executed.command.as_str(), "eval" | "evalsha")
}

/// Each call of a script with what it executed. Which of the two is told first depends on the
/// server's version.
fn by_call(executed: &[Executed]) -> Vec<(&Executed, Vec<&Executed>)> {
    let probe = executed.iter().position(|executed| executed.arguments.contains(&b"probe".into()));
    let call_first = is_call(&executed[probe.expect("the probe was executed")]);
    let mut calls: Vec<(&Executed, Vec<&Executed>)> = Vec::new();
    let mut inside = Vec::new();
    for executed in executed {
        if is_call(executed) {
            let before = std::mem::take(&mut inside);
            calls.push((executed, if call_first { Vec::new() } else { before }));
        } else if executed.in_script {
            match calls.last_mut() {
                Some((_, after)) if call_first => after.push(executed),
                _ => inside.push(executed),
            }
        }
    }
    calls
}

#[tokio::test]
async fn scripts_touch_only_keys_that_they_declare_and_all_of_one_slot() {
    let server = RedisServer::start();
    let monitor = Monitor::start(&server);
    server.call(&["EVAL", "return redis.call('GET', KEYS[1])", "1", "probe"]);
    workload::run(&server.url()).await;
    let executed = monitor.end();

    let mut called = BTreeSet::new();
    for (call, inside) in by_call(&executed).into_iter().skip(1) {
        let sha = String::from_utf8_lossy(&call.arguments[0]);
        let script = SCRIPTS.iter().find(|(_, script)| script.sha == sha);
        let name = script.map_or("check", |(name, _)| name);
        if !inside.is_empty() {
            called.insert(name);
        }
        let declared = declared(call);
        for executed in inside {
            for key in keys_of(executed) {
                assert!(
                    declared.contains(key),
                    "{name} calls {} on {}, which it does not declare",
                    executed.command,
                    String::from_utf8_lossy(key)
                );
            }
        }
        let tags: BTreeSet<_> = declared.iter().map(|key| tag(key)).collect();
        assert_eq!(tags.len(), 1, "the keys of {name} are in several slots: {tags:?}");
    }
    let all: BTreeSet<_> = SCRIPTS.keys().map(String::as_str).chain(["check"]).collect();
    assert_eq!(called, all, "the workload calls every script");
}
