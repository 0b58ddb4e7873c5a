//! One workload, by hand: to find a contender's best settings.
//!
//! ```text
//! contest try drain:500 shiftwork apalis-redis:batch=50 apalis-redis:batch=500 --rounds 3
//! ```

use anyhow::{Context, Result, bail};

use crate::entry::{Entries, Entry};
use crate::machine::Cores;
use crate::server::Persistence;
use crate::workloads::{Threads, Way, Workload};
use crate::{rounds, table};

pub(crate) fn run(entries: &Entries, cores: &Cores, arguments: &[String]) -> Result<()> {
    let mut count = 1;
    let mut persistence = Persistence::Off;
    let (mut workload, mut chosen) = (None, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--rounds" => count = read_rounds(rest.next())?,
            "--everysec" => persistence = Persistence::EverySecond,
            text if workload.is_none() => workload = Some(read_workload(text)?),
            text => chosen.push(text),
        }
    }
    let workload = workload.context("which workload? such as drain:500")?;
    let all = contenders(entries, workload);
    let chosen: Result<Vec<_>> = chosen.into_iter().map(|text| read_entry(&all, text)).collect();
    let chosen = chosen?;
    print!("{}", table::of(&rounds::run(workload, &chosen, count, cores, persistence)));
    Ok(())
}

/// What follows `--rounds`.
pub(crate) fn read_rounds(number: Option<&String>) -> Result<usize> {
    let number = number.context("--rounds takes a number")?;
    number.parse().with_context(|| format!("--rounds {number}"))
}

fn read_workload(text: &str) -> Result<Workload> {
    let (name, number) = text.split_once(':').unwrap_or((text, "0"));
    let value: f64 = number.parse().with_context(|| format!("the number of {text}"))?;
    let count = value as u64;
    Ok(match name {
        "drain" => Workload::Drain { concurrency: count, keep: false },
        "keep" => Workload::Drain { concurrency: count, keep: true },
        "bulk" => Workload::Enqueue { way: Way::Bulk },
        "one" => Workload::Enqueue { way: Way::OneByOne },
        "tasks" => Workload::Enqueue { way: Way::Tasks },
        "idle" => Workload::Idle,
        "both" => Workload::Both,
        "open" => Workload::Open { rate: value },
        "delayed" => Workload::Delayed,
        "nothing" => Workload::Nothing,
        "retried" => Workload::Retried,
        "crash" => Workload::Crash,
        "memory" => Workload::Memory { jobs: count },
        "cost" => Workload::Cost,
        "in-process" if count == 1 => Workload::InProcess { threads: Threads::One },
        "in-process" if count == 2 => Workload::InProcess { threads: Threads::Two },
        "timers" => Workload::Timers,
        _ => bail!(
            "no workload {text:?}: drain:N, keep:N, bulk, one, tasks, idle, both, open:RATE, \
             delayed, nothing, retried, crash, memory:N, cost, in-process:1, in-process:2, timers"
        ),
    })
}

/// Who there is for a workload.
fn contenders(entries: &Entries, workload: Workload) -> Vec<Entry> {
    match workload {
        Workload::InProcess { .. } => entries.in_process(),
        Workload::Timers => entries.timers(),
        _ => {
            let mut all = entries.peers();
            all.extend([entries.shiftwork(), entries.limit()]);
            all
        }
    }
}

/// `apalis-redis:batch=50:pool=4`
fn read_entry(all: &[Entry], text: &str) -> Result<Entry> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default();
    let names: Vec<_> = all.iter().map(|entry| entry.name).collect();
    let Some(entry) = all.iter().find(|entry| entry.name.starts_with(name)) else {
        bail!("no contender {name:?}: there are {names:?}");
    };
    let mut settings = Vec::new();
    for part in parts {
        let (name, value) = part.split_once('=').with_context(|| format!("{part} of {text}"))?;
        settings.push((name, value.parse().with_context(|| format!("{part} of {text}"))?));
    }
    // Told apart in the table. A run by hand is short, so this is not kept for long.
    Ok(entry.tuned(String::leak(text.to_owned()), &settings))
}
