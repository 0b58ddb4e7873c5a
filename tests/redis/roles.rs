//! One program as a web process and as workers.

use shiftwork_test_kit::RedisServer;

use crate::processes::{Process, example};

#[test]
fn the_quickstart_runs_as_a_web_process_and_two_workers() {
    let server = RedisServer::shared();
    let quickstart = |role| example("quickstart", server, "quickstart", role);
    let files = tempfile::tempdir().unwrap();
    for file in 0..20 {
        std::fs::write(files.path().join(format!("{file}.txt")), "one\ntwo\n").unwrap();
    }
    let mut workers = [(); 2].map(|()| Process::start(&mut quickstart("worker")));
    for worker in &mut workers {
        worker.line("provider redis, role worker");
    }
    let output = quickstart("web").arg(files.path()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}\n{wrong}");
    assert!(shown.contains("provider redis, role web"), "{shown}");
    // The report is a triggered job: its result was made in a worker and awaited here.
    assert!(shown.contains("20 files, "), "{shown}");
}
