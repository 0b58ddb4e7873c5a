//! How the cost of a job grows with the jobs that wait, with worker processes, with queues.
//!
//! Along each axis one of them grows and the others stay. Rounds are interleaved as everywhere:
//! every point of every contender once in each, there and back again.

mod axis;
mod page;
mod plot;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use self::axis::Axis;
use crate::arena::Arena;
use crate::entry::{Entries, Entry, Kind};
use crate::machine::{self, Cores};
use crate::numbers::{Rounds, two, whole};
use crate::server::Persistence;
use crate::workloads::steady::{self, Cost, Setting};

/// How often every point is measured, but for those that take long.
const ROUNDS: usize = 3;

/// A point with more jobs waiting than that, of one that is fast and of the others, is measured
/// once.
const ONCE_ABOVE: [u64; 2] = [1_000_000, 100_000];

/// Bytes of a waiting job at most, of ours and of the others.
const BYTES: [u64; 2] = [400, 900];

/// More than so many jobs take too long to enqueue, for the others.
const PEERS_UP_TO: u64 = 1_000_000;

/// With more queues than that, the others have run all jobs before they are ready to be measured.
const PEERS_QUEUES_UP_TO: u64 = 100;

/// What there is of each axis to try whether all works.
const TRIED_UP_TO: u64 = 10_000;

/// Whether all is measured, or little, to see that it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Full,
    Tried,
}

/// What was measured along one axis.
struct Measured {
    axis: Axis,
    curves: Vec<Curve>,
    /// What was not measured, and why: sentences.
    left_out: Vec<String>,
}

/// Of one contender.
struct Curve {
    entry: Entry,
    version: String,
    /// From the start of the axis on: what is left out is at its end.
    points: Vec<Point>,
}

/// At one place of the axis.
struct Point {
    setting: Setting,
    rounds: usize,
    server: Rounds,
    client: Rounds,
    scripts: Rounds,
    /// What went wrong in a round, which is then not counted and was the last.
    complaint: Option<String>,
}

/// Measures all axes, and writes a page and a plot for each into the directory.
pub(crate) fn run(
    entries: &Entries,
    cores: &Cores,
    directory: &Path,
    extent: Extent,
) -> Result<()> {
    let load_before = machine::load();
    let all = [entries.shiftwork(), entries.bullmq_official()];
    let measured: Vec<Measured> =
        Axis::ALL.into_iter().map(|axis| measure(axis, &all, cores, extent)).collect();
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    for measured in &measured {
        let file = directory.join(measured.axis.file());
        let plot = plot::draw(measured).context("drawing")?;
        fs::write(&file, plot).with_context(|| format!("writing {}", file.display()))?;
    }
    let page = page::of(&measured, cores, &load_before);
    let file = directory.join("growth.md");
    fs::write(&file, &page).with_context(|| format!("writing {}", file.display()))?;
    print!("{page}");
    Ok(())
}

fn measure(axis: Axis, entries: &[Entry], cores: &Cores, extent: Extent) -> Measured {
    eprintln!("{}", axis.title());
    let settings = match extent {
        Extent::Full => axis.settings(),
        Extent::Tried => axis.settings_up_to(TRIED_UP_TO),
    };
    let memory = machine::available_memory() / 2;
    let mut left_out = Vec::new();
    let mut curves: Vec<Curve> = entries.iter().map(|entry| Curve::new(entry.clone())).collect();
    for curve in &mut curves {
        for setting in &settings {
            match reason_against(&curve.entry, *setting, memory) {
                Some(reason) => left_out.push(reason),
                None => curve.points.push(Point::new(&curve.entry, *setting, extent)),
            }
        }
    }
    for round in 0..ROUNDS {
        // There and back again, so that a machine that drifts does not tilt the curve.
        let mut places: Vec<usize> = (0..settings.len()).collect();
        if round % 2 == 1 {
            places.reverse();
        }
        for place in places {
            for Curve { entry, version, points } in &mut curves {
                let Some(point) = points.get_mut(place).filter(|point| point.is_due(round)) else {
                    continue;
                };
                let began = Instant::now();
                point.run(entry, version, cores);
                let seconds = began.elapsed().as_secs_f64();
                eprintln!("  {seconds:.1} s: {}: {}", entry.name, point.latest(axis));
            }
        }
    }
    Measured { axis, curves, left_out }
}

/// Why a point is not measured, if it is not.
fn reason_against(entry: &Entry, setting: Setting, memory: u64) -> Option<String> {
    let jobs = whole(setting.waiting as f64);
    let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    let needed = setting.waiting * of(entry, BYTES);
    if needed > memory {
        return Some(format!(
            "{jobs} jobs of {} were left out: they need up to {}, and half of the memory that was \
             available is {}.",
            entry.name,
            gigabytes(needed),
            gigabytes(memory)
        ));
    }
    if entry.kind == Kind::Ours {
        return None;
    }
    if setting.waiting > PEERS_UP_TO {
        let name = entry.name;
        return Some(format!(
            "{jobs} jobs of {name} were left out: enqueueing them takes minutes."
        ));
    }
    (setting.queues > PEERS_QUEUES_UP_TO).then(|| {
        format!(
            "{} queues of {} were left out: it had run all jobs before as many workers had started.",
            whole(setting.queues as f64),
            entry.name
        )
    })
}

/// Ours, or the others'.
fn of(entry: &Entry, [ours, others]: [u64; 2]) -> u64 {
    if entry.kind == Kind::Ours { ours } else { others }
}

impl Measured {
    /// How many jobs wait at the first point.
    fn waiting(&self) -> u64 {
        let mut points = self.curves.iter().flat_map(|curve| &curve.points);
        points.next().map_or(0, |point| point.setting.waiting)
    }
}

impl Curve {
    fn new(entry: Entry) -> Self {
        Self { entry, version: String::new(), points: Vec::new() }
    }
}

impl Point {
    fn new(entry: &Entry, setting: Setting, extent: Extent) -> Self {
        let once = extent == Extent::Tried || setting.waiting > of(entry, ONCE_ABOVE);
        Self {
            setting,
            rounds: if once { 1 } else { ROUNDS },
            server: Rounds::default(),
            client: Rounds::default(),
            scripts: Rounds::default(),
            complaint: None,
        }
    }

    /// One that failed takes its time, and would fail again.
    fn is_due(&self, round: usize) -> bool {
        round < self.rounds && self.complaint.is_none()
    }

    fn run(&mut self, entry: &Entry, version: &mut String, cores: &Cores) {
        match one(entry, self.setting, cores) {
            Ok(cost) => {
                self.server.push(cost.server);
                self.client.push(cost.client);
                self.scripts.push(cost.scripts);
                *version = cost.version;
            }
            Err(error) => self.complaint = Some(format!("{error:#}")),
        }
    }

    fn latest(&self, axis: Axis) -> String {
        let value = |rounds: &Rounds| rounds.latest().map_or("–".into(), two);
        let mut text = format!(
            "{} {}: server {} and client {} CPU µs/job, {} scripts/job",
            whole(axis.value(self.setting) as f64),
            axis.unit(),
            value(&self.server),
            value(&self.client),
            value(&self.scripts)
        );
        if let Some(complaint) = &self.complaint {
            text += &format!(" ! {complaint}");
        }
        text
    }
}

fn one(entry: &Entry, setting: Setting, cores: &Cores) -> Result<Cost> {
    let mut arena = Arena::open(cores, Persistence::Off, steady::limit(setting))?;
    steady::fill(&mut arena, entry, setting)?;
    steady::cost(&arena, entry, setting)
}
