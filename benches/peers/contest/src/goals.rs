//! The goal table: what was set out, what was measured, whether it is met.

use crate::entry::{Entries, Entry};
use crate::machine::Cores;
use crate::numbers::{two, whole};
use crate::rounds::{self, Results};
use crate::server::Persistence;
use crate::table;
use crate::workloads::{Threads, Way, Workload};

/// The variant of the limit that drains are shown beside: the best of those tried.
const CYCLE: &str = "limit, 4 of 100";

/// The variant with as many exchanges in flight as a process of ours has at 500 at once, and batches as
/// large: two, each of which claims 250.
const ALIKE: &str = "limit, 2 of 250";

const PING: &str = "limit, PING";

/// What a run in process is compared with: a bounded channel, and a spawned task for each job.
const CHANNEL: &str = "channel";

/// One goal: what was asked, and what was measured.
pub(crate) struct Row {
    /// What is measured.
    what: String,
    /// What is asked of it.
    goal: String,
    /// What Shiftwork does.
    ours: String,
    /// The best reliable peer, its name first.
    best: String,
    /// What Redis, or tokio, itself allows.
    limit: String,
    /// Ours to the best, or to whatever the goal names.
    ratio: String,
    /// Whether the goal is met; `None` where it could not be told.
    met: Option<bool>,
}

/// What was measured for the table.
pub(crate) struct Goals {
    pub(crate) rows: Vec<Row>,
    pub(crate) results: Vec<Results>,
}

/// Measures all that the table has.
pub(crate) fn measure(entries: &Entries, cores: &Cores, rounds: usize) -> Goals {
    let ours = entries.shiftwork();
    let all: Vec<Entry> = [ours.clone()].into_iter().chain(entries.peers()).collect();
    let with = |limits: Vec<Entry>| all.iter().cloned().chain(limits).collect::<Vec<_>>();
    let run = |workload, entries: &[Entry], rounds| {
        rounds::run(workload, entries, rounds, cores, Persistence::Off)
    };
    let mut goals = Goals { rows: Vec::new(), results: Vec::new() };

    for (concurrency, factor) in [(500, 10.0), (100, 6.0), (10, 2.0)] {
        let what = format!("drain, no-op handler, {concurrency} at once");
        let mut limits = cycle(entries);
        if concurrency == 500 {
            limits.push(alike(entries));
            limits.push(bare(entries));
        }
        let found = run(Workload::Drain { concurrency, keep: false }, &with(limits), rounds);
        goals.add(times(&what, &found, factor, CYCLE));
        if concurrency == 500 {
            goals.add(share(&what, &found, ALIKE, 0.5, "the limit with two exchanges in flight"));
            goals.add(at_most(&what, &found, "server", 4.0, "µs Redis CPU a job", two));
        }
        goals.results.push(found);
    }

    let keep = Workload::Drain { concurrency: 500, keep: true };
    let found = run(keep, &with(cycle(entries)), rounds);
    goals.add(times("the same at 500, completed jobs kept for 1 h", &found, 6.0, CYCLE));
    goals.results.push(found);

    let bulk = vec![entries.limit().tuned("limit, script", &[])];
    let found = run(Workload::Enqueue { way: Way::Bulk }, &with(bulk), rounds);
    goals.add(times("bulk enqueue", &found, 4.0, "limit, script"));
    goals.add(at_most("bulk enqueue", &found, "server", 2.5, "µs Redis CPU a job", two));
    goals.results.push(found);

    let ping = vec![entries.limit().tuned(PING, &[])];
    let found = run(Workload::Enqueue { way: Way::OneByOne }, &with(ping), rounds);
    goals.add(round_trip(&found));
    goals.results.push(found);

    let found = run(Workload::Enqueue { way: Way::Tasks }, &all, rounds);
    goals.add(times("enqueue by 100 tasks", &found, 3.0, "–"));
    goals.results.push(found);

    let found = run(Workload::Idle, &with(idle(entries)), rounds);
    goals.add(sooner(&found, "p50", 2.0 / 3.0, "≤ 2/3 of the best peer's"));
    goals.add(sooner(&found, "p99", 1.0, "no worse than the best peer's"));
    goals.results.push(found);

    for jobs in [100_000, 131_073] {
        let what = format!("a waiting job, {} of them", whole(jobs as f64));
        let found = run(Workload::Memory { jobs }, &all, 1);
        goals.add(at_most(&what, &found, "bytes", 350.0, "bytes", whole));
        goals.results.push(found);
    }

    let found = run(Workload::Nothing, &all, 1);
    let what = "idle worker on one queue";
    goals.add(at_most(what, &found, "calls", 1.5, "commands/s, those in scripts too", two));
    goals.results.push(found);

    let compared: Vec<Entry> = [ours].into_iter().chain(cycle(entries)).collect();
    let found = run(Workload::Cost, &compared, rounds);
    let what = "cost of a job, from 10⁴ to 10⁶ waiting";
    goals.add(at_most(what, &found, "ratio", 1.2, "× the server's CPU", two));
    goals.results.push(found);

    for (threads, what) in [(Threads::One, "one thread"), (Threads::Two, "two threads")] {
        let what = format!("in process, enqueue and run, {what}");
        let found = run(Workload::InProcess { threads }, &entries.in_process(), rounds);
        let of = "a bounded tokio channel with one spawned task a job";
        goals.add(share(&what, &found, CHANNEL, 0.4, of));
        goals.results.push(found);
    }
    goals.results.push(run(Workload::Timers, &entries.timers(), 1));
    goals
}

