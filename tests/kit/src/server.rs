//! A `redis-server` of the test's own.
//!
//! Each has a free port of 127.0.0.1 and a temporary directory, and runs as a child of the test's
//! process. It ends with its [`RedisServer`]; where the process dies before that, by whatever
//! signal, its watchdog ends it.

mod binary;
mod options;
mod watchdog;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;

pub use self::options::{Fsync, RedisOptions};
use self::watchdog::Watchdog;
use crate::port;
use crate::resp::{Connection, Reply};

/// How long a server may take to start, or to answer a call of the kit.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many ports are tried before the fault is taken to be another one.
const PORTS_TRIED: usize = 20;

/// A `redis-server`, or a `valkey-server`, that the test has for itself.
///
/// It takes the executable that `SHIFTWORK_REDIS_SERVER` names, else the first of either name on
/// `PATH` and in the usual directories.
///
/// Dropped, it is killed and its directory removed.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    /// Used where it speaks TLS.
    tls_port: u16,
    /// Used where it is a node of a cluster, for what the nodes say to each other.
    bus_port: u16,
    options: RedisOptions,
    state: Mutex<State>,
    // In this order: the directory goes only after `drop` has ended the server, and the watchdog,
    // which removes what is left of it, comes last.
    directory: TempDir,
    watchdog: Watchdog,
}

#[derive(Debug)]
enum State {
    Down,
    Running(Child),
    Stalled(Child),
}

/// Why a server did not start.
enum Refused {
    PortTaken,
    Because(String),
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If there is no server to start, with what to install, or if it does not start within ten
    /// seconds, with its log.
    pub fn start() -> Self {
        Self::options().start()
    }

    /// The server of this process: started by the first who asks, and running until the process
    /// ends. It is for tests that keep apart by their keys, and must not be killed or stalled.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server that is to be other than [`RedisServer::start`] makes it.
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    fn open(options: RedisOptions) -> Self {
        for _ in 0..PORTS_TRIED {
            let directory = tempfile::tempdir().expect("a temporary directory for the server");
            let watchdog = Watchdog::over(directory.path());
            let [port, tls_port, bus_port] = port::several();
            let options = options.clone();
            let state = Mutex::new(State::Down);
            let server = Self { port, tls_port, bus_port, options, state, directory, watchdog };
            match server.launch() {
                Ok(child) => {
                    *server.state() = State::Running(child);
                    return server;
                }
                Err(Refused::PortTaken) => continue,
                Err(Refused::Because(why)) => panic!("{why}"),
            }
        }
        panic!("{PORTS_TRIED} ports of 127.0.0.1 were free, and then taken before the server came")
    }

    /// The URL of the server: `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The URL by which it speaks TLS: `rediss://127.0.0.1:PORT`.
    ///
    /// # Panics
    ///
    /// If neither [`RedisOptions::tls`] nor [`RedisOptions::mutual_tls`] was asked for.
    pub fn tls_url(&self) -> String {
        assert!(self.options.tls.is_some(), "start the server with .tls(…) to have its URL");
        format!("rediss://127.0.0.1:{}", self.tls_port)
    }

    /// The port on which it speaks to others of its kind: to which replicas and nodes of a cluster
    /// are referred, where they encrypt what they say to each other.
    pub(crate) fn port_among_servers(&self) -> u16 {
        if self.options.tls.is_some() { self.tls_port } else { self.port }
    }

    /// The port of 127.0.0.1 on which it listens, the same after every restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port on which nodes of a cluster speak to it.
    pub(crate) fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The socket on which it listens as well.
    ///
    /// # Panics
    ///
    /// If [`RedisOptions::unix_socket`] was not asked for.
    pub fn socket_path(&self) -> PathBuf {
        assert!(self.options.unix_socket, "start the server with .unix_socket() to have one");
        self.directory.path().join("redis.sock")
    }

    /// The server's process.
    ///
    /// # Panics
    ///
    /// While it is killed.
    pub fn pid(&self) -> u32 {
        match &*self.state() {
            State::Running(child) | State::Stalled(child) => child.id(),
            State::Down => panic!("the server has no process: it was killed, and not restarted"),
        }
    }

    /// Kills the server's process, which has no chance to write anything more, and its clients see
    /// their connections end. What it has written stays for [`RedisServer::restart`]. A server that
    /// is down already stays so.
    pub fn kill(&self) {
        let mut state = self.state();
        if let State::Running(child) | State::Stalled(child) =
            std::mem::replace(&mut *state, State::Down)
        {
            self.end(child);
        }
    }

    /// Starts a killed server again, with the same port, directory and options, and waits until it
    /// answers.
    ///
    /// # Panics
    ///
    /// If it runs, or does not start within ten seconds, with its log.
    pub fn restart(&self) {
        let mut state = self.state();
        assert!(matches!(*state, State::Down), "the server runs: kill it before it is restarted");
        let deadline = Instant::now() + PATIENCE;
        *state = loop {
            match self.launch() {
                Ok(child) => break State::Running(child),
                Err(Refused::PortTaken) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(Refused::PortTaken) => panic!("somebody has taken port {}", self.port),
                Err(Refused::Because(why)) => panic!("{why}"),
            }
        };
    }

