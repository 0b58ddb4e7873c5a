//! What becomes of calls while the connection, or the server, is away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::monitor::calls;
use crate::support::*;

/// Everything but the plain time that a call may take: connecting anew, a busy machine.
const MORE: Duration = ms(600);

/// How long a call may take that is going to fail.
const BRIEF: Duration = ms(900);

/// A process that knows its server, and has a queue there.
async fn connected(world: &World) -> Arc<RedisAdapter> {
    connected_for(world, PATIENCE).await
}

/// The same, whose calls may take so long.
async fn connected_for(world: &World, patience: Duration) -> Arc<RedisAdapter> {
    let adapter = world.adapter_with(|settings| settings.connect_timeout = patience);
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    adapter
}

async fn waiting(adapter: &RedisAdapter) -> u64 {
    adapter.counts(&work()).await.unwrap().waiting
}

/// The process has noticed that its server is away.
async fn notices(adapter: &RedisAdapter) {
    let error = adapter.ping().await.expect_err("the server is away");
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn connections_that_are_cut_again_and_again_cost_no_call() {
    let world = World::new();
    let adapter = world.adapter();
    let over = Arc::new(AtomicBool::new(false));
    let made = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (adapter, over, made) = (adapter.clone(), over.clone(), made.clone());
        tasks.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                adapter.enqueue(&work(), jobs(2)).await.expect("it enqueues");
                made.fetch_add(2, Ordering::SeqCst);
                sleep(ms(1)).await;
            }
        });
    }
    let worker = {
        let (adapter, over) = (adapter.clone(), over.clone());
        tokio::spawn(async move {
            let mut worker = Worker::new(&adapter, &work());
            let mut ran = 0;
            loop {
                let was_over = over.load(Ordering::SeqCst);
                let held: Vec<_> =
                    worker.held.keys().map(|job| (*job, Outcome::Complete)).collect();
                let answer = worker.exchange(&worker.turn(&held, 10)).await;
                assert_eq!((answer.refused.len(), answer.reconcile), (0, false));
                ran += answer.claimed.len();
                if was_over && worker.held.is_empty() {
                    return ran;
                }
            }
        })
    };
    for _ in 0..8 {
        adapter.ping().await.unwrap();
        sleep(ms(20)).await;
        world.proxy.cut();
    }
    adapter.ping().await.unwrap();
    over.store(true, Ordering::SeqCst);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let ran = soon("all jobs run", worker).await.unwrap();
    assert_eq!(ran, made.load(Ordering::SeqCst), "each job ran once");
}

#[tokio::test]
async fn a_call_on_a_connection_that_was_forgotten_is_answered_on_a_new_one() {
    let world = World::new();
    let adapter = connected(&world).await;
    world.proxy.half_open();
    let calling = {
        let adapter = adapter.clone();
        tokio::spawn(async move { timed(adapter.enqueue(&work(), jobs(1))).await })
    };
    sleep(ms(50)).await;
    world.proxy.pass();
    let (answer, took) = calling.await.unwrap();
    assert_eq!(answer.unwrap(), [Enqueued::New]);
    assert!(took < PATIENCE, "{took:?}");
    assert_eq!(waiting(&world.other()).await, 2);
}

#[tokio::test]
async fn a_network_that_is_back_is_found_within_the_time_of_one_call() {
    let world = World::new();
    let adapter = connected_for(&world, BRIEF).await;
    // Whatever it is at when the network comes back, waiting for an answer or connecting.
    for silence in [ms(150), ms(450), ms(650), ms(1100)] {
        world.proxy.half_open();
        let other = adapter.clone();
        let meanwhile = tokio::spawn(async move { other.ping().await });
        sleep(silence).await;
        world.proxy.pass();
        let (answer, took) = timed(adapter.ping()).await;
        answer.unwrap_or_else(|error| panic!("after {silence:?} of silence: {error}"));
        assert!(took < BRIEF, "after {silence:?} of silence it took {took:?}");
        let _ = meanwhile.await;
    }
}

