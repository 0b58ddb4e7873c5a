//! The signals that end a process, with real processes: this test binary runs itself again.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use shiftwork::JobState;
use shiftwork::prelude::*;

const AS_CHILD: &str = "SHIFTWORK_TEST_CHILD";
const BLOCKS: &str = "SHIFTWORK_TEST_CHILD_BLOCKS";

/// Sends a signal to a process.
pub fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status();
    assert!(sent.expect("there is a `kill`").success());
}

/// What the child does: a job that heeds nothing, until a signal.
#[test]
fn child() {
    let Ok(grace) = std::env::var(AS_CHILD) else { return };
    #[job]
    async fn heeds_nothing(blocks: bool) {
        if blocks {
            std::thread::sleep(Duration::from_secs(3600));
        }
        std::future::pending::<()>().await;
    }
    let blocks = std::env::var(BLOCKS).is_ok();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(async {
        let jobs = Jobs::from_vars([("JOBS_SHUTDOWN_GRACE", grace)])
            .without_linked_jobs()
            .register(heeds_nothing::definition())
            .start()
            .await?;
        let run = jobs.enqueue(heeds_nothing::job(blocks)).await?;
        while run.result(seconds(0)).await? != RunStatus::Pending(JobState::Active) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Polled in this order: when it is told, signals are listened for.
        tokio::join!(jobs.run_until_shutdown(), async { println!("listening") }).0
    });
    println!("ended: {ended:?}");
}

fn spawn(grace: &str, blocks: bool) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    if blocks {
        command.env(BLOCKS, "1");
    }
    let mut child = command
        .args(["--exact", "signals::child", "--nocapture", "--test-threads=1"])
        .env(AS_CHILD, grace)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("listening")));
    (child, lines)
}

#[test]
fn a_first_signal_shuts_down_within_grace_and_a_second() {
    let (mut child, mut lines) = spawn("1s", false);
    let asked = Instant::now();
    send("TERM", child.id());
    assert!(lines.any(|line| line.unwrap().contains("ended: Ok(())")));
    assert!(child.wait().unwrap().success());
    let took = asked.elapsed().as_secs_f64();
    assert!((2.0..10.0).contains(&took), "it took {took} s");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let (mut child, _lines) = spawn("1h", false);
    // The first is heard before the second is sent: a process that drains says nothing about it
    // that could be waited for, so the second is sent until it works.
    send("TERM", child.id());
    let asked = Instant::now();
    let status = loop {
        std::thread::sleep(Duration::from_millis(50));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(asked.elapsed() < seconds(10), "it did not end");
        send("TERM", child.id());
    };
    assert_eq!((status.code(), status.signal()), (Some(128 + 15), None));
}

#[test]
fn a_second_signal_ends_a_process_that_a_blocking_handler_keeps_from_ending() {
    let (mut child, mut lines) = spawn("100ms", true);
    send("TERM", child.id());
    assert!(lines.any(|line| line.unwrap().contains("ended: Ok(())")));
    // Its runtime waits for the thread that the handler blocks.
    assert!(child.try_wait().unwrap().is_none());
    send("INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
}
