//! Latency and throughput over time, as SVG.

use std::fmt::Write;

use super::{Ending, Point, escape};
use crate::limits::PLOT_POINTS;
use crate::nemesis::Window;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 30.0;
const TOP: f64 = 20.0;
/// Length of a fault's name.
const LABEL: f64 = 65.0;
/// The latency axis, in decades of nanoseconds: 100 us to 10 s.
const DECADES: std::ops::RangeInclusive<i32> = 5..=10;

struct Frame {
    svg: String,
    seconds: f64,
}

impl Frame {
    fn new(title: &str, points: &[Point], faults: &[Window]) -> Frame {
        let end = points
            .iter()
            .map(|point| point.to_ns)
            .chain(faults.iter().map(|window| window.to_ns))
            .max();
        let seconds = (end.unwrap_or(0) as f64 / 1e9).max(1.0);
        let (width, height) = (WIDTH + LEFT + 10.0, HEIGHT + TOP + BOTTOM);
        let svg = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' font-family='sans-serif' \
             font-size='11'><rect width='100%' height='100%' fill='white'/><text x='{LEFT}' y='13'>{title}</text>"
        );
        let mut frame = Frame { svg, seconds };
        let mut before = None;
        for window in faults.iter().filter(|window| window.made) {
            // Two faults that began together have their names one below the other.
            let together = before.replace(window.from_ns) == Some(window.from_ns);
            frame.shade(window, if together { LABEL } else { 0.0 });
        }
        let step = [1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 600.0]
            .into_iter()
            .find(|step| seconds / step <= 16.0);
        let step = step.unwrap_or(3600.0);
        let mut at = 0.0;
        while at <= seconds {
            let x = frame.x(at);
            let y = TOP + HEIGHT + 14.0;
            let _ = write!(frame.svg, "<text x='{x:.1}' y='{y}' text-anchor='middle'>{at} s</text>");
            at += step;
        }
        frame.legend();
        frame
    }

    fn shade(&mut self, window: &Window, label: f64) {
        let (from, to) = (self.x(window.from_ns as f64 / 1e9), self.x(window.to_ns as f64 / 1e9));
        let title = escape(&format!("{}: {}", window.fault, window.detail));
        let _ = write!(
            self.svg,
            "<rect x='{from:.1}' y='{TOP}' width='{:.1}' height='{HEIGHT}' fill='#c44' fill-opacity='0.13'>\
             <title>{title}</title></rect><text x='{:.1}' y='{:.1}' fill='#a33' font-size='9' transform='rotate(90 \
             {:.1} {:.1})'>{}</text>",
            (to - from).max(1.0),
            from + 2.0,
            TOP + 4.0 + label,
            from + 2.0,
            TOP + 4.0 + label,
            escape(&window.fault)
        );
    }

    fn legend(&mut self) {
        for (index, ending) in Ending::ALL.into_iter().enumerate() {
            let x = WIDTH - 180.0 + 70.0 * index as f64;
            let (color, name) = (ending.color(), ending.name());
            let _ = write!(
                self.svg,
                "<circle cx='{x}' cy='9' r='4' fill='{color}'/><text x='{}' y='13'>{name}</text>",
                x + 7.0
            );
        }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + WIDTH * seconds / self.seconds
    }

    fn line(&mut self, share: f64, label: &str) {
        let y = TOP + HEIGHT * (1.0 - share);
        let _ = write!(
            self.svg,
            "<line x1='{LEFT}' x2='{}' y1='{y:.1}' y2='{y:.1}' stroke='#ddd'/><text x='{}' y='{:.1}' \
             text-anchor='end'>{label}</text>",
            LEFT + WIDTH,
            LEFT - 5.0,
            y + 4.0
        );
    }

    fn end(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }
}

/// A dot for each operation: when it was invoked, and how long it took.
pub(super) fn latency(points: &[Point], faults: &[Window]) -> String {
    let mut frame = Frame::new("latency of each operation", points, faults);
    let span = f64::from(DECADES.end() - DECADES.start());
    for decade in DECADES {
        let label = ["100 us", "1 ms", "10 ms", "100 ms", "1 s", "10 s"][(decade - DECADES.start()) as usize];
        frame.line(f64::from(decade - DECADES.start()) / span, label);
    }
    for point in points.iter().step_by(points.len().div_ceil(PLOT_POINTS).max(1)) {
        let took = (point.to_ns.saturating_sub(point.from_ns) as f64).max(1.0).log10();
        let share = ((took - f64::from(*DECADES.start())) / span).clamp(0.0, 1.0);
        let (x, y) = (frame.x(point.from_ns as f64 / 1e9), TOP + HEIGHT * (1.0 - share));
        let color = point.outcome.color();
        let _ = write!(
            frame.svg,
            "<circle cx='{x:.1}' cy='{y:.1}' r='1.5' fill='{color}' fill-opacity='0.6'/>"
        );
    }
    frame.end()
}

/// Operations that ended in each second, by how they ended.
pub(super) fn throughput(points: &[Point], faults: &[Window]) -> String {
    let mut frame = Frame::new("operations a second", points, faults);
    let mut counts = vec![[0u32; Ending::ALL.len()]; frame.seconds as usize + 1];
    for point in points {
        let second = (point.to_ns / 1_000_000_000) as usize;
        let column = Ending::ALL
            .iter()
            .position(|ending| *ending == point.outcome)
            .unwrap_or(0);
        counts[second][column] += 1;
    }
    let top = f64::from(counts.iter().flatten().copied().max().unwrap_or(1).max(1));
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        frame.line(share, &format!("{:.0}", top * share));
    }
    for (column, ending) in Ending::ALL.into_iter().enumerate() {
        let line: Vec<String> = counts
            .iter()
            .enumerate()
            .map(|(second, counts)| {
                let y = TOP + HEIGHT * (1.0 - f64::from(counts[column]) / top);
                format!("{:.1},{y:.1}", frame.x(second as f64 + 0.5))
            })
            .collect();
        let _ = write!(
            frame.svg,
            "<polyline points='{}' fill='none' stroke='{}' stroke-width='1.5'/>",
            line.join(" "),
            ending.color()
        );
    }
    frame.end()
}
