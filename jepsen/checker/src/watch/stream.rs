//! What a stream shows by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{Response, Watch};
use crate::Anomaly;

/// What a stream shows by itself.
pub(super) fn check(watch: &Watch) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut anomaly =
        |kind: &str, what: String| found.push(Anomaly::new(kind, format!("process {}: {what}", watch.process), []));
    let (mut last, mut promised, mut seen) = (i64::MIN, i64::MIN, BTreeSet::new());
    let is_end = |response: &Response| matches!(response, Response::Compacted(_));
    let mut beyond = watch.responses.splitn(2, is_end).skip(1).flatten();
    if let Some(response) = beyond.next() {
        anomaly(
            "beyond-the-end",
            format!("{response:?} came after a compaction had ended the stream"),
        );
    }
    for response in &watch.responses {
        let Response::Events(events) = response else {
            promised = if let Response::Progress(revision) = response {
                promised.max(*revision)
            } else {
                promised
            };
            continue;
        };
        if events.first().is_some_and(|first| first.revision == last) {
            anomaly("split", format!("revision {last} came in more than one response"));
        }
        for event in events {
            let (revision, key) = (event.revision, event.key.as_str());
            if revision < last {
                anomaly("unordered", format!("{key} at {revision} came after {last}"));
            }
            if !seen.insert((revision, key)) {
                anomaly("repeated", format!("{key} at {revision} came twice"));
            }
            if revision <= promised {
                anomaly("late", format!("{key} at {revision} came after progress to {promised}"));
            }
            if revision < watch.from_revision || !key.starts_with(&watch.prefix) {
                let asked = format!("{:?} from {}", watch.prefix, watch.from_revision);
                anomaly(
                    "foreign",
                    format!("{key} at {revision} came, where {asked} was asked for"),
                );
            }
            last = last.max(revision);
        }
    }
    found
}

/// Revisions spoken of that the store had not reached when the stream, or a later one of its process, was over.
pub(super) fn from_the_future(watches: &[Watch]) -> Vec<Anomaly> {
    let mut reached: BTreeMap<u64, i64> = BTreeMap::new();
    let mut found = Vec::new();
    for watch in watches.iter().rev() {
        if let Some(after) = watch.revision_after {
            let least = reached.entry(watch.process).or_insert(after);
            *least = after.min(*least);
        }
        let Some(reached) = reached.get(&watch.process) else {
            continue;
        };
        for response in watch.responses.iter().filter(|response| newest(response) > *reached) {
            let message = format!(
                "process {}: {response:?} was told while the store had not gone beyond {reached}",
                watch.process
            );
            found.push(Anomaly::new("from-the-future", message, []));
        }
    }
    found
}

fn newest(response: &Response) -> i64 {
    match response {
        Response::Events(events) => events.iter().map(|event| event.revision).max().unwrap_or(i64::MIN),
        Response::Progress(revision) | Response::Compacted(revision) => *revision,
    }
}
