//! The variables there are: the one table that the code reads by, the README shows, and a
//! misspelt name is compared with.

use std::collections::BTreeSet;

use shiftwork_adapter::{Provider, Variable};

use crate::provider;
use crate::registry::Registry;

const fn variable(
    name: &'static str,
    default: Option<&'static str>,
    doc: &'static str,
) -> Variable {
    // Ours are read, and so checked, by the kind of each.
    Variable {
        name,
        fallbacks: &[],
        required: false,
        default,
        secret: false,
        doc,
        check: Variable::any,
    }
}

/// Every variable of this crate's own. `<NAME>` and `<ID>` stand for a queue's and a job's name in
/// capitals, with `_` for `-` and `.`.
pub(crate) const VARIABLES: &[Variable] = &[
    variable(
        "JOBS_ENABLED",
        Some("true"),
        "`false`: this process runs no jobs and fires no schedules, whatever its role",
    ),
    variable("JOBS_PROVIDER", Some("memory"), "which adapter keeps the jobs"),
    variable(
        "WORKER_ROLE",
        None,
        "what this process does: `web` only enqueues; `worker` runs jobs and fires schedules; `async` only runs jobs; `cron` only fires schedules. Not set: `web`; `worker` where no other process could run the jobs",
    ),
    variable(
        "JOBS_QUEUES",
        Some("*"),
        "which queues this process serves: `reports,mail`, or `*,!reports` for all but some",
    ),
    variable(
        "JOBS_NAMESPACE",
        Some("shiftwork"),
        "keeps the jobs of separate systems apart in one store",
    ),
    variable(
        "JOBS_APP",
        None,
        "whose schedules these are, among applications that share a store. Not set: the program's name",
    ),
    variable(
        "JOBS_CONNECT_TIMEOUT",
        Some("5s"),
        "how long one call to the store may take in all before it fails, 100ms to 1m",
    ),
    variable("JOBS_LAZY", Some("false"), "`true`: start does not wait for the store to answer"),
    variable(
        "JOBS_CONCURRENCY",
        Some("16"),
        "how many jobs this process runs at once, 1 to 100000",
    ),
    variable(
        "JOBS_QUEUE_<NAME>_CONCURRENCY",
        None,
        "how many of them from this queue, 1 to 100000. Not set: as many as there are",
    ),
    variable(
        "JOBS_QUEUE_<NAME>_WEIGHT",
        Some("1"),
        "this queue's share of the slots that several queues want, 1 to 1000",
    ),
    variable(
        "JOBS_TIMEZONE",
        Some("UTC"),
        "the time zone of cron patterns that name none, by its IANA name such as `Europe/Berlin`",
    ),
    variable("JOBS_ATTEMPTS", Some("3"), "how many times a job runs at most, 1 to 1000"),
    variable(
        "JOBS_BACKOFF_TYPE",
        Some("exponential"),
        "`exponential`: each further retry waits twice as long; `fixed`: all wait alike",
    ),
    variable(
        "JOBS_BACKOFF_DELAY",
        Some("2000"),
        "how long the first retry waits; milliseconds when it is a bare number",
    ),
    variable("JOBS_BACKOFF_MAX", Some("1h"), "how long a retry waits at most, before jitter"),
    variable(
        "JOBS_BACKOFF_JITTER",
        Some("true"),
        "whether a retry waits up to half as long again, by chance",
    ),
    variable("JOBS_TIMEOUT", Some("15m"), "how long an attempt may take, from 1ms"),
    variable(
        "JOBS_LEASE",
        Some("8s"),
        "how long a worker keeps its jobs without a sign of life, 1s to 1h",
    ),
    variable(
        "JOBS_IDLE_POLL",
        None,
        "how often a queue is looked at though nothing was announced, 100ms to 1h: the longer, the fewer commands an idle process sends, and the later the jobs of a vanished worker run again. Not set: a little longer than a lease, 10s at most; 1s where Redis can wake nobody",
    ),
    variable(
        "JOBS_MAX_CRASHES",
        Some("3"),
        "the crash of its worker that makes a job a dead letter, 1 to 1000",
    ),
    variable("JOBS_SHUTDOWN_GRACE", Some("30s"), "how long a shutdown waits for running jobs"),
    variable(
        "JOBS_MAX_PAYLOAD",
        Some("1MiB"),
        "how large a payload may be, in bytes or with KiB or MiB, up to 64MiB",
    ),
    variable(
        "JOBS_UNKNOWN_AFTER",
        Some("24h"),
        "how long a job waits for a worker that has its handler before it is a dead letter",
    ),
    variable(
        "JOBS_KEEP_COMPLETED",
        Some("0"),
        "how long completed and cancelled jobs are kept; `0`: not at all",
    ),
    variable("JOBS_KEEP_COMPLETED_COUNT", Some("10000"), "how many of them at most, of each queue"),
    variable("JOBS_KEEP_DEAD", Some("30d"), "how long dead letters are kept"),
    variable("JOBS_KEEP_DEAD_COUNT", Some("100000"), "how many of them at most, of each queue"),
    variable("JOBS_<ID>_SCHEDULE", None, "a cron pattern for this job, instead of the one in code"),
    variable("JOBS_<ID>_ENABLED", Some("true"), "whether this job's schedule fires"),
    variable("JOBS_LOG", Some("text"), "how the quickstart example logs: `text` or `json`"),
];

/// The default of a variable of ours.
pub(crate) fn default(name: &str) -> Option<&'static str> {
    VARIABLES.iter().find(|variable| variable.name == name)?.default
}

/// `data-retention` → `DATA_RETENTION`.
pub(crate) fn in_capitals(name: &str) -> String {
    name.to_ascii_uppercase().replace(['-', '.'], "_")
}

/// Every name that a variable can have in this program.
pub(crate) fn known(
    registry: &Registry,
    schedule_ids: &BTreeSet<&str>,
    providers: &[Provider],
) -> Vec<String> {
    let mut known: Vec<String> = provider::ELSEWHERE.map(Into::into).into();
    for name in VARIABLES.iter().map(|variable| variable.name) {
        if name.contains("<NAME>") {
            let queues = registry.queues();
            known.extend(queues.iter().map(|q| name.replace("<NAME>", &in_capitals(q.as_str()))));
        } else if name.contains("<ID>") {
            known.extend(schedule_ids.iter().map(|id| name.replace("<ID>", &in_capitals(id))));
        } else {
            known.push(name.into());
        }
    }
    let own = providers.iter().flat_map(|provider| provider.variables);
    known.extend(own.map(|variable| variable.name.into()));
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the README, and this one.
    #[test]
    fn the_readme_has_every_variable_with_its_default_and_meaning() {
        let readme = include_str!("../../README.md");
        let own = Provider::linked().into_iter().flat_map(|provider| provider.variables);
        for Variable { name, default, doc, .. } in VARIABLES.iter().chain(own) {
            let default = default.map_or_else(String::new, |default| format!("`{default}`"));
            let row = format!("| `{name}` | {default} | {doc} |").replace("|  |", "| |");
            assert!(readme.contains(&row), "the README lacks this row:\n{row}");
        }
        let rows = readme
            .lines()
            .filter(|line| line.starts_with("| `JOBS_") || line.starts_with("| `WORKER_"));
        let own = Provider::linked().into_iter().map(|provider| provider.variables.len());
        let linked = VARIABLES.len() + own.sum::<usize>();
        // It also has those of bundled adapters that this build lacks.
        assert!(rows.clone().count() >= linked);
        if cfg!(all(feature = "memory", feature = "redis")) {
            assert_eq!(rows.count(), linked, "the README has more");
        }
    }
}
