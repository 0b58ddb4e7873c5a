//! Measures Shiftwork against its peers, on one machine, in one run.
//!
//! ```text
//! contest quick             # drain, bulk and idle, against one peer and the limit
//! contest goals [FILE]      # the goal table, also written to FILE
//! contest full [FILE] [--rounds N] [--everysec | --off]
//!                           # everything, under both settings of persistence, or one of them
//! contest growth [DIR] [--tried]    # what a job costs as there are more, in DIR or docs
//! contest try WORKLOAD CONTENDER[:SETTING=VALUE…]… [--rounds N] [--everysec]
//! ```

mod arena;
mod deliveries;
mod entry;
mod full;
mod goals;
mod growth;
mod head;
mod machine;
mod numbers;
mod process;
mod rounds;
mod server;
mod stage;
mod table;
mod tried;
mod workloads;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::entry::Entries;
use crate::growth::Extent;
use crate::machine::Cores;
use crate::rounds::Results;
use crate::server::Persistence;
use crate::workloads::{Way, Workload};

/// How often everything is measured.
const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let cores = Cores::choose()?;
    let entries = Entries::find()?;
    let file = arguments.get(1);
    match arguments.first().map(String::as_str) {
        Some("quick") => quick(&entries, &cores),
        Some("goals") => goals(&entries, &cores, file)?,
        Some("full") => full(&entries, &cores, &arguments[1..])?,
        Some("growth") => grow(&entries, &cores, &arguments[1..])?,
        Some("try") => tried::run(&entries, &cores, &arguments[1..])?,
        _ => bail!(
            "usage: contest quick | goals [FILE] | full [FILE] [--rounds N] [--everysec | --off] | \
             growth [DIR] | try WORKLOAD CONTENDER…"
        ),
    }
    Ok(())
}

fn quick(entries: &Entries, cores: &Cores) {
    let drain = [
        entries.shiftwork(),
        entries.bullmq_official(),
        entries.limit().tuned("limit, 4 of 100", &[]),
    ];
    let bulk = [
        entries.shiftwork(),
        entries.bullmq_official(),
        entries.limit().tuned("limit, script", &[]),
    ];
    let mut idle = vec![entries.shiftwork(), entries.bullmq_official()];
    idle.extend(goals::idle(entries));
    let run = |workload, entries: &[_], rounds| {
        let found = rounds::run(workload, entries, rounds, cores, Persistence::Off);
        print!("{}", table::of(&found));
    };
    run(Workload::Drain { concurrency: 500, keep: false }, &drain, ROUNDS);
    run(Workload::Enqueue { way: Way::Bulk }, &bulk, ROUNDS);
    run(Workload::Idle, &idle, 2);
}

fn goals(entries: &Entries, cores: &Cores, file: Option<&String>) -> Result<()> {
    let began = machine::load();
    let goals = goals::measure(entries, cores, ROUNDS);
    let mut text = format!("# Results\n\n{}\n", head::of(cores, &goals.results, &began));
    text += &format!("## Goals\n\n{}\n## Measured\n\n", goals.table());
    for results in &goals.results {
        text += &table::of(results);
    }
    write(&text, file)
}

fn full(entries: &Entries, cores: &Cores, arguments: &[String]) -> Result<()> {
    let (mut file, mut rounds) = (None, ROUNDS);
    let mut settings = vec![Persistence::Off, Persistence::EverySecond];
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--rounds" => rounds = tried::read_rounds(rest.next())?,
            "--everysec" => settings = vec![Persistence::EverySecond],
            "--off" => settings = vec![Persistence::Off],
            _ => file = Some(argument),
        }
    }
    let began = machine::load();
    let mut tables = String::new();
    let mut versions = Vec::new();
    full::measure(entries, cores, rounds, &settings, |results: &Results| {
        tables += &table::of(results);
        versions.extend(head::versions(results));
    });
    let head = head::with(cores, versions, &began);
    write(&format!("# Results of everything\n\n{head}\n## Measured\n\n{tables}"), file)
}

fn grow(entries: &Entries, cores: &Cores, arguments: &[String]) -> Result<()> {
    let (tried, directories): (Vec<_>, Vec<_>) =
        arguments.iter().partition(|argument| *argument == "--tried");
    let extent = if tried.is_empty() { Extent::Full } else { Extent::Tried };
    let directory = directories.first().map_or("docs", |directory| directory.as_str());
    growth::run(entries, cores, Path::new(directory), extent)
}

fn write(text: &str, file: Option<&String>) -> Result<()> {
    let text = text.trim_end();
    println!("{text}");
    match file {
        Some(file) => {
            std::fs::write(file, format!("{text}\n")).with_context(|| format!("writing {file}"))
        }
        None => Ok(()),
    }
}
