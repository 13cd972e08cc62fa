//! What a person looks at: a page with the verdicts, latencies and throughput with the faults shaded, and a timeline.

mod plot;
mod timeline;

use std::fmt::Write;
use std::path::Path;

use checker::{History, Outcome, Verdict};
use serde::{Deserialize, Serialize};

use crate::cluster::End;
use crate::nemesis::Window;
use crate::workload::Workload;

/// What a test was, beside its history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) workload: String,
    pub(crate) db: String,
    pub(crate) version: String,
    pub(crate) command: String,
    pub(crate) members: usize,
    pub(crate) seconds: u64,
    pub(crate) nemesis: Vec<String>,
    pub(crate) faults: Vec<Window>,
    pub(crate) ends: Vec<End>,
    /// What was seen to be wrong beside what clients saw.
    #[serde(default)]
    pub(crate) complaints: Vec<String>,
    /// Snapshots that members installed, as their logs say.
    #[serde(default)]
    pub(crate) snapshots: usize,
    /// Snapshots that members refused because they were damaged, as their logs say.
    #[serde(default)]
    pub(crate) refused: usize,
    /// When the last fault was healed and all members answered.
    #[serde(default)]
    pub(crate) calm_from_ns: Option<u64>,
    /// Milliseconds until all members answered after the faults were healed, or why they did not.
    pub(crate) recovered: Result<u64, String>,
    /// What went wrong in the harness itself: its history is not all that happened.
    #[serde(default)]
    pub(crate) trouble: Vec<String>,
    /// Events of the history; unknown of tests that did not come to their end, and of old ones.
    #[serde(default)]
    pub(crate) events: Option<u64>,
    /// Whether the test came to its end. It is written at the start, too, so that what a killed one left can be judged.
    #[serde(default = "came_to_its_end")]
    pub(crate) ended: bool,
}

/// It used to be written at the end only.
fn came_to_its_end() -> bool {
    true
}

/// Writes what a test was, or is going to be; all of it or nothing.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn save(directory: &Path, summary: &Summary) -> anyhow::Result<()> {
    let (path, new) = (directory.join("test.json"), directory.join("test.json.new"));
    std::fs::write(&new, serde_json::to_vec_pretty(summary)?)?;
    Ok(std::fs::rename(new, path)?)
}

/// An operation as plots and the timeline show it.
pub(crate) struct Point {
    pub(crate) process: u64,
    pub(crate) from_ns: u64,
    /// To the end of the test if nobody gave it up.
    pub(crate) to_ns: u64,
    pub(crate) outcome: Ending,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Ok,
    Fail,
    Info,
}

impl Ending {
    pub(crate) const ALL: [Ending; 3] = [Ending::Ok, Ending::Fail, Ending::Info];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Ending::Ok => "ok",
            Ending::Fail => "failed",
            Ending::Info => "unknown",
        }
    }

    pub(crate) fn color(self) -> &'static str {
        match self {
            Ending::Ok => "#4a90d9",
            Ending::Fail => "#d9534a",
            Ending::Info => "#e0a030",
        }
    }
}

/// Writes all reports of a test.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write<W: Workload>(
    directory: &Path,
    summary: &Summary,
    (_, history): &(std::sync::Arc<W>, History<W::Call, W::Return>),
    verdicts: &[Verdict],
) -> anyhow::Result<()> {
    let points = points(history)?;
    save(directory, summary)?;
    std::fs::write(directory.join("latency.svg"), plot::latency(&points, &summary.faults))?;
    std::fs::write(
        directory.join("throughput.svg"),
        plot::throughput(&points, &summary.faults),
    )?;
    std::fs::write(
        directory.join("timeline.html"),
        timeline::page(&points, &summary.faults),
    )?;
    std::fs::write(directory.join("index.html"), page(summary, verdicts))?;
    Ok(())
}

