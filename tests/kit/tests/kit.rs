//! The kit itself.

use shiftwork_test_kit::{Fsync, RedisServer};

#[test]
fn a_started_server_answers() {
    let server = RedisServer::start();
    assert_eq!(server.call(&["PING"]).text(), "PONG");
}

#[test]
fn a_server_with_an_append_only_file_has_its_keys_after_a_restart() {
    let server = RedisServer::options().append_only(Fsync::Always).start();
    server.call(&["SET", "colour", "green"]);
    server.kill();
    server.restart();
    assert_eq!(server.call(&["GET", "colour"]).text(), "green");
}
