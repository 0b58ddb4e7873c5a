//! Rounds: every contender once in each, in another order in each, so that a machine that drifts
//! drifts for all.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::entry::{Entry, Kind};
use crate::machine::Cores;
use crate::numbers::Rounds;
use crate::server::Persistence;
use crate::workloads::Workload;

/// What the rounds of one workload have shown.
pub(crate) struct Results {
    pub(crate) workload: Workload,
    pub(crate) persistence: Persistence,
    pub(crate) rounds: usize,
    pub(crate) lines: Vec<Line>,
}

/// Of one contender.
pub(crate) struct Line {
    pub(crate) entry: Entry,
    pub(crate) values: BTreeMap<&'static str, Rounds>,
    /// What was wrong, and in how many rounds.
    pub(crate) complaints: BTreeMap<String, usize>,
    pub(crate) version: String,
}

/// Runs them all.
pub(crate) fn run(
    workload: Workload,
    entries: &[Entry],
    rounds: usize,
    cores: &Cores,
    persistence: Persistence,
) -> Results {
    let mut lines: Vec<Line> = entries.iter().cloned().map(Line::new).collect();
    eprintln!("{} ({})", workload.title(), workload.server(persistence));
    for round in 0..rounds {
        for place in 0..lines.len() {
            let place = (place + round) % entries.len();
            let line = &mut lines[place];
            let began = Instant::now();
            line.run(workload, cores, persistence);
            eprintln!("  {:.1} s: {}", began.elapsed().as_secs_f64(), line.latest(workload));
        }
    }
    Results { workload, persistence, rounds, lines }
}

impl Results {
    /// The median of a measure.
    pub(crate) fn median(&self, name: &str, measure: &str) -> Option<f64> {
        let line = self.lines.iter().find(|line| line.entry.name == name)?;
        line.values.get(measure)?.median()
    }

    /// The reliable peer whose measure is best, and that nothing was wrong with.
    pub(crate) fn best(&self, measure: &str, better: fn(f64, f64) -> bool) -> Option<(&Line, f64)> {
        let mut best: Option<(&Line, f64)> = None;
        for line in &self.lines {
            if line.entry.kind != Kind::Reliable || !line.complaints.is_empty() {
                continue;
            }
            let Some(value) = line.values.get(measure).and_then(Rounds::median) else { continue };
            if best.is_none_or(|(_, so_far)| better(value, so_far)) {
                best = Some((line, value));
            }
        }
        best
    }
}

impl Line {
    fn new(entry: Entry) -> Self {
        let (values, complaints) = (BTreeMap::new(), BTreeMap::new());
        Self { entry, values, complaints, version: String::new() }
    }

    fn run(&mut self, workload: Workload, cores: &Cores, persistence: Persistence) {
        let complaint = match workload.run(&self.entry, cores, persistence) {
            Ok(outcome) => {
                for (name, value) in outcome.values {
                    self.values.entry(name).or_default().push(value);
                }
                self.version = outcome.version;
                outcome.complaint
            }
            Err(error) => Some(format!("{error:#}")),
        };
        if let Some(complaint) = complaint {
            *self.complaints.entry(complaint).or_default() += 1;
        }
    }

    fn latest(&self, workload: Workload) -> String {
        let values = workload.columns().iter().filter_map(|(name, heading, write)| {
            Some(format!("{} {heading}", write(self.values.get(name)?.latest()?)))
        });
        let mut text: Vec<String> = values.collect();
        text.extend(self.complaints.keys().map(|complaint| format!("! {complaint}")));
        format!("{}: {}", self.entry.name, text.join(", "))
    }
}
