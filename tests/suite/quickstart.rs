//! The first commands a newcomer runs, run as they would.

use std::fs;
#[cfg(unix)]
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A built example: Cargo builds them with all tests, and not with this binary alone.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.parent().and_then(Path::parent).expect("it is in target/debug/deps");
    let program = target.join("examples").join(name);
    assert!(program.exists(), "the example is not built; run: cargo build --examples");
    let mut command = Command::new(program);
    // Nothing of the machine that runs the tests.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("JOBS_") || name.starts_with("WORKER_"))
        {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn quickstart() -> Command {
    example("quickstart")
}

fn run(dir: &Path) -> String {
    let output = quickstart().arg(dir).output().expect("it runs");
    transcript(&output)
}

fn transcript(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(err));
    assert!(err.is_empty(), "{}", String::from_utf8_lossy(err));
    String::from_utf8(out.clone()).expect("it prints text")
}

/// A transcript without what differs from run to run: numbers, ids, the files of the day, and the
/// lines that tell how far it is.
fn shape(transcript: &str) -> Vec<String> {
    let blank = |line: &str| -> String {
        let line = match line.split_whitespace().next() {
            Some("largest") => "largest",
            Some("the") => "the same",
            _ => line.trim_end(),
        };
        let mut blanked = String::new();
        for word in line.split_inclusive(' ') {
            let unit = |text: &str| matches!(text, "KiB," | "MiB,");
            if word.contains(|c: char| c.is_ascii_digit()) && !word.contains("latin-1") {
                blanked.push_str("# ");
            } else if !unit(word.trim()) {
                blanked.push_str(word);
            }
        }
        blanked
    };
    let is_progress = |line: &&str| line.contains(" done, ") && line.contains(" to go");
    let mut shape: Vec<_> =
        transcript.lines().filter(|line| !is_progress(line)).map(blank).collect();
    // Retries and dead letters of different jobs come in any order.
    shape.sort();
    shape
}

#[test]
fn the_transcript_in_the_readme_is_what_a_newcomer_sees() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, rest) =
        readme.split_once("<!-- quickstart -->\n```text\n").expect("it is in the README");
    let (shown, _) = rest.split_once("\n```\n<!-- /quickstart -->").expect("it has an end");
    let (command, shown) = shown.split_once('\n').expect("it begins with the command");
    assert_eq!(command, "$ cargo run --example quickstart");
    let seen = transcript(&quickstart().output().expect("it runs"));
    assert!(seen.lines().count() <= 25, "it is too long:\n{seen}");
    assert!(shown.lines().count() <= 25);
    assert_eq!(shape(shown), shape(&seen), "\nin the README:\n{shown}\n\nseen:\n{seen}");
}

#[test]
fn hello_in_the_readme_is_the_example() {
    let readme = include_str!("../../README.md");
    let hello = include_str!("../../examples/hello.rs");
    let (_, rest) = readme.split_once("<!-- hello -->\n```rust").expect("it is in the README");
    let (_, rest) = rest.split_once('\n').expect("the fence ends");
    let (shown, _) = rest.split_once("```\n<!-- /hello -->").expect("it has an end");
    assert_eq!(shown, hello);
    assert!(hello.lines().count() <= 25, "it has {} lines", hello.lines().count());
}

#[test]
fn what_cannot_be_digested_is_a_dead_letter_and_the_rest_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("empty.txt"), "").unwrap();
    fs::write(path("binary.bin"), [0xff, 0xfe, 0x00]).unwrap();
    fs::write(path("one.txt"), "a\nb\n").unwrap();
    fs::write(path("two.txt"), "a\nb\n").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/nowhere/at/all", path("dangling.txt")).unwrap();
    let seen = run(dir.path());
    for part in [
        "Digesting 5 files,",
        "retry  dangling.txt: attempt 1 of 3 failed, again in ",
        "retry  dangling.txt: attempt 2 of 3 failed, again in ",
        "dead   dangling.txt: attempt 3 of 3 failed for good: No such file or directory",
        "dead   binary.bin: attempt 1 of 3 failed for good: invalid utf-8 sequence",
        "  3 files, 8 B, 4 lines; 5 jobs in ",
        "  the same   one.txt = two.txt",
        "  dead       binary.bin (1×): invalid utf-8 sequence",
        "  dead       dangling.txt (3×): No such file or directory",
        "Replay one: jobs.replay(\"",
    ] {
        assert!(seen.contains(part), "{part:?} is not in\n{seen}");
    }
}