    /// Stops the server in its tracks: it keeps its connections, and the system even accepts new
    /// ones for it, but nothing is answered until [`RedisServer::resume`]. When this returns, it
    /// executes nothing any more.
    ///
    /// # Panics
    ///
    /// While it is killed.
    pub fn stall(&self) {
        let mut state = self.state();
        *state = match std::mem::replace(&mut *state, State::Down) {
            State::Running(child) => {
                let pid = Pid::from_child(&child);
                kill_process(pid, Signal::STOP).expect("a child can be stopped");
                // Without this the server could execute a command more on another processor.
                retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED))
                    .expect("the server stopped, instead of having died by itself");
                State::Stalled(child)
            }
            State::Stalled(child) => State::Stalled(child),
            State::Down => panic!("a killed server cannot be stalled: restart it first"),
        };
    }

    /// Lets a stalled server go on. It finds what was sent to it meanwhile. One that runs, or is
    /// down, stays so.
    pub fn resume(&self) {
        let mut state = self.state();
        *state = match std::mem::replace(&mut *state, State::Down) {
            State::Stalled(child) => {
                kill_process(Pid::from_child(&child), Signal::CONT).expect("a child can go on");
                State::Running(child)
            }
            other => other,
        };
    }

    /// Sends a command over a connection of its own: `server.call(&["INFO", "commandstats"])`.
    ///
    /// # Panics
    ///
    /// If no reply comes within ten seconds. For less patience, and for servers that are meant to
    /// fail, there is [`Connection`].
    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&self, command: &[A]) -> Reply {
        match Connection::open(self.address(), PATIENCE).and_then(|mut c| c.call(command)) {
            Ok(reply) => reply,
            Err(error) => panic!("{} did not reply: {error}; its log:\n{}", self.url(), self.log()),
        }
    }

    /// The fields of a section of `INFO`, such as `commandstats`.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::call`].
    #[track_caller]
    pub fn info(&self, section: &str) -> BTreeMap<String, String> {
        fields(&self.call(&["INFO", section]).text())
    }

    /// What the server has logged since it was started first.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn launch(&self) -> Result<Child, Refused> {
        let earlier = self.log().len();
        let mut child = self.spawn();
        self.watchdog.guard(child.id());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                self.watchdog.release();
                let log = self.log().split_off(earlier);
                return Err(match log.contains("Address already in use") {
                    true => Refused::PortTaken,
                    false => Refused::Because(format!("the server ended, {status}; log:\n{log}")),
                });
            }
            match self.answers(child.id()) {
                Ok(()) => return Ok(child),
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Err(last) => {
                    self.end(child);
                    let log = self.log().split_off(earlier);
                    let why = format!("no answer in {PATIENCE:?}, at last: {last}; log:\n{log}");
                    return Err(Refused::Because(why));
                }
            }
        }
    }

    fn spawn(&self) -> Child {
        let binary = binary::find();
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("the server's log in its directory");
        let mut command = Command::new(&binary);
        if self.options.sentinel {
            // It writes down there what it learns, and does not start without.
            let file = self.directory.path().join("sentinel.conf");
            File::options().create(true).append(true).open(&file).expect("the sentinel's file");
            command.arg(file).arg("--sentinel");
        }
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .arg("--dir")
            .arg(self.directory.path())
            .args(["--daemonize", "no", "--save", ""]);
        if self.options.unix_socket {
            command.arg("--unixsocket").arg(self.socket_path());
        }
        if self.options.node {
            command.args(["--cluster-enabled", "yes"]);
            command.args(["--cluster-port", &self.bus_port.to_string()]);
        }
        if let Some(tls) = &self.options.tls {
            command.args(tls.args(self.tls_port));
        }
        command
            .args(self.options.persistence())
            .args(&self.options.args)
            // Ctrl-C is for the tests. Were it to reach the server, it would end before they do.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", binary.display()))
    }

    /// Whether the server is ready, and the one on the port is this one.
    fn answers(&self, pid: u32) -> io::Result<()> {
        let mut connection = Connection::open(self.address(), Duration::from_secs(1))?;
        for command in [&["PING"][..], &["INFO", "server"]] {
            match connection.call(command)? {
                Reply::Error(refusal) => return Err(io::Error::other(refusal)),
                Reply::Bulk(info) => {
                    let info = fields(&String::from_utf8_lossy(&info));
                    if info.get("process_id") != Some(&pid.to_string()) {
                        return Err(io::Error::other("another server is on its port"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The watchdog first: once the process is reaped, its number may be somebody else's.
    fn end(&self, mut child: Child) {
        self.watchdog.release();
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    /// A panic of another thread leaves the state as true as it was.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The lines `name:value` of `INFO`.
fn fields(info: &str) -> BTreeMap<String, String> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
