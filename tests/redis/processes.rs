//! Examples, run as processes of their own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use shiftwork_test_kit::RedisServer;

/// An example with `JOBS_PROVIDER=redis`, in a role and a namespace.
pub(crate) fn example(name: &str, server: &RedisServer, namespace: &str, role: &str) -> Command {
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.parent().and_then(Path::parent).expect("it is in target/debug/deps");
    let program = target.join("examples").join(name);
    assert!(
        program.exists(),
        "the example is not built; run: cargo build --examples --features redis"
    );
    let mut command = Command::new(program);
    // Nothing of the machine that runs the tests.
    let of_ours = |name: &str| {
        name.starts_with("JOBS_") || name.starts_with("WORKER_") || name.ends_with("REDIS_URL")
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_ours) {
            command.env_remove(name);
        }
    }
    command
        .env("JOBS_PROVIDER", "redis")
        .env("JOBS_REDIS_URL", server.url())
        .env("JOBS_NAMESPACE", namespace)
        .env("WORKER_ROLE", role)
        .stdin(Stdio::null());
    command
}

/// A process that ends with its test.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints which contains `text`.
    pub(crate) fn line(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("it prints text");
            assert!(read > 0, "it ended without a line with {text:?}:\n{seen}");
            if line.contains(text) {
                return line;
            }
            seen += &line;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
