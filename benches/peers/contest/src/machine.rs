//! What the numbers were measured on, and who runs on which core.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Where the server and the contenders run.
#[derive(Clone, Debug)]
pub(crate) struct Cores {
    server: usize,
    contenders: usize,
    /// Whether the two are apart.
    pub(crate) pinned: bool,
}

impl Cores {
    /// One core each, the first two that this process may use; no pinning where there is but one.
    pub(crate) fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("asking for the cores")?;
        let mut usable = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let first = usable.next().unwrap_or(0);
        Ok(match usable.next() {
            Some(second) => Self { server: first, contenders: second, pinned: true },
            None => Self { server: first, contenders: first, pinned: false },
        })
    }

    /// What the calling thread starts from now on is a server.
    pub(crate) fn for_server(&self) -> Result<()> {
        self.pin(&[self.server])
    }

    /// What the calling thread starts from now on is a contender.
    pub(crate) fn for_contenders(&self) -> Result<()> {
        self.pin(&[self.contenders])
    }

    /// What the calling thread starts from now on is a contender that may use both, as there is no
    /// server.
    pub(crate) fn for_contenders_on_both(&self) -> Result<()> {
        self.pin(&[self.server, self.contenders])
    }

    /// In a sentence.
    pub(crate) fn describe(&self) -> String {
        match self.pinned {
            true => format!(
                "the server is pinned to core {}, all processes of a contender to core {}; in \
                 process, two threads have both",
                self.server, self.contenders
            ),
            false => "there is one core, which the server and the contenders share".into(),
        }
    }

    fn pin(&self, cores: &[usize]) -> Result<()> {
        let mut set = CpuSet::new();
        for core in cores {
            set.set(*core).with_context(|| format!("core {core}"))?;
        }
        sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pinning to {cores:?}"))
    }
}

/// The machine, a line each.
pub(crate) fn describe() -> Vec<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpuinfo.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim()))
    };
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    vec![
        format!(
            "machine: {cores} cores, {}, {} GiB of memory",
            field("model name").unwrap_or("processor not named"),
            memory_kib("MemTotal:") >> 20
        ),
        format!("system: {}", said_by("uname", &["-sr"])),
        format!("date: {}", said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        format!("compiler: {}", said_by("rustc", &["--version"])),
    ]
}

/// Bytes of memory that could be used without swapping; 0 where the system does not say.
pub(crate) fn available_memory() -> u64 {
    memory_kib("MemAvailable:") * 1024
}

/// How busy the machine is, in a sentence: other work makes numbers worse.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The first line that a command prints.
pub(crate) fn said_by(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok().and_then(|text| text.lines().next().map(Into::into)).unwrap_or("unknown".into())
}

fn memory_kib(field: &str) -> u64 {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    memory
        .lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