#[tokio::test]
async fn a_stall_shorter_than_a_call_may_take_costs_no_call() {
    let world = World::new();
    let adapter = connected(&world).await;
    world.proxy.stall();
    let calling = {
        let adapter = adapter.clone();
        tokio::spawn(async move { adapter.enqueue(&work(), jobs(1)).await })
    };
    // Longer than one answer may take.
    sleep(PATIENCE / 2).await;
    world.proxy.pass();
    assert_eq!(calling.await.unwrap().unwrap(), [Enqueued::New]);
    assert_eq!(waiting(&world.other()).await, 2);
}

#[tokio::test]
async fn a_network_that_is_slow_is_no_reason_to_fail() {
    let world = World::new();
    world.proxy.delay(ms(60));
    let adapter = world.adapter();
    assert_eq!(adapter.enqueue(&work(), jobs(1)).await.unwrap(), [Enqueued::New]);
    let mut worker = Worker::new(&adapter, &work());
    assert_eq!(worker.claim(1).await.len(), 1);
}

#[tokio::test]
async fn a_server_that_stalls_for_longer_than_a_call_may_take_is_said_not_to_answer() {
    let world = World::new();
    let adapter = connected_for(&world, BRIEF).await;
    world.server.stall();
    let (answer, took) = timed(adapter.ping()).await;
    assert!((BRIEF..BRIEF + MORE).contains(&took), "{took:?}");
    let says = ["900ms", "JOBS_CONNECT_TIMEOUT", &world.proxy.url()];
    assert_error(&answer.unwrap_err(), ErrorKind::Timeout, Effect::Unknown, &says);
    world.server.resume();
    adapter.ping().await.unwrap();
}

#[tokio::test]
async fn calls_that_consist_of_several_keep_to_the_time_of_one() {
    let world = World::new();
    let adapter = connected_for(&world, ms(1500)).await;
    let definition = schedule("nightly", &work());
    adapter.schedule(definition.clone(), None).await.unwrap();
    world.proxy.delay(ms(280));
    let trigger = Trigger::new(definition.id, id(), Duration::from_secs(1));
    let (answer, took) = timed(adapter.trigger(trigger)).await;
    assert!(took < ms(1900), "{took:?}: {answer:?}");
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again_with_its_jobs() {
    let server = RedisServer::options().append_only(Fsync::Always).start();
    let world = World::of(server);
    let adapter = connected(&world).await;
    let mut worker = Worker::new(&adapter, &work());
    let [job] = worker.claim(1).await[..] else { panic!("there is one job") };
    world.server.kill();
    notices(&adapter).await;
    world.server.restart();
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let answer = worker.exchange(&worker.turn(&[(job, Outcome::Complete)], 5)).await;
    assert_eq!((answer.refused.len(), answer.reconcile), (0, false));
    assert_eq!(answer.claimed.len(), 1);
}

#[tokio::test]
async fn a_call_waits_for_a_server_that_comes_back_in_time() {
    let world = World::of(RedisServer::options().append_only(Fsync::Always).start());
    let adapter = connected(&world).await;
    let world = Arc::new(world);
    world.server.kill();
    let calling = {
        let adapter = adapter.clone();
        tokio::spawn(async move { adapter.enqueue(&work(), jobs(1)).await })
    };
    let other = world.clone();
    blocking(move || other.server.restart()).await;
    assert_eq!(calling.await.unwrap().unwrap(), [Enqueued::New]);
    assert_eq!(waiting(&adapter).await, 2);
}

#[tokio::test]
async fn an_enqueue_without_a_server_fails_in_time_and_has_stored_nothing() {
    let world = World::of(RedisServer::options().append_only(Fsync::Always).start());
    let adapter = connected_for(&world, BRIEF).await;
    world.server.kill();
    notices(&adapter).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let adapter = adapter.clone();
        callers.spawn(async move { timed(adapter.enqueue(&work(), jobs(1))).await });
        sleep(ms(20)).await;
    }
    while let Some(answer) = callers.join_next().await {
        let (answer, took) = answer.unwrap();
        assert!((BRIEF - ms(100)..BRIEF + ms(300)).contains(&took), "{took:?}");
        let says = ["900ms", "JOBS_CONNECT_TIMEOUT", &world.proxy.url(), "queue: work"];
        assert_error(&answer.unwrap_err(), ErrorKind::Unavailable, Effect::None, &says);
    }
    world.server.restart();
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    assert_eq!(waiting(&adapter).await, 2, "what failed is not stored later");
}

