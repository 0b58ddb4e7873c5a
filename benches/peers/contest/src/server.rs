//! The server of a run: always a fresh one, in a directory of its own.

use std::collections::BTreeMap;

use anyhow::Result;
use shiftwork_test_kit::{Fsync, RedisServer};

use crate::machine::Cores;

/// What a server writes to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    Off,
    EverySecond,
}

impl Persistence {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Off => "append-only file off",
            Self::EverySecond => "append-only file, fsync every second",
        }
    }
}

pub(crate) fn start(cores: &Cores, persistence: Persistence) -> Result<RedisServer> {
    cores.for_server()?;
    let options = RedisServer::options();
    let server = match persistence {
        Persistence::Off => options,
        Persistence::EverySecond => options.append_only(Fsync::EverySecond),
    }
    .start();
    cores.for_contenders()?;
    Ok(server)
}

/// What a server has used so far.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// Seconds, in user and system mode.
    pub(crate) cpu: f64,
    /// Calls of scripts.
    pub(crate) scripts: f64,
    /// All calls, those inside scripts too. Without ours, INFO.
    pub(crate) calls: f64,
    /// `used_memory`.
    pub(crate) bytes: f64,
}

impl Usage {
    pub(crate) fn of(server: &RedisServer) -> Self {
        let stats = server.info("commandstats");
        let calls = |line: &String| {
            let calls = line.split(',').find_map(|field| field.strip_prefix("calls="));
            calls.and_then(|calls| calls.parse::<f64>().ok()).unwrap_or(0.0)
        };
        let of = |wanted: fn(&str) -> bool| {
            stats.iter().filter(|(name, _)| wanted(name)).map(|(_, line)| calls(line)).sum()
        };
        let cpu = server.info("cpu");
        Self {
            cpu: number(&cpu, "used_cpu_user") + number(&cpu, "used_cpu_sys"),
            scripts: of(|name| name.starts_with("cmdstat_eval") || name == "cmdstat_fcall"),
            calls: of(|name| name != "cmdstat_info"),
            bytes: number(&server.info("memory"), "used_memory"),
        }
    }

    /// What was used since then.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu - before.cpu,
            scripts: self.scripts - before.scripts,
            calls: self.calls - before.calls,
            bytes: self.bytes - before.bytes,
        }
    }
}

fn number(fields: &BTreeMap<String, String>, name: &str) -> f64 {
    fields.get(name).and_then(|text| text.trim().parse().ok()).unwrap_or(0.0)
}
