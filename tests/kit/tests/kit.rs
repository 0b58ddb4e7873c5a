//! The kit itself: its servers first, then its proxy.

use std::env;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use shiftwork_test_kit::{Connection, Fsync, Proxy, RedisServer, Reply};

/// For what must come.
const LONG: Duration = Duration::from_secs(10);

/// For what must not come.
const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_started_server_answers_under_its_own_process() {
    let server = RedisServer::start();
    assert_eq!(server.call(&["PING"]).text(), "PONG");
    assert_eq!(server.info("server")["process_id"], server.pid().to_string());
    assert_eq!(server.url(), format!("redis://127.0.0.1:{}", server.port()));
}

#[test]
fn a_server_with_an_append_only_file_has_its_keys_after_a_restart() {
    let server = RedisServer::options().append_only(Fsync::Always).start();
    let port = server.port();
    server.call(&["SET", "colour", "green"]);
    server.kill();
    server.restart();
    assert_eq!(server.call(&["GET", "colour"]).text(), "green");
    assert_eq!(server.port(), port);
}

#[test]
fn a_server_without_one_has_forgotten_its_keys_after_a_restart() {
    let server = RedisServer::start();
    server.call(&["SET", "colour", "green"]);
    server.kill();
    server.restart();
    assert_eq!(server.call(&["GET", "colour"]), Reply::Nil);
}

#[test]
fn a_restart_waits_for_a_port_that_is_taken() {
    let server = RedisServer::start();
    server.kill();
    let intruder = TcpListener::bind(server.address()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| server.restart());
        eventually(|| server.log().contains("Address already in use"));
        drop(intruder);
    });
    assert_eq!(server.call(&["PING"]).text(), "PONG");
}

#[test]
fn a_stalled_server_answers_what_it_was_asked_once_it_goes_on() {
    let server = RedisServer::start();
    let mut client = Connection::open(server.address(), LONG).unwrap();
    server.stall();
    is_left_waiting(&mut client, &["PING"]);
    server.stall();
    server.resume();
    assert_eq!(client.receive().unwrap().text(), "PONG");
}

#[test]
fn a_stalled_server_can_be_killed() {
    let server = RedisServer::start();
    server.stall();
    server.kill();
    assert!(Connection::open(server.address(), LONG).is_err());
}