#[tokio::test]
async fn a_process_that_never_met_its_server_says_why() {
    // Bound and not listening: nobody else's server can be there.
    let port = tokio::net::TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("redis://{}", port.local_addr().unwrap());
    let adapter = open_with(&url, |settings| settings.connect_timeout = ms(500));
    let (answer, took) = timed(adapter.enqueue(&work(), jobs(1))).await;
    assert!(took < ms(500) + MORE, "{took:?}");
    let says = ["500ms", "refused", &url];
    assert_error(&answer.unwrap_err(), ErrorKind::Unavailable, Effect::None, &says);
}

#[tokio::test]
async fn an_enqueue_that_was_executed_and_whose_reply_is_missing_is_not_known() {
    let world = World::new();
    let adapter = connected_for(&world, BRIEF).await;
    let lost = world.proxy.lose_next_reply(calls("push"));
    let calling = tokio::spawn(async move { timed(adapter.enqueue(&work(), jobs(1))).await });
    assert!(blocking(move || lost.wait(LONG)).await);
    world.proxy.refuse();
    let (answer, took) = calling.await.unwrap();
    assert!(took < BRIEF + MORE, "{took:?}");
    let says = ["whether it is done is not known", "queue: work"];
    assert_error(&answer.unwrap_err(), ErrorKind::Unavailable, Effect::Unknown, &says);
    assert_eq!(waiting(&world.other()).await, 2);
}

#[tokio::test]
async fn an_enqueue_that_was_sent_and_not_answered_is_not_known() {
    let world = World::new();
    let adapter = connected_for(&world, BRIEF).await;
    world.server.stall();
    let (answer, took) = timed(adapter.enqueue(&work(), jobs(1))).await;
    assert!(took < BRIEF + MORE, "{took:?}");
    assert_error(&answer.unwrap_err(), ErrorKind::Timeout, Effect::Unknown, &["queue: work"]);
    world.server.resume();
    // What was sent may be executed now; what comes after it is not hindered.
    assert_eq!(adapter.enqueue(&work(), jobs(1)).await.unwrap(), [Enqueued::New]);
    let waiting = waiting(&adapter).await;
    assert!((2..=3).contains(&waiting), "{waiting} jobs of 3, one of which is not known");
}

#[tokio::test]
async fn an_enqueue_that_waits_behind_one_on_its_way_has_stored_nothing() {
    let world = World::new();
    let adapter = connected_for(&world, BRIEF).await;
    world.proxy.stall();
    let first = {
        let adapter = adapter.clone();
        tokio::spawn(async move { adapter.enqueue(&work(), jobs(1)).await })
    };
    // The first is on its way.
    sleep(ms(100)).await;
    let queue = work();
    let (second, first) = tokio::join!(adapter.enqueue(&queue, jobs(1)), first);
    assert_eq!(first.unwrap().unwrap_err().effect(), Effect::Unknown);
    assert_eq!(second.unwrap_err().effect(), Effect::None, "it was never sent");
}