/// The variants of the leased script cycle.
pub(crate) fn cycles(entries: &Entries) -> Vec<Entry> {
    let limit = entries.limit();
    let mut all = cycle(entries);
    all.extend([
        limit.tuned("limit, 4 of 10", &[("in_flight", 4), ("batch", 10)]),
        limit.tuned("limit, 4 of 500", &[("in_flight", 4), ("batch", 500)]),
        limit.tuned("limit, 1 of 10", &[("in_flight", 1), ("batch", 10)]),
        limit.tuned("limit, 1 of 100", &[("in_flight", 1), ("batch", 100)]),
        limit.tuned("limit, 1 of 250", &[("in_flight", 1), ("batch", 250)]),
        alike(entries),
        limit.tuned("limit, 1 of 500", &[("in_flight", 1), ("batch", 500)]),
        bare(entries),
    ]);
    all
}

/// The variants of what an idle worker could do.
pub(crate) fn idle(entries: &Entries) -> Vec<Entry> {
    let limit = entries.limit();
    vec![
        limit.tuned("limit, BLPOP", &[("one", 1)]),
        limit.tuned("limit, message and script", &[("one", 2)]),
    ]
}

fn alike(entries: &Entries) -> Entry {
    entries.limit().tuned(ALIKE, &[("in_flight", 2), ("batch", 250)])
}

fn bare(entries: &Entries) -> Entry {
    entries.limit().tuned("limit, bare LPOP", &[("bare", 1), ("batch", 100)])
}

fn cycle(entries: &Entries) -> Vec<Entry> {
    vec![entries.limit().tuned(CYCLE, &[("in_flight", 4), ("batch", 100)])]
}

impl Goals {
    fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let headings = ["what", "goal", "ours", "best reliable peer", "limit", "ratio", "met"];
        let mut text = table::row(headings.into_iter());
        text += &table::row(headings.iter().map(|_| "---"));
        for row in &self.rows {
            let met = match row.met {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "not measured",
            };
            let cells = [&row.what, &row.goal, &row.ours, &row.best, &row.limit, &row.ratio];
            text += &table::row(cells.into_iter().map(String::as_str).chain([met]));
        }
        text
    }
}

/// Ours is so many times as fast as the best reliable peer.
fn times(what: &str, found: &Results, factor: f64, limit: &str) -> Row {
    let best = found.best("rate", |a, b| a > b);
    let ours = ours(found, "rate");
    let ratio = ours.zip(best.as_ref()).map(|(ours, (_, best))| ours / best);
    Row {
        what: what.into(),
        goal: format!("≥ {factor:.0}× the best reliable peer"),
        ours: shown(ours, "jobs/s", whole),
        best: best.map_or("–".into(), |(line, rate)| {
            format!("{}: {} jobs/s", line.entry.name, whole(rate))
        }),
        limit: shown(found.median(limit, "rate"), "jobs/s", whole),
        ratio: ratio.map_or("–".into(), |ratio| format!("{ratio:.1}×")),
        met: ratio.map(|ratio| ratio >= factor),
    }
}

/// Ours reaches such a share of what nothing more useful would do.
fn share(what: &str, found: &Results, limit: &str, least: f64, of: &str) -> Row {
    let best = found.best("rate", |a, b| a > b);
    let (ours, most) = (ours(found, "rate"), found.median(limit, "rate"));
    let ratio = ours.zip(most).map(|(ours, most)| ours / most);
    Row {
        what: what.into(),
        goal: format!("≥ {:.0}% of {of}", least * 100.0),
        ours: shown(ours, "jobs/s", whole),
        best: best.map_or("–".into(), |(line, rate)| {
            format!("{}: {} jobs/s", line.entry.name, whole(rate))
        }),
        limit: format!("{limit}: {}", shown(most, "jobs/s", whole)),
        ratio: ratio.map_or("–".into(), |ratio| format!("{:.0}%", ratio * 100.0)),
        met: ratio.map(|ratio| ratio >= least),
    }
}