#[test]
fn a_server_takes_arguments_and_a_socket() {
    let policy = ["--maxmemory-policy", "allkeys-lru"];
    let server = RedisServer::options().args(policy).unix_socket().start();
    let reply = server.call(&["CONFIG", "GET", "maxmemory-policy"]);
    assert_eq!(reply.array()[1].text(), "allkeys-lru");

    let mut socket = UnixStream::connect(server.socket_path()).unwrap();
    socket.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    socket.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

#[test]
fn a_refusal_is_a_reply() {
    let server = RedisServer::shared();
    server.call(&["SET", "a_refusal_is_a_reply", "text"]);
    let reply = server.call(&["INCR", "a_refusal_is_a_reply"]);
    assert!(matches!(reply, Reply::Error(text) if text.starts_with("ERR value is not an integer")));
    assert_eq!(server.call(&["STRLEN", "a_refusal_is_a_reply"]).int(), 4);
}

#[test]
fn a_dropped_server_leaves_nothing_behind() {
    let server = RedisServer::options().unix_socket().start();
    let directory = server.socket_path().parent().unwrap().to_owned();
    let mut connection = Connection::open(server.address(), LONG).unwrap();
    drop(server);
    assert!(is_over(&connection.receive().unwrap_err()));
    assert!(!directory.exists());
}

/// The process is this test itself, with a variable that makes it start a server and wait.
#[test]
fn a_server_does_not_outlive_a_process_that_was_killed() {
    const NAME: &str = "a_server_does_not_outlive_a_process_that_was_killed";
    const VARIABLE: &str = "SHIFTWORK_KIT_TEST_STARTS";
    if env::var_os(VARIABLE).is_some() {
        let server = RedisServer::options().unix_socket().start();
        println!("\nat {} {}", server.address(), server.socket_path().display());
        server.stall();
        println!("stalled");
        loop {
            thread::park();
        }
    }

    let mut process = this_test(NAME).env(VARIABLE, "1").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    let at = lines.find(|line| line.starts_with("at ")).expect("the server's address");
    let mut words = at.split(' ').skip(1);
    let address: SocketAddr = words.next().unwrap().parse().unwrap();
    let socket = Path::new(words.next().unwrap());
    assert!(lines.any(|line| line == "stalled"));

    let mut connection = Connection::open(address, LONG).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(is_over(&connection.receive().unwrap_err()), "the server ends");
    eventually(|| !socket.parent().unwrap().exists());
}

#[test]
fn a_named_executable_that_is_not_there_is_said_to_be_missing() {
    let output = this_test("a_refusal_is_a_reply")
        .env("SHIFTWORK_REDIS_SERVER", "/nowhere/redis-server")
        .output()
        .unwrap();
    let Output { status, stdout, stderr } = output;
    assert!(!status.success());
    let text = [stdout, stderr].concat();
    let expected =
        r#"SHIFTWORK_REDIS_SERVER is "/nowhere/redis-server", and there is no such file"#;
    assert!(String::from_utf8_lossy(&text).contains(expected));
}

#[test]
fn a_proxy_passes_everything_on_both_ways() {
    let (proxy, mut client) = proxied();
    let long = "x".repeat(3_000_000);
    assert_eq!(client.call(&["ECHO", &long]).unwrap().text(), long);
    assert_eq!(proxy.url(), format!("redis://{}", proxy.address()));
}

#[test]
fn a_proxy_counts_its_connections_until_they_are_closed() {
    let (proxy, client) = proxied();
    let second = connect(&proxy);
    assert_eq!(proxy.connections(), 2);
    drop((client, second));
    eventually(|| proxy.connections() == 0);
}

#[test]
fn an_end_is_passed_on() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address());
    let mut client = connect(&proxy);
    client.call(&["PING"]).unwrap();
    server.kill();
    assert!(is_over(&client.receive().unwrap_err()));
    // The reset can come while the client is still connecting.
    let reply = Connection::open(proxy.address(), LONG).and_then(|mut c| c.call(&["PING"]));
    assert_eq!(reply.unwrap_err().kind(), ErrorKind::ConnectionReset);
    server.restart();
    let mut client = connect(&proxy);
    assert_eq!(client.call(&["PING"]).unwrap().text(), "PONG");
}

#[test]
fn a_delay_is_added_to_each_direction() {
    let (proxy, mut client) = proxied();
    proxy.delay(Duration::from_millis(100));
    let asked = Instant::now();
    assert_eq!(client.call(&["PING"]).unwrap().text(), "PONG");
    assert!(asked.elapsed() >= Duration::from_millis(200));
}

#[test]
fn what_is_delayed_comes_at_once_when_the_delay_ends() {
    let (proxy, mut client) = proxied();
    proxy.delay(Duration::from_secs(3600));
    client.send(&["PING"]).unwrap();
    proxy.pass();
    assert_eq!(client.receive().unwrap().text(), "PONG");
}

#[test]
fn what_a_stalled_network_kept_comes_later() {
    let proxy = Proxy::start(RedisServer::shared().address());
    let mut old = connect(&proxy);
    old.call(&["PING"]).unwrap();
    proxy.stall();
    let mut new = connect(&proxy);
    for client in [&mut old, &mut new] {
        is_left_waiting(client, &["PING"]);
    }
    assert_eq!(proxy.connections(), 2);
    proxy.pass();
    for client in [&mut old, &mut new] {
        assert_eq!(client.receive().unwrap().text(), "PONG");
    }
}

#[test]
fn half_open_connections_never_recover_and_new_ones_work() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address());
    let mut old = connect(&proxy);
    old.call(&["PING"]).unwrap();
    proxy.half_open();
    let mut new = connect(&proxy);
    for client in [&mut old, &mut new] {
        is_left_waiting(client, &["INCR", "n"]);
    }
    proxy.pass();
    for client in [&mut old, &mut new] {
        is_left_waiting(client, &["INCR", "n"]);
    }
    let mut client = connect(&proxy);
    assert_eq!(client.call(&["GET", "n"]).unwrap(), Reply::Nil, "what was sent is gone");
    drop(old);
    assert_eq!(server.info("clients")["connected_clients"], "4", "nor does an end get through");
}

