//! What a process costs that has nothing to do, and how soon it begins when there is something.

use std::collections::BTreeMap;
use std::time::Duration;

use shiftwork::Jobs;
use shiftwork_process_tests::jobs::{BRIEF, Brief};
use shiftwork_process_tests::journal::{Event, now_us};
use shiftwork_test_kit::{Connection, RedisServer};
use tokio::time::sleep;

use crate::account::settled;
use crate::world::{LONG, World, report, until};

/// All that a process sets up by itself is set up by then.
const SETTLES: Duration = Duration::from_secs(3);

/// For how long its commands are counted, and how many may come each second.
const COUNTED: Duration = Duration::from_secs(20);
const MOST_A_SECOND: f64 = 1.0;

const ENQUEUES: usize = 200;
const MOST_P99: Duration = Duration::from_millis(50);

/// A machine that is busy otherwise may spoil a round of them, and not so many.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_on_five_queues_sends_a_command_a_second_at_most_and_starts_at_once() {
    let world = World::new([("JOBS_TICK_ENABLED", "false")]);
    let worker = world.started("worker", []).await;
    sleep(SETTLES).await;
    let monitor = Monitor::start(&world.server);
    sleep(COUNTED).await;
    let commands = monitor.end();
    let a_second = commands.values().sum::<usize>() as f64 / COUNTED.as_secs_f64();
    report("idle", format_args!("{a_second:.2} commands a second: {commands:?}"));
    assert!(a_second <= MOST_A_SECOND, "{a_second:.2} commands a second: {commands:?}");
    assert!(!commands.is_empty(), "the process asks from time to time; its log:\n{}", worker.log());

    let web = world.web([]).await;
    let mut p99s = Vec::new();
    while p99s.len() < ROUNDS && p99s.last().is_none_or(|p99| *p99 >= MOST_P99) {
        let latencies = latencies(&world, &web).await;
        let (p50, p99) = (latencies[ENQUEUES / 2], latencies[ENQUEUES * 99 / 100]);
        report(
            "latency",
            format_args!("p50 {p50:.1?}, p99 {p99:.1?}, most {:.1?}", latencies[ENQUEUES - 1]),
        );
        p99s.push(p99);
    }
    assert!(p99s.iter().any(|p99| *p99 < MOST_P99), "from enqueue to start, at p99: {p99s:?}");
}

/// Idle workers, each on a server of its own: by how it is asked to poll, and whether the server
/// wakes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_longer_poll_costs_an_idle_worker_fewer_commands_whether_its_server_wakes_it_or_not() {
    let (woken, mute) = (true, false);
    let (woken, woken_seldom, mute, mute_seldom) = tokio::join!(
        idle(woken, None),
        idle(woken, Some("1m")),
        idle(mute, None),
        idle(mute, Some("10s")),
    );
    let sent = [woken, woken_seldom, mute, mute_seldom];
    assert!(woken_seldom < woken / 3.0, "{sent:?}");
    assert!(mute_seldom < mute / 3.0, "{sent:?}");
    // On five queues: each is looked at once a second for jobs, and more seldom for all else.
    assert!(mute < 5.0 * 1.5, "{sent:?}");
}

/// How many commands a second an idle worker sends.
async fn idle(wakes: bool, poll: Option<&str>) -> f64 {
    let forbidden = ["HELLO", "SUBSCRIBE", "PUBLISH"];
    let renamed = forbidden.iter().flat_map(|name| ["--rename-command", *name, ""]);
    let options = RedisServer::options();
    let options = if wakes { options } else { options.args(renamed) };
    let variables = poll.map(|poll| ("JOBS_IDLE_POLL", poll));
    let variables = variables.into_iter().chain([("JOBS_TICK_ENABLED", "false")]);
    let world = World::of(options.start(), variables);
    let _worker = world.started("worker", []).await;
    sleep(SETTLES).await;
    let all = || world.server.info("stats")["total_commands_processed"].parse::<f64>().unwrap();
    let (monitor, before) = (Monitor::start(&world.server), all());
    sleep(COUNTED).await;
    let inside = (all() - before) / COUNTED.as_secs_f64();
    let sent = monitor.end().values().sum::<usize>() as f64 / COUNTED.as_secs_f64();
    let server = if wakes { "wakes" } else { "is mute" };
    report(
        "idle",
        format_args!(
            "a server that {server}, polls of {}: {sent:.2} commands a second, {inside:.2} with \
             those inside of scripts",
            poll.unwrap_or("no stated length")
        ),
    );
    sent
}

/// How long it takes from before an enqueue to the handler's start, one after the other, sorted.
async fn latencies(world: &World, web: &Jobs) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for _ in 0..ENQUEUES {
        let sent_us = now_us();
        let run = web.enqueue(Brief { ms: 0 }).await.unwrap();
        let start = until("it starts", LONG, async || {
            let entries = world.events(Event::Start, "brief");
            entries.into_iter().find(|entry| entry.id == run.id()).ok_or_else(|| "not".into())
        })
        .await;
        latencies.push(Duration::from_micros(start.at_us.saturating_sub(sent_us)));
        // The worker is idle again.
        settled(web, BRIEF, LONG).await;
    }
    latencies.sort_unstable();
    latencies
}

/// Counts what clients send, from its start to its end.
struct Monitor<'a> {
    server: &'a RedisServer,
    connection: Connection,
}

impl<'a> Monitor<'a> {
    fn start(server: &'a RedisServer) -> Self {
        let mut connection = Connection::open(server.address(), LONG).unwrap();
        assert_eq!(connection.call(&["MONITOR"]).unwrap().text(), "OK");
        Self { server, connection }
    }

    /// How many commands of each name clients have sent. What a script did is its own affair.
    fn end(mut self) -> BTreeMap<String, usize> {
        let last = "that was all";
        self.server.call(&["ECHO", last]);
        let mut commands = BTreeMap::new();
        loop {
            let line = self.connection.receive().unwrap().text();
            if line.contains(last) {
                return commands;
            }
            let (_, rest) = line.split_once(" [").expect("a line of MONITOR names its client");
            let (client, command) = rest.split_once("] ").expect("the client ends");
            if !client.ends_with("lua") {
                let name = command.split(' ').next().unwrap_or_default().trim_matches('"');
                *commands.entry(name.to_lowercase()).or_default() += 1;
            }
        }
    }
}
