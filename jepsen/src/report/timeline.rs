//! All operations as bars, a row for each process; hover over one to read it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Point, escape};
use crate::limits::TIMELINE_OPERATIONS;
use crate::nemesis::Window;

/// Pixels for a second, and for a row.
const SECOND: f64 = 60.0;
const ROW: usize = 14;

pub(super) fn page(points: &[Point], faults: &[Window]) -> String {
    let each = points.len().div_ceil(TIMELINE_OPERATIONS).max(1);
    let shown: Vec<&Point> = points.iter().step_by(each).collect();
    let mut rows: BTreeMap<u64, usize> = BTreeMap::new();
    for point in &shown {
        let row = rows.len();
        rows.entry(point.process).or_insert(row);
    }
    let mut html = String::from(
        "<!doctype html><meta charset=utf-8><title>timeline</title><style>body{font:11px sans-serif;position:relative;\
         margin:40px 80px}div{position:absolute;height:11px;overflow:hidden;white-space:nowrap;box-sizing:border-box;\
         border-left:1px solid #fff}.f{background:#c44;opacity:.15}.l{left:-75px;width:70px;text-align:right}</style>",
    );
    let _ = write!(html, "<p>{} of {} operations</p>", shown.len(), points.len());
    let left = |ns: u64| ns as f64 / 1e9 * SECOND;
    for window in faults.iter().filter(|window| window.made) {
        let (from, height) = (left(window.from_ns), rows.len() * ROW + 20);
        let title = escape(&format!("{}: {}", window.fault, window.detail));
        let width = left(window.to_ns) - from;
        let _ = write!(
            html,
            "<div class=f title=\"{title}\" style='left:{from:.0}px;top:30px;width:{width:.0}px;height:{height}px'></div>"
        );
    }
    for (process, row) in &rows {
        let _ = write!(html, "<div class=l style='top:{}px'>p{process}</div>", 50 + row * ROW);
    }
    for point in shown {
        let (from, top) = (left(point.from_ns), 50 + rows[&point.process] * ROW);
        let width = (left(point.to_ns) - from).max(3.0);
        let (color, text) = (point.outcome.color(), escape(&point.text));
        let _ = write!(
            html,
            "<div title=\"{text}\" style='left:{from:.0}px;top:{top}px;width:{width:.0}px;background:{color}'>{text}</div>"
        );
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Ending;
    use crate::report::tests::window;

    #[test]
    fn a_long_test_is_shown_to_its_end_and_only_faults_that_were_made() {
        let point = |number: usize| Point {
            process: 1,
            from_ns: number as u64,
            to_ns: number as u64 + 1,
            outcome: Ending::Ok,
            text: format!("operation {number}."),
        };
        let points: Vec<Point> = (0..=2 * TIMELINE_OPERATIONS).map(point).collect();
        let page = page(&points, &[window("kill", true, 1, 2), window("pause", false, 1, 2)]);
        let last = format!("operation {}.", 2 * TIMELINE_OPERATIONS);
        assert!(page.contains("operation 0.") && page.contains(&last) && !page.contains("operation 1."));
        assert!(page.contains("kill: n1") && !page.contains("pause: n1"));
    }
}