#[test]
fn a_cut_resets_connections_and_lets_new_ones_come() {
    let (proxy, mut client) = proxied();
    let mut fresh = connect(&proxy);
    proxy.cut();
    for client in [&mut client, &mut fresh] {
        assert_eq!(client.receive().unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(proxy.connections(), 0);
    let mut client = connect(&proxy);
    assert_eq!(client.call(&["PING"]).unwrap().text(), "PONG");
}

#[test]
fn a_cut_resets_what_is_stalled_while_much_is_under_way() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address());
    let mut client = connect(&proxy);
    client.call(&["PING"]).unwrap();
    server.stall();
    client.send(&["ECHO", &"x".repeat(20_000_000)]).unwrap();
    proxy.stall();
    proxy.cut();
    assert_eq!(client.receive().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_proxy_that_refuses_is_like_nobody_there() {
    let (proxy, mut client) = proxied();
    proxy.refuse();
    assert_eq!(client.receive().unwrap_err().kind(), ErrorKind::ConnectionReset);
    let refused = Connection::open(proxy.address(), LONG).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.refuse();
    proxy.pass();
    let mut client = connect(&proxy);
    assert_eq!(client.call(&["PING"]).unwrap().text(), "PONG");
}

#[test]
fn a_request_whose_reply_is_lost_is_executed_once() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address());
    let [mut first, mut second] = [(); 2].map(|()| connect(&proxy));
    let lost = proxy.lose_next_reply(|request| contains(request, b"INCR"));
    assert_eq!(first.call(&["PING"]).unwrap().text(), "PONG");
    assert!(!lost.happened());
    assert!(is_over(&first.call(&["INCR", "n"]).unwrap_err()));
    assert!(lost.happened());
    assert!(lost.wait(LONG));
    assert_eq!(server.call(&["GET", "n"]).int(), 1);
    assert_eq!(second.call(&["INCR", "n"]).unwrap().int(), 2, "it happens once");
}

#[test]
fn a_request_is_executed_even_where_earlier_replies_are_what_is_lost() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address());
    for n in 1..=50 {
        let lost = proxy.lose_next_reply(|request| contains(request, b"INCR"));
        let mut client = connect(&proxy);
        client.send(&["PING"]).unwrap();
        client.send(&["PING"]).unwrap();
        client.send(&["INCR", "n"]).unwrap();
        while client.receive().is_ok() {}
        assert!(lost.happened());
        assert_eq!(server.call(&["GET", "n"]).int(), n);
    }
}

#[test]
fn a_proxy_back_to_normal_loses_no_reply() {
    let (proxy, mut client) = proxied();
    let lost = proxy.lose_next_reply(|_| true);
    proxy.pass();
    assert_eq!(client.call(&["PING"]).unwrap().text(), "PONG");
    assert!(!lost.wait(Duration::ZERO));
}

fn proxied() -> (Proxy, Connection) {
    let proxy = Proxy::start(RedisServer::shared().address());
    let mut client = connect(&proxy);
    let reply = client.call(&["PING"]).expect("a new proxy passes everything on");
    assert_eq!(reply.text(), "PONG");
    (proxy, client)
}

fn connect(proxy: &Proxy) -> Connection {
    Connection::open(proxy.address(), LONG).expect("the proxy accepts connections")
}

#[track_caller]
fn is_left_waiting(client: &mut Connection, command: &[&str]) {
    client.set_patience(SHORT).expect("some patience");
    let error = client.call(command).expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    client.set_patience(LONG).expect("some patience");
}

/// This program, to run the one test of that name.
fn this_test(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command.args(["--exact", name, "--nocapture"]);
    command
}

/// Whether the connection has ended, in order or not.
fn is_over(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// For what sends no signal.
#[track_caller]
fn eventually(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not come to be in {LONG:?}");
        thread::sleep(Duration::from_millis(1));
    }
}