#[test]
fn an_empty_directory_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let seen = run(dir.path());
    assert!(seen.contains("Digesting 0 files,"), "{seen}");
    assert!(seen.contains("  0 files, 0 B, 0 lines; 0 jobs in "), "{seen}");
}

#[test]
fn no_directory_at_all_is_an_error_that_names_it() {
    for arguments in [&["/nowhere/at/all"][..], &["--fast"], &["a", "b"]] {
        let output = quickstart().args(arguments).output().unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8_lossy(&output.stderr);
        let named = arguments.iter().any(|argument| error.contains(argument));
        assert!(named || error.contains("only one DIR"), "{error}");
    }
}

#[test]
fn ten_thousand_files_are_ten_thousand_jobs() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..10_000 {
        fs::write(dir.path().join(format!("{n}.txt")), format!("{n}\n")).unwrap();
    }
    let seen = run(dir.path());
    assert!(seen.contains("  10000 files, "), "{seen}");
    assert!(seen.contains(" 10000 lines; 10000 jobs in "), "{seen}");
    assert!(seen.lines().count() <= 60, "it is too long:\n{seen}");
}

#[cfg(unix)]
#[test]
fn how_far_it_is_is_told_while_there_are_retries() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("one.txt"), "a\n").unwrap();
    // Their retries take longer than it takes until the next line is due.
    for n in 0..20 {
        let link = dir.path().join(format!("{n}.txt"));
        std::os::unix::fs::symlink("/nowhere/at/all", link).unwrap();
    }
    let seen = run(dir.path());
    let told: Vec<_> = seen.lines().filter(|line| line.ends_with(" to go")).collect();
    assert!(!told.is_empty(), "{seen}");
    for line in told {
        let words: Vec<_> = line.split_whitespace().collect();
        let [done, "done,", left, "to", "go"] = words[..] else { panic!("{line:?}") };
        let (done, left): (u32, u32) = (done.parse().unwrap(), left.parse().unwrap());
        assert!(left > 0 && done + left <= 21, "{line:?}");
    }
}

#[test]
fn json_logs_hold_the_start_line() {
    let dir = tempfile::tempdir().unwrap();
    let output = quickstart().arg(dir.path()).env("JOBS_LOG", "json").output().unwrap();
    let logged = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{logged}");
    let events: Vec<serde_json::Value> = logged
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line:?}")))
        .collect();
    assert!(events.iter().all(serde_json::Value::is_object), "{logged}");
    let started: Vec<_> =
        events.iter().filter(|event| event["fields"]["message"] == "shiftwork started").collect();
    let [started] = started[..] else { panic!("{logged}") };
    assert_eq!(started["level"], "INFO");
    for (field, value) in [
        ("provider", "memory"),
        ("role", "worker"),
        ("app", "quickstart"),
        ("namespace", "shiftwork"),
        ("job_names", "data-retention, digest_file, progress, report, schedule-watchdog"),
        ("queues", "default, files, reports"),
    ] {
        assert_eq!(started["fields"][field], value, "{started}");
    }
    // What is for people stays apart from it.
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("Digesting 0 files,") && !shown.contains('{'), "{shown}");
}

