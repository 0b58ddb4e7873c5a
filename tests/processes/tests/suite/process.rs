//! A process of the application, and what can happen to it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::world::until;

/// A process. Dropped, it is killed.
pub struct Process {
    /// What it is called, in the journal and by its log.
    pub name: String,
    child: Child,
    log: PathBuf,
    fate: Cell<Fate>,
}

/// What was done to a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Up,
    Asked,
    Killed,
}

impl Process {
    /// Starts one that has these variables and no others.
    pub fn start(directory: &Path, name: String, variables: &BTreeMap<String, String>) -> Self {
        let log = directory.join(format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_program"))
            .env_clear()
            .envs(variables)
            .current_dir(directory)
            // Ctrl-C is for the tests, and the process ends with them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log in the directory of the test"))
            .spawn()
            .expect("the program of this package starts");
        Self { name, child, log, fate: Cell::new(Fate::Up) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, without a chance for it to do anything more. It is gone when this returns.
    pub fn kill(&mut self) {
        // One that has ended by itself already is what was wanted.
        let _ = self.child.kill();
        self.fate.set(Fate::Killed);
        self.child.wait().expect("a child can be waited for");
    }

    /// Stops it in its tracks. It does nothing any more when this returns.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let pid = Pid::from_child(&self.child);
        retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT))
            .expect("it stopped, instead of having died by itself");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to shut down.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
        self.fate.set(Fate::Asked);
    }

    fn is_up(&self) -> bool {
        self.fate.get() == Fate::Up
    }

    fn was_killed(&self) -> bool {
        self.fate.get() == Fate::Killed
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|error| panic!("{}: {signal:?} failed: {error}", self.name));
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits until it has ended by itself.
    pub async fn end(&mut self, within: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until(&what, within, async || self.ended().ok_or_else(|| "it runs".into())).await
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has logged this.
    pub async fn logs(&self, text: &str, within: Duration) {
        let what = format!("{text:?} in the log of {}", self.name);
        until(&what, within, async || {
            self.log().contains(text).then_some(()).ok_or_else(|| "it is not there".into())
        })
        .await;
    }

    /// Waits until it does what it is for, and listens for signals.
    pub async fn started(&self) {
        self.logs("ready\n", Duration::from_secs(20)).await;
    }
}

/// Asks processes to shut down, and waits until they have: by then each has heard what became of
/// all that it held. Those that were killed or asked before are passed over.
pub async fn shut_down(mut processes: Vec<Process>) {
    for process in &processes {
        // Who is still starting does not listen yet.
        if process.is_up() {
            process.started().await;
            process.terminate();
        }
    }
    for process in processes.iter_mut().filter(|process| !process.was_killed()) {
        let status = process.end(Duration::from_secs(60)).await;
        assert!(status.success(), "{} ended with {status}:\n{}", process.name, process.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
