//! The plot of one axis: both scales are logarithmic, so that twice as much is as far everywhere.

use anyhow::{Result, anyhow};
use plotters::coord::combinators::BindKeyPoints;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Axis, Curve, Measured};
use crate::entry::Kind;
use crate::numbers::whole;

const SIZE: (u32, u32) = (820, 460);

/// Whatever the reader's system has without serifs.
const FONT: &str = "sans-serif";

const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
const OURS: RGBColor = RGBColor(0, 90, 181);
const PEER: RGBColor = RGBColor(200, 60, 10);

/// How many times the room between two ticks is left free on each side.
const MARGIN: f64 = 0.25;

/// One place of a curve.
#[derive(Clone, Copy)]
struct Place {
    x: f64,
    median: f64,
    least: f64,
    most: f64,
}

/// Draws it, as SVG on a white ground, legible on dark pages too.
pub(super) fn draw(measured: &Measured) -> Result<String> {
    let mut svg = String::new();
    paint(measured, &mut svg).map_err(|error| anyhow!("{error}"))?;
    Ok(svg)
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn paint(measured: &Measured, svg: &mut String) -> Drawn {
    let axis = measured.axis;
    let curves: Vec<_> =
        measured.curves.iter().map(|curve| (curve, places(measured, curve))).collect();
    let all: Vec<Place> = curves.iter().flat_map(|(_, places)| places.iter().copied()).collect();
    let ticks = ticks(&all, axis.step());
    let heights = heights(&all);
    let (Some((first, last)), Some((low, high))) = (ends(&ticks), ends(&heights)) else {
        return Err("there is nothing to draw: no point was measured".into());
    };

    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = (FONT, 20).into_font().style(FontStyle::Bold).color(&INK);
    root.draw(&Text::new(axis.title(), (20, 16), title))?;
    legend(&root, &curves)?;

    let room = axis.step().powf(MARGIN);
    let xs = (first / room..last * room).log_scale().with_key_points(ticks);
    let ys = (low..high).log_scale().with_key_points(heights);
    let mut chart = ChartBuilder::on(&root)
        .margin_top(80)
        .margin_right(24)
        .margin_bottom(8)
        .margin_left(8)
        .x_label_area_size(52)
        .y_label_area_size(72)
        .build_cartesian_2d(xs, ys)?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style((FONT, 15).into_font().color(&INK))
        .axis_desc_style((FONT, 16).into_font().color(&INK))
        .x_desc(axis.unit())
        .y_desc("server CPU, µs a job")
        .x_label_formatter(&|value| shown(axis, *value))
        .y_label_formatter(&|value| value.to_string())
        .draw()?;
    for (curve, places) in &curves {
        let color = color(curve);
        let band = places.iter().map(|place| (place.x, place.most));
        let band = band.chain(places.iter().rev().map(|place| (place.x, place.least)));
        chart.draw_series([Polygon::new(band.collect::<Vec<_>>(), color.mix(0.15))])?;
        let line = places.iter().map(|place| (place.x, place.median));
        chart.draw_series(LineSeries::new(line.clone(), color.stroke_width(2)))?;
        // A bar tells the spread where the band is narrower than the line, and at a single point.
        chart.draw_series(places.iter().map(|place| {
            PathElement::new([(place.x, place.least), (place.x, place.most)], color.stroke_width(1))
        }))?;
        chart.draw_series(line.map(|at| Circle::new(at, 4, color.filled())))?;
    }
    root.present()?;
    Ok(())
}

/// In a row below the title.
fn legend<DB: DrawingBackend>(
    root: &DrawingArea<DB, plotters::coord::Shift>,
    curves: &[(&Curve, Vec<Place>)],
) -> Drawn
where
    DB::ErrorType: 'static,
{
    let text = (FONT, 15).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
    let (mut left, height) = (22, 56);
    for (curve, _) in curves {
        let color = color(curve);
        let line = [(left, height), (left + 28, height)];
        root.draw(&PathElement::new(line, color.stroke_width(2)))?;
        root.draw(&Circle::new((left + 14, height), 4, color.filled()))?;
        root.draw(&Text::new(curve.entry.name, (left + 36, height), text.clone()))?;
        left += 160;
    }
    let spread = "median; the band is from the least to the most";
    root.draw(&Text::new(spread, (left, height), text))?;
    Ok(())
}

fn places(measured: &Measured, curve: &Curve) -> Vec<Place> {
    let place = |point: &super::Point| {
        Some(Place {
            x: measured.axis.value(point.setting) as f64,
            median: point.server.median()?,
            least: point.server.least(),
            most: point.server.most(),
        })
    };
    curve.points.iter().filter_map(place).collect()
}

/// Wherever something was measured.
fn ticks(all: &[Place], step: f64) -> Vec<f64> {
    let most = all.iter().map(|place| place.x).fold(0.0, f64::max);
    let least = all.iter().map(|place| place.x).fold(f64::INFINITY, f64::min);
    let along = std::iter::successors(Some(least), |tick| Some(tick * step));
    along.take_while(|tick| *tick <= most * 1.001).collect()
}

/// Ones, twos and fives, from below all to above all.
fn heights(all: &[Place]) -> Vec<f64> {
    let least = all.iter().map(|place| place.least).fold(f64::INFINITY, f64::min);
    let most = all.iter().map(|place| place.most).fold(0.0, f64::max);
    let every: Vec<f64> =
        (-2..6).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power))).collect();
    let low = every.iter().rposition(|height| *height <= least * 0.95);
    let high = every.iter().position(|height| *height >= most * 1.05);
    match (low, high) {
        (Some(low), Some(high)) if low < high => every[low..=high].to_vec(),
        _ => Vec::new(),
    }
}

fn ends(values: &[f64]) -> Option<(f64, f64)> {
    Some((*values.first()?, *values.last()?))
}

fn color(curve: &Curve) -> RGBColor {
    if curve.entry.kind == Kind::Ours { OURS } else { PEER }
}

/// `10³` along what goes by powers of ten from a thousand on, else `1,000`.
fn shown(axis: Axis, value: f64) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let power = DIGITS.get(value.log10().round() as usize);
    match (axis, power) {
        (Axis::Waiting, Some(power)) => format!("10{power}"),
        _ => whole(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_waiting_are_shown_as_powers_of_ten_and_queues_are_not() {
        assert_eq!(shown(Axis::Waiting, 1000.0), "10³");
        assert_eq!(shown(Axis::Waiting, 10_000_000.0), "10⁷");
        assert_eq!(shown(Axis::Workers, 32.0), "32");
        assert_eq!(shown(Axis::Queues, 1000.0), "1,000");
    }

    #[test]
    fn heights_reach_from_below_the_least_to_above_the_most() {
        let place = |least, most| Place { x: 1.0, median: least, least, most };
        assert_eq!(
            heights(&[place(5.2, 6.0), place(60.0, 70.0)]),
            [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
        );
        assert_eq!(heights(&[]), [0.0; 0]);
    }
}
