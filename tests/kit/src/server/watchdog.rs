//! What ends a server whose test process died before it could.
//!
//! A shell waits for the end of its input, which this process alone holds open. However the process
//! ends, the system closes it; the shell then kills the server it was last told of, and removes its
//! directory.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Each line is the process to guard from now on; an empty one is none.
const SCRIPT: &str = r#"
pid=
while read -r line; do pid=$line; done
[ -z "$pid" ] || kill -KILL "$pid"
rm -rf "$1"
"#;

#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
    orders: Option<ChildStdin>,
}

impl Watchdog {
    /// Watches over `directory`, and no process yet.
    pub(super) fn over(directory: &Path) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(directory)
            // A Ctrl-C ends the tests. The watchdog must outlive it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a POSIX shell, sh, to watch over the server");
        let orders = shell.stdin.take();
        Self { shell, orders }
    }

    pub(super) fn guard(&self, pid: u32) {
        self.order(&format!("{pid}\n"));
    }

    /// To be called before the process is reaped: its number may be another's afterwards.
    pub(super) fn release(&self) {
        self.order("\n");
    }

    fn order(&self, line: &str) {
        let mut orders = self.orders.as_ref().expect("orders are open until the watchdog drops");
        // Somebody may have killed the shell. The tests do not depend on it.
        let _ = orders.write_all(line.as_bytes());
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.shell.wait();
    }
}
