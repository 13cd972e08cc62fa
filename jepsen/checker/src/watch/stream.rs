//! What a stream shows by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Response, Watch, events};
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
    let mut found = Vec::new();
    for (watch, reached) in bounded(watches, |watch| watch.revision_after) {
        for response in watch.responses.iter().filter(|response| newest(response) > reached) {
            let message = format!(
                "process {}: {response:?} was told while the store had not gone beyond {reached}",
                watch.process
            );
            found.push(Anomaly::new("from-the-future", message, []));
        }
    }
    found
}

/// Each stream with the least that was told when it, or a later one of its process, was over.
fn bounded(watches: &[Watch], told: impl Fn(&Watch) -> Option<i64>) -> Vec<(&Watch, i64)> {
    let mut least: BTreeMap<u64, i64> = BTreeMap::new();
    let mut bounded = Vec::new();
    for watch in watches.iter().rev() {
        if let Some(told) = told(watch) {
            let least = least.entry(watch.process).or_insert(told);
            *least = told.min(*least);
        }
        bounded.extend(least.get(&watch.process).map(|least| (watch, *least)));
    }
    bounded
}

/// Compactions told of that were not made, and previous values that are missing though none can have reached them; and how
/// many of those had to be there.
pub(super) fn compactions(watches: &[Watch]) -> (usize, Vec<Anomaly>) {
    let mut found: Vec<Anomaly> = watches.iter().filter_map(needless).collect();
    let mut judged = 0;
    for (watch, compacted) in bounded(watches, |watch| watch.compacted_after) {
        for response in &watch.responses {
            if let Response::Compacted(revision) = response
                && *revision > compacted
            {
                let message = format!(
                    "process {}: a compaction at {revision} was told of, where none had gone beyond {compacted}",
                    watch.process
                );
                found.push(Anomaly::new("not-compacted", message, []));
            }
        }
        // The state before an event is kept unless a later one is compacted, or that of the event itself.
        let demanded =
            events(watch).filter(|event| watch.previous_values && replaces(event) && event.revision > compacted);
        for event in demanded {
            judged += 1;
            if event.previous.is_none() {
                let message = format!(
                    "process {}: {event:?} came without what it replaced, where no compaction had gone beyond {compacted}",
                    watch.process
                );
                found.push(Anomaly::new("no-previous", message, []));
            }
        }
    }
    (judged, found)
}

/// Whether there was a value before.
fn replaces(event: &Event) -> bool {
    event.value.is_none() || event.version > 1
}

/// A compaction that ended a stream, though all it reached had been told or was not asked for.
fn needless(watch: &Watch) -> Option<Anomaly> {
    let mut needs = watch.from_revision;
    for response in &watch.responses {
        match response {
            Response::Events(events) => needs = events.iter().map(|event| event.revision).fold(needs, i64::max),
            Response::Compacted(revision) if *revision < needs => {
                let message = format!(
                    "process {}: a compaction at {revision} ended a stream that had got to {needs}",
                    watch.process
                );
                return Some(Anomaly::new("not-compacted", message, []));
            }
            Response::Compacted(_) | Response::Progress(_) => {}
        }
    }
    None
}

fn newest(response: &Response) -> i64 {
    match response {
        Response::Events(events) => events.iter().map(|event| event.revision).max().unwrap_or(i64::MIN),
        Response::Progress(revision) | Response::Compacted(revision) => *revision,
    }
}