fn points<C: Clone + std::fmt::Debug, R: Clone + std::fmt::Debug>(
    history: &History<C, R>,
) -> anyhow::Result<Vec<Point>> {
    let end = history.events.last().map_or(0, |event| event.time_ns);
    let point = |op: checker::Operation<C, R>| {
        let (outcome, text) = match &op.outcome {
            Outcome::Ok(result) => (Ending::Ok, format!("{result:?}")),
            Outcome::Fail(error) => (Ending::Fail, error.clone()),
            Outcome::Info(error) => (Ending::Info, error.clone()),
        };
        let mut text = format!("#{} {:?} -> {text}", op.invoked, op.call);
        text.truncate(text.char_indices().nth(400).map_or(text.len(), |(at, _)| at));
        Point {
            process: op.process,
            from_ns: op.invoked_ns,
            to_ns: op.ended_ns.unwrap_or(end),
            outcome,
            text,
        }
    };
    Ok(history.operations()?.into_iter().map(point).collect())
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn page(summary: &Summary, verdicts: &[Verdict]) -> String {
    let mut html = format!(
        "<!doctype html><meta charset=utf-8><title>{0} {1}</title><style>body{{font:14px sans-serif;max-width:1000px;\
         margin:2em auto}}td,th{{text-align:left;padding:2px 10px;vertical-align:top}}.Valid{{color:#2a7}}.Invalid\
         {{color:#c22}}.Unknown{{color:#b80}}</style><h1>{1}: {0}, {2} members</h1><p>{3}</p><pre>{4}</pre>",
        escape(&summary.workload),
        escape(&summary.db),
        summary.members,
        escape(&summary.version),
        escape(&summary.command)
    );
    html.push_str("<table><tr><th>promise<th>verdict<th>what was seen");
    for verdict in verdicts {
        let validity = format!("{:?}", verdict.validity);
        let notes = escape(&verdict.notes.join("; "));
        let _ = write!(
            html,
            "<tr><td>{}<td class={validity}>{validity}<td>{notes}",
            escape(&verdict.checker)
        );
        for anomaly in &verdict.anomalies {
            let _ = write!(html, "<p><b>{}</b> {}", escape(&anomaly.kind), escape(&anomaly.message));
        }
    }
    html.push_str(
        "</table><p><img src=latency.svg><p><img src=throughput.svg><p><a href=timeline.html>timeline</a> \
                   <a href=history.jsonl>history</a> <a href=logs>logs</a><h2>Faults</h2><table>",
    );
    for window in &summary.faults {
        let (from, to) = (window.from_ns as f64 / 1e9, window.to_ns as f64 / 1e9);
        let _ = write!(
            html,
            "<tr><td>{from:.1} - {to:.1} s<td>{}<td>{}",
            escape(&window.fault),
            escape(&window.detail)
        );
    }
    html.push_str("</table>");
    html
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn summary(nemesis: &[&str], faults: Vec<Window>) -> Summary {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
        Summary {
            workload: "register".into(),
            db: "proreus".into(),
            version: "v".into(),
            command: String::new(),
            members: 3,
            seconds: 60,
            nemesis: owned(nemesis),
            faults,
            ends: Vec::new(),
            complaints: Vec::new(),
            snapshots: 0,
            refused: 0,
            calm_from_ns: Some(100),
            recovered: Ok(1),
            trouble: Vec::new(),
            events: None,
            ended: true,
        }
    }

    pub(crate) fn window(fault: &str, made: bool, from_ns: u64, to_ns: u64) -> Window {
        Window {
            fault: fault.into(),
            made,
            detail: "n1".into(),
            from_ns,
            to_ns,
            open: false,
        }
    }

    #[test]
    fn a_test_of_before_is_still_read() {
        let mut old = serde_json::to_value(summary(&["kill"], vec![window("kill", true, 1, 2)])).unwrap();
        for field in [
            "trouble",
            "events",
            "complaints",
            "snapshots",
            "refused",
            "calm_from_ns",
            "ended",
        ] {
            old.as_object_mut().unwrap().remove(field);
        }
        old["faults"][0].as_object_mut().unwrap().remove("open");
        let read: Summary = serde_json::from_value(old).unwrap();
        assert!(read.ended && read.events.is_none() && !read.faults[0].open);
    }
}
