//! The page: on what it was measured, and for each axis a plot, what it shows in a sentence, a
//! table.

use super::{Axis, Curve, Measured, Point};
use crate::head;
use crate::machine::Cores;
use crate::numbers::{two, whole};
use crate::table;

/// The whole page, in Markdown.
pub(super) fn of(measured: &[Measured], cores: &Cores, load_before: &str) -> String {
    let curves = measured.iter().flat_map(|measured| &measured.curves);
    let versions = curves
        .filter(|curve| !curve.version.is_empty())
        .map(|curve| format!("contender: {} {}", curve.entry.name, curve.version))
        .collect();
    let mut text = format!(
        "# What a job costs as there are more\n\n\
         What a job costs, enqueued and run, as there are more jobs waiting, more worker processes, \
         more queues. A curve that is level costs no more however many there are. Costs are CPU \
         time of the server; the tables have that of the processes that enqueue and run too. \
         Beside Shiftwork stands the reliable peer that comes nearest to it, \
         `bullmq-official`.\n\n\
         `make bench-growth` measures this anew and writes this page; \
         [the README of the benchmarks](../benches/peers/README.md) says how it is measured.\n\n\
         {}- payload: 100 bytes of JSON, typed; no job ran twice\n\n",
        head::list(cores, versions, load_before)
    );
    for measured in measured {
        text += &section(measured);
    }
    format!("{}\n", text.trim_end())
}

fn section(measured: &Measured) -> String {
    let axis = measured.axis;
    let mut text = format!("## {}\n\n", heading(axis));
    text +=
        &format!("![{}]({})\n\n{}\n\n", axis.title(), axis.file(), axis.notes(measured.waiting()));
    for sentence in measured.curves.iter().filter_map(|curve| ends(axis, curve)) {
        text += &format!("- {sentence}\n");
    }
    text += "\n";
    let headings = ["contender", axis.unit(), SERVER, CLIENT, SCRIPTS, "rounds"];
    text += &table::row(headings.into_iter());
    text += &table::row(headings.iter().map(|_| "---"));
    for curve in &measured.curves {
        for point in &curve.points {
            text += &row(axis, curve, point);
        }
    }
    text += "\nMedian, and from the least to the most.";
    for sentence in &measured.left_out {
        text += &format!(" {sentence}");
    }
    text + "\n\n"
}

const SERVER: &str = "server CPU µs/job";
const CLIENT: &str = "client CPU µs/job";
const SCRIPTS: &str = "scripts/job";

fn heading(axis: Axis) -> &'static str {
    match axis {
        Axis::Waiting => "Jobs waiting",
        Axis::Workers => "Worker processes",
        Axis::Queues => "Queues",
    }
}

/// From one end of a curve to the other.
fn ends(axis: Axis, curve: &Curve) -> Option<String> {
    let measured = |point: &Point| {
        Some((axis.value(point.setting) as f64, point.server.median()?, point.scripts.median()?))
    };
    let mut points = curve.points.iter().filter_map(measured);
    let (fewest, first, first_scripts) = points.next()?;
    let (most, last, last_scripts) = points.next_back()?;
    let scripts = match axis {
        Axis::Queues => format!(
            "; a call of a script took {} µs and takes {}",
            two(first / first_scripts),
            two(last / last_scripts)
        ),
        Axis::Waiting | Axis::Workers => String::new(),
    };
    Some(format!(
        "{}: from {} to {} {}, {} times as many, a job costs the server {} times as much{scripts}.",
        curve.entry.name,
        whole(fewest),
        whole(most),
        axis.unit(),
        whole(most / fewest),
        two(last / first)
    ))
}

fn row(axis: Axis, curve: &Curve, point: &Point) -> String {
    let mut rounds = point.server.count().to_string();
    if let Some(complaint) = &point.complaint {
        rounds += &format!("; failed: {complaint}");
    }
    let cells = [
        curve.entry.name.to_owned(),
        whole(axis.value(point.setting) as f64),
        point.server.show(two),
        point.client.show(two),
        point.scripts.show(two),
        rounds,
    ];
    table::row(cells.into_iter())
}
