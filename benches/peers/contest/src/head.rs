//! What stands above the tables: on what, when and with what they were measured.

use std::collections::BTreeSet;

use crate::machine::{self, Cores};
use crate::rounds::Results;

/// The head of several results.
pub(crate) fn of(cores: &Cores, results: &[Results], load_before: &str) -> String {
    with(cores, results.iter().flat_map(versions).collect(), load_before)
}

/// The head, with these versions.
pub(crate) fn with(cores: &Cores, versions: Vec<String>, load_before: &str) -> String {
    format!(
        "Written by `make bench` or `make bench-full`; [peers/README.md](peers/README.md) says \
         what is measured, and how.\n\n{}- payload: 100 bytes of JSON, typed; every job is checked to \
         have run as often as it should\n",
        list(cores, versions, load_before)
    )
}

/// The head without who wrote it: a list in Markdown.
pub(crate) fn list(cores: &Cores, versions: Vec<String>, load_before: &str) -> String {
    let mut lines = machine::describe();
    lines.push(format!("pinned: {}", cores.describe()));
    lines.push(format!(
        "load average: {load_before} before, {} after; above about 2, other work was in the way",
        machine::load()
    ));
    lines.push(format!("server: {}", server()));
    lines.extend(versions.into_iter().collect::<BTreeSet<_>>());
    let lines: Vec<String> = lines.iter().map(|line| format!("- {line}")).collect();
    format!("{}\n", lines.join("\n"))
}

/// The contenders' versions, a line each.
pub(crate) fn versions(results: &Results) -> Vec<String> {
    let named = results.lines.iter().filter(|line| !line.version.is_empty());
    named
        .map(|line| {
            let name = line.entry.name.split(',').next().unwrap_or_default();
            format!("contender: {name} {}", line.version)
        })
        .collect()
}

fn server() -> String {
    let binary = std::env::var("SHIFTWORK_REDIS_SERVER").unwrap_or("redis-server".into());
    let said = machine::said_by(&binary, &["--version"]);
    said.split(" sha=").next().unwrap_or_default().to_owned()
}