#[test]
fn trigger_shows_a_job_run_by_hand_by_id_and_by_job_and_a_slip() {
    let output = example("trigger").output().unwrap();
    let shown = transcript(&output);
    let lines: Vec<_> = shown.lines().collect();
    let [by_id, by_job, refused] = lines[..] else { panic!("{shown}") };
    assert_eq!(by_id, r#"by id:   Some(Report { orders: 42, asked_by: "nobody" })"#);
    assert_eq!(by_job, r#"by job:  Some(Report { orders: 42, asked_by: "ada" })"#);
    assert!(refused.starts_with("refused: nothing to trigger is named \"nightly_raport\""));
    assert!(refused.ends_with("did you mean \"nightly_report\"?"), "{refused}");
}

#[test]
fn each_wrong_value_of_each_variable_ends_it_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = [
        ("JOBS_ENABLED", "maybe"),
        ("JOBS_PROVIDER", "memroy"),
        ("WORKER_ROLE", "wroker"),
        ("WORKER_ROLE", "web"),
        ("JOBS_QUEUES", "fils"),
        ("JOBS_NAMESPACE", "a{b}"),
        ("JOBS_APP", "a b"),
        ("JOBS_CONNECT_TIMEOUT", "5"),
        ("JOBS_LAZY", "often"),
        ("JOBS_CONCURRENCY", "0"),
        ("JOBS_QUEUE_FILES_CONCURRENCY", "none"),
        ("JOBS_QUEUE_FILES_WEIGHT", "0"),
        ("JOBS_ATTEMPTS", "three"),
        ("JOBS_BACKOFF_TYPE", "linear"),
        ("JOBS_BACKOFF_DELAY", "soon"),
        ("JOBS_BACKOFF_MAX", "5"),
        ("JOBS_BACKOFF_JITTER", "some"),
        ("JOBS_TIMEOUT", "30"),
        ("JOBS_LEASE", "1ms"),
        ("JOBS_IDLE_POLL", "1ms"),
        ("JOBS_TIMEZONE", "Berlin"),
        ("JOBS_MAX_CRASHES", "-1"),
        ("JOBS_SHUTDOWN_GRACE", "long"),
        ("JOBS_MAX_PAYLOAD", "1GB"),
        ("JOBS_UNKNOWN_AFTER", "1"),
        ("JOBS_KEEP_COMPLETED", "ever"),
        ("JOBS_KEEP_COMPLETED_COUNT", "all"),
        ("JOBS_KEEP_DEAD", "30"),
        ("JOBS_KEEP_DEAD_COUNT", "0"),
        ("JOBS_DATA_RETENTION_SCHEDULE", "0 25 * * *"),
        ("JOBS_DATA_RETENTION_ENABLED", "often"),
        ("JOBS_LOG", "xml"),
        ("JOBS_MEMORY_CAPACITY", "0"),
    ];
    let readme = include_str!("../../README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let variables: Vec<_> = rows
        .filter(|name| name.starts_with("JOBS_") || name.starts_with("WORKER_"))
        // Nobody reads these where their adapter is not in the build, as it is not here.
        .filter(|name| !name.starts_with("JOBS_REDIS_"))
        .map(|name| name.replace("<NAME>", "FILES").replace("<ID>", "DATA_RETENTION"))
        .collect();
    assert!(variables.len() > 20, "the README has {variables:?}");
    for name in &variables {
        assert!(wrong.iter().any(|(wrong, _)| wrong == name), "no wrong value of {name} is tried");
    }
    // And one that is no variable at all.
    let wrong = wrong.into_iter().chain([("JOBS_CONCURENCY", "4")]);
    for (name, value) in wrong {
        let output = quickstart().arg(dir.path()).env(name, value).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name}={value} was accepted");
        assert!(error.starts_with("error: ") && error.contains(name), "{name}={value}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn hello_greets_and_ticks_until_a_signal() {
    let mut child = example("hello").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut reach = |what: &str| lines.find(|line| line.starts_with(what)).expect("it goes on");
    reach("attempt 1 of 5 to welcome Ada");
    assert!(reach("Finished(").contains("success: true"));
    // A second after the first, it has long begun to listen for signals.
    reach("tick for ");
    reach("tick for ");
    crate::signals::send("INT", child.id());
    assert!(child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn staying_ends_gracefully_at_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = quickstart()
        .args([PathBuf::from("--stay"), dir.path().into()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("Staying until Ctrl-C")));
    crate::signals::send("INT", child.id());
    assert!(lines.any(|line| line.starts_with("Stopped")));
    assert!(child.wait().unwrap().success());
}
