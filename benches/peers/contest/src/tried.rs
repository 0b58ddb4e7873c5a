//! One workload, by hand: to find a contender's best settings.
//!
//! ```text
//! contest try drain:500 shiftwork apalis-redis:batch=50 apalis-redis:batch=500 --rounds 3
//! ```

use anyhow::{Context, Result, bail};

use crate::entry::{Entries, Entry};
use crate::machine::Cores;
use crate::server::Persistence;
use crate::workloads::{Way, Workload};
use crate::{rounds, table};

pub(crate) fn run(entries: &Entries, cores: &Cores, arguments: &[String]) -> Result<()> {
    let mut count = 1;
    let mut persistence = Persistence::Off;
    let (mut workload, mut chosen) = (None, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--rounds" => {
                let number = rest.next().context("--rounds takes a number")?;
                count = number.parse().with_context(|| format!("--rounds {number}"))?;
            }
            "--everysec" => persistence = Persistence::EverySecond,
            text if workload.is_none() => workload = Some(read_workload(text)?),
            text => chosen.push(read_entry(entries, text)?),
        }
    }
    let workload = workload.context("which workload? such as drain:500")?;
    print!("{}", table::of(&rounds::run(workload, &chosen, count, cores, persistence)));
    Ok(())
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
        "memory" => Workload::Memory { jobs: count },
        "cost" => Workload::Cost,
        _ => bail!(
            "no workload {name:?}: drain:N, keep:N, bulk, one, tasks, idle, both, open:RATE, \
             delayed, nothing, retried, memory:N, cost"
        ),
    })
}

/// `apalis-redis:batch=50:pool=4`
fn read_entry(entries: &Entries, text: &str) -> Result<Entry> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default();
    let mut all = entries.peers();
    all.extend([entries.shiftwork(), entries.limit()]);
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