#[tokio::test]
async fn where_a_good_batch_waits_behind_one_on_its_way_the_next_goes_by_another_lane() {
    let world = World::new();
    let adapter = connected_for(&world, BRIEF).await;
    world.server.stall();
    let mut calls = Vec::new();
    for _ in 0..4 {
        let adapter = adapter.clone();
        calls.push(tokio::spawn(async move { adapter.enqueue(&work(), jobs(200)).await }));
        // The first of a lane goes on its way.
        sleep(ms(20)).await;
    }
    let mut effects = Vec::new();
    for call in calls {
        effects.push(call.await.unwrap().unwrap_err().effect());
    }
    world.server.resume();
    let (sent, never_sent) = (Effect::Unknown, Effect::None);
    assert_eq!(effects, [sent, never_sent, sent, never_sent]);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_others() {
    let world = World::new();
    let adapter = connected(&world).await;
    world.proxy.stall();
    let enqueue = |count| {
        let adapter = adapter.clone();
        Box::pin(async move { adapter.enqueue(&work(), jobs(count)).await })
    };
    let (mut first, mut second, mut third) = (enqueue(1), enqueue(1), enqueue(1));
    begin(&mut first).await;
    sleep(ms(20)).await;
    begin(&mut second).await;
    begin(&mut third).await;
    drop(first);
    drop(second);
    world.proxy.pass();
    assert_eq!(third.await.unwrap(), [Enqueued::New]);
    assert_eq!(adapter.enqueue(&work(), jobs(1)).await.unwrap(), [Enqueued::New]);
}

#[tokio::test]
async fn calls_wait_for_a_replica_to_be_promoted() {
    let world = World::new();
    let adapter = connected(&world).await;
    world.server.call(&["REPLICAOF", "127.0.0.1", "1"]);
    let calling = {
        let adapter = adapter.clone();
        tokio::spawn(async move { adapter.enqueue(&work(), jobs(1)).await })
    };
    sleep(ms(400)).await;
    assert!(!calling.is_finished(), "it waits");
    world.server.call(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(calling.await.unwrap().unwrap(), [Enqueued::New]);
    assert_eq!(waiting(&adapter).await, 2);
}

#[tokio::test]
async fn a_server_that_stays_a_replica_is_said_to_be_one() {
    let world = World::new();
    let adapter = connected_for(&world, BRIEF).await;
    world.server.call(&["REPLICAOF", "127.0.0.1", "1"]);
    let (answer, took) = timed(adapter.enqueue(&work(), jobs(1))).await;
    assert!(took < BRIEF + MORE, "{took:?}");
    let says = ["replica", "READONLY", &world.proxy.url()];
    assert_error(&answer.unwrap_err(), ErrorKind::Unavailable, Effect::None, &says);
    // So is it to who finds it as one.
    let (answer, _) =
        timed(world.adapter_with(|settings| settings.connect_timeout = BRIEF).ping()).await;
    assert_error(&answer.unwrap_err(), ErrorKind::Unavailable, Effect::None, &says);
    world.server.call(&["REPLICAOF", "NO", "ONE"]);
    adapter.ping().await.unwrap();
}

/// A server that takes its time to read its data.
fn slow_reader() -> World {
    let args = ["--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024"];
    let world = World::of(RedisServer::options().append_only(Fsync::Always).args(args).start());
    world.server.call(&["DEBUG", "POPULATE", "2000"]);
    world
}

/// Reads its data again, for about so long.
fn read_again(world: &Arc<World>, takes: Duration) -> tokio::task::JoinHandle<()> {
    let delay = takes.as_micros() / 2000;
    world.server.call(&["CONFIG", "SET", "key-load-delay", &delay.to_string()]);
    let world = world.clone();
    tokio::spawn(blocking(move || {
        world.server.call(&["DEBUG", "RELOAD"]);
    }))
}

#[tokio::test]
async fn calls_wait_for_a_server_that_reads_its_data() {
    let world = Arc::new(slow_reader());
    let adapter = connected(&world).await;
    let reading = read_again(&world, ms(600));
    world_is_loading(&world).await;
    assert_eq!(adapter.enqueue(&work(), jobs(1)).await.unwrap(), [Enqueued::New]);
    reading.await.unwrap();
    assert_eq!(waiting(&adapter).await, 2);
}

#[tokio::test]
async fn a_server_that_reads_its_data_for_long_is_said_to_do_so() {
    let world = Arc::new(slow_reader());
    let adapter = open_with(&world.server.url(), |settings| settings.connect_timeout = ms(1000));
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let reading = read_again(&world, ms(2500));
    world_is_loading(&world).await;
    let error = adapter.enqueue(&work(), jobs(1)).await.unwrap_err();
    assert_error(&error, ErrorKind::Unavailable, Effect::None, &["LOADING"]);
    reading.await.unwrap();
}

async fn world_is_loading(world: &World) {
    eventually("the server reads its data", || {
        matches!(world.server.call(&["GET", "x"]), Reply::Error(text) if text.starts_with("LOADING"))
    })
    .await;
}

/// A client that keeps the server busy until it is stopped.
fn keep_busy(world: &World) -> shiftwork_test_kit::Connection {
    world.server.call(&["CONFIG", "SET", "lua-time-limit", "10"]);
    let mut client = shiftwork_test_kit::Connection::open(world.server.address(), LONG).unwrap();
    client.send(&["EVAL", "while true do end", "0"]).unwrap();
    client
}

async fn world_is_busy(world: &World) {
    eventually("the server is busy", || {
        matches!(world.server.call(&["GET", "x"]), Reply::Error(text) if text.starts_with("BUSY"))
    })
    .await;
}

#[tokio::test]
async fn calls_wait_for_a_server_that_is_busy_with_a_script() {
    let world = World::new();
    let adapter = connected(&world).await;
    let _client = keep_busy(&world);
    world_is_busy(&world).await;
    let calling = {
        let adapter = adapter.clone();
        tokio::spawn(async move { adapter.enqueue(&work(), jobs(1)).await })
    };
    sleep(ms(300)).await;
    assert!(!calling.is_finished(), "it waits");
    world.server.call(&["SCRIPT", "KILL"]);
    assert_eq!(calling.await.unwrap().unwrap(), [Enqueued::New]);
    assert_eq!(waiting(&adapter).await, 2);
}

#[tokio::test]
async fn a_server_that_stays_busy_with_a_script_is_said_to_be() {
    let world = World::new();
    let adapter = open_with(&world.server.url(), |settings| settings.connect_timeout = ms(500));
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let _client = keep_busy(&world);
    world_is_busy(&world).await;
    let (answer, took) = timed(adapter.enqueue(&work(), jobs(1))).await;
    assert!(took < ms(500) + MORE, "{took:?}");
    assert_error(&answer.unwrap_err(), ErrorKind::Unavailable, Effect::None, &["BUSY"]);
    // So is it to who connects only then.
    let newcomer = open_with(&world.server.url(), |settings| settings.connect_timeout = ms(300));
    let error = newcomer.ping().await.unwrap_err();
    assert_error(&error, ErrorKind::Unavailable, Effect::None, &["BUSY"]);
    world.server.call(&["SCRIPT", "KILL"]);
    newcomer.ping().await.unwrap();
}

#[tokio::test]
async fn a_server_with_too_many_clients_is_tried_again() {
    let world = World::new();
    let adapter = open_with(&world.proxy.url(), |settings| settings.connect_timeout = ms(500));
    adapter.ping().await.unwrap();
    let mut admin = shiftwork_test_kit::Connection::open(world.server.address(), LONG).unwrap();
    admin.call(&["CONFIG", "SET", "maxclients", "1"]).unwrap();
    world.proxy.cut();
    let error = adapter.enqueue(&work(), jobs(1)).await.unwrap_err();
    assert_error(&error, ErrorKind::Unavailable, Effect::None, &["500ms"]);
    admin.call(&["CONFIG", "SET", "maxclients", "100"]).unwrap();
    soon("it is let in", async { while adapter.ping().await.is_err() {} }).await;
}

#[tokio::test]
async fn a_process_without_its_adapter_has_no_connection() {
    let world = World::new();
    let adapter = connected(&world).await;
    let heart = adapter.heart().await.unwrap();
    assert_eq!(world.proxy.connections(), 2);
    drop((adapter, heart));
    eventually("the connections are closed", || world.proxy.connections() == 0).await;
}
