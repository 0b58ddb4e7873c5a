//! The example `web_worker`, asked as its own documentation says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use shiftwork_test_kit::RedisServer;

use crate::processes::{Process, example};

/// Status and body of the answer.
fn ask(port: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)))
}

fn listening(process: &mut Process) -> String {
    let line = process.line("listening on ");
    line.trim().rsplit(':').next().unwrap().to_owned()
}

#[test]
fn a_web_process_answers_202_and_tells_what_became_of_the_job() {
    let server = RedisServer::shared();
    let start =
        |role| Process::start(example("web_worker", server, "web-worker", role).env("PORT", "0"));
    let mut web = start("web");
    let port = listening(&mut web);

    // Nobody runs it yet.
    let (status, answer) = ask(&port, "POST", "/welcome", r#"{"user": 7}"#);
    assert_eq!(status, 202, "{answer}");
    let job = format!("/jobs/{}", answer["id"].as_str().unwrap());
    let (status, answer) = ask(&port, "GET", &job, "");
    assert_eq!((status, answer["state"].as_str()), (200, Some("waiting")), "{answer}");

    let mut worker = start("worker");
    let worker_port = listening(&mut worker);
    let until = Instant::now() + Duration::from_secs(20);
    let told = loop {
        let (_, answer) = ask(&port, "GET", &job, "");
        if answer["state"] == "completed" {
            break answer;
        }
        assert!(Instant::now() < until, "{answer}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(told["result"], "Welcome, user 7!");

    // The result of a run by hand is made in the worker and told here.
    let (status, answer) = ask(&port, "POST", "/trigger/nightly_report", "");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"]["made_by_process"], worker.pid(), "{answer}");

    assert_eq!(ask(&port, "POST", "/trigger/nightly_raport", "").0, 422);
    assert_eq!(ask(&port, "GET", "/jobs/7", "").0, 400);
    let unknown = "/jobs/01a2029c-bb1a-72bb-90d0-b43a9416bce8";
    assert_eq!(ask(&port, "GET", unknown, "").0, 404);
    assert_eq!(ask(&worker_port, "GET", "/health", ""), (200, "healthy".into()));
}

#[test]
fn a_web_process_whose_store_is_gone_promises_nothing() {
    let server = RedisServer::start();
    let mut command = example("web_worker", &server, "gone", "web");
    let mut web = Process::start(command.env("PORT", "0").env("JOBS_CONNECT_TIMEOUT", "500ms"));
    let port = listening(&mut web);
    server.kill();
    let began = Instant::now();
    let (status, answer) = ask(&port, "POST", "/welcome", r#"{"user": 7}"#);
    assert_eq!(status, 503, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("JOBS_CONNECT_TIMEOUT"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