/// Ours is no more than a number.
fn at_most(
    what: &str,
    found: &Results,
    measure: &str,
    most: f64,
    unit: &str,
    write: fn(f64) -> String,
) -> Row {
    let ours = ours(found, measure);
    let best = found.best(measure, |a, b| a < b);
    let limit = found.median(CYCLE, measure).or(found.median("limit, script", measure));
    Row {
        what: what.into(),
        goal: format!("≤ {most} {unit}"),
        ours: ours.map_or("–".into(), write),
        best: best
            .map_or("–".into(), |(line, value)| format!("{}: {}", line.entry.name, write(value))),
        limit: limit.map_or("–".into(), write),
        ratio: ours.map_or("–".into(), |ours| format!("{:.0}% of it", ours / most * 100.0)),
        met: ours.map(|ours| ours <= most),
    }
}

/// Ours takes hardly longer than a bare round trip.
fn round_trip(found: &Results) -> Row {
    let micros = |rate: Option<f64>| rate.map(|rate| 1e6 / rate);
    let (ours, ping) = (micros(ours(found, "rate")), micros(found.median(PING, "rate")));
    let ratio = ours.zip(ping).map(|(ours, ping)| ours / ping);
    let best = found.best("rate", |a, b| a > b);
    Row {
        what: "enqueue one by one".into(),
        goal: "within 15% of a bare PING round trip".into(),
        ours: shown(ours, "µs", two),
        best: best.map_or("–".into(), |(line, rate)| {
            format!("{}: {:.2} µs", line.entry.name, 1e6 / rate)
        }),
        limit: shown(ping, "µs", two),
        ratio: ratio.map_or("–".into(), |ratio| format!("{ratio:.2}×")),
        met: ratio.map(|ratio| ratio <= 1.15),
    }
}

/// An idle worker of ours begins sooner than that of the best reliable peer.
fn sooner(found: &Results, measure: &str, most: f64, goal: &str) -> Row {
    let best = found.best(measure, |a, b| a < b);
    let ours = ours(found, measure);
    let ratio = ours.zip(best.as_ref()).map(|(ours, (_, best))| ours / best);
    Row {
        what: format!("idle worker: from enqueue to the handler's start, {measure}"),
        goal: goal.into(),
        ours: shown(ours, "µs", whole),
        best: best.map_or("–".into(), |(line, value)| {
            format!("{}: {} µs", line.entry.name, whole(value))
        }),
        limit: shown(found.median("limit, message and script", measure), "µs", whole),
        ratio: ratio.map_or("–".into(), |ratio| format!("{ratio:.2}×")),
        met: ratio.map(|ratio| ratio <= most),
    }
}

/// Ours, unless something was wrong with it.
fn ours(found: &Results, measure: &str) -> Option<f64> {
    let line = found.lines.iter().find(|line| line.entry.name == "shiftwork")?;
    line.complaints.is_empty().then(|| found.median("shiftwork", measure))?
}

fn shown(value: Option<f64>, unit: &str, write: fn(f64) -> String) -> String {
    value.map_or("–".into(), |value| format!("{} {unit}", write(value)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::numbers::Rounds;
    use crate::rounds::Line;

    #[test]
    fn in_process_ours_is_compared_with_the_channel_and_shown_beside_the_best_peer() {
        let row =
            share("in process", &in_process([400.0, 600.0, 900.0, 950.0]), CHANNEL, 0.4, "it");
        assert_eq!((row.ours.as_str(), row.ratio.as_str()), ("400 jobs/s", "44%"));
        assert_eq!(
            (row.best.as_str(), row.limit.as_str()),
            ("apalis-memory: 600 jobs/s", "channel: 900 jobs/s")
        );
        assert_eq!(row.met, Some(true));
        let row =
            share("in process", &in_process([100.0, 600.0, 900.0, 950.0]), CHANNEL, 0.4, "it");
        assert_eq!(row.met, Some(false));
    }

    fn in_process(rates: [f64; 4]) -> Results {
        let entries = Entries::find().unwrap().in_process();
        let line = |(entry, rate)| {
            let mut rounds = Rounds::default();
            rounds.push(rate);
            let values = BTreeMap::from([("rate", rounds)]);
            Line { entry, values, complaints: BTreeMap::new(), version: String::new() }
        };
        Results {
            workload: Workload::InProcess { threads: Threads::One },
            persistence: Persistence::Off,
            rounds: 1,
            lines: entries.into_iter().zip(rates).map(line).collect(),
        }
    }
}
