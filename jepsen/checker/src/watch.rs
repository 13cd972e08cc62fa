//! The promises of watches, each under its own name:
//!
//! | anomaly | the promise it breaks |
//! |---|---|
//! | `unordered` | events come in the order of their revisions |
//! | `repeated` | an event comes once |
//! | `gap` | no event between the first revision asked for and the last one spoken of is left out (reliable, resumable) |
//! | `split` | a revision comes in one response (atomic) |
//! | `late` | after a progress notice for a revision, nothing older follows (bookmarkable) |
//! | `foreign` | only keys and revisions that were asked for come |
//! | `divergent` | two watches tell the same event alike |
//! | `wrong-previous` | previous value, version and creation follow from the event before |
//! | `phantom` | no event without a write: not of a failed one, not of one that was never made |
//! | `double` | no write makes two events |
//! | `misplaced` | an acknowledged write's event has the acknowledged revision |

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::{Anomaly, Operation, Outcome, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub revision: i64,
    pub key: String,
    /// `None`: the key was deleted.
    pub value: Option<String>,
    #[serde(default)]
    pub create_revision: i64,
    #[serde(default)]
    pub version: i64,
    /// Value and revision before the event, where they were asked for and there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<(String, i64)>,
}

/// What one response of the stream said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    Events(Vec<Event>),
    /// All events up to this revision have been sent.
    Progress(i64),
    /// The stream ends because what it needs is compacted, up to this revision.
    Compacted(i64),
}

/// One stream, from its creation to its end. A watcher that resumes makes another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    pub process: u64,
    /// The first revision that must be delivered.
    pub from_revision: i64,
    /// Keys that start with this.
    pub prefix: String,
    pub previous_values: bool,
    pub responses: Vec<Response>,
}

/// A write that the watches must tell of. Values are unique in a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Write {
    Put { key: String, value: String },
    Delete { key: String },
}

/// The revision of an acknowledged write; `None` when a deletion found nothing.
pub type Written = Option<i64>;

type Place = (i64, String);

pub fn check(watches: &[Watch], writes: &[Operation<Write, Written>]) -> Verdict {
    let mut verdict = Verdict::valid("watch");
    let mut report = |anomaly| verdict.broken(anomaly);
    watches.iter().flat_map(stream).for_each(&mut report);
    let mut reference = Reference::default();
    for watch in watches {
        reference.take_in(watch).into_iter().for_each(&mut report);
    }
    reference.compare_writes(writes).into_iter().for_each(&mut report);
    for watch in watches {
        reference.gaps(watch).into_iter().for_each(&mut report);
    }
    reference.histories().into_iter().for_each(&mut report);
    verdict.note(format!(
        "{} streams, {} distinct events, {} writes",
        watches.len(),
        reference.events.len(),
        writes.len()
    ));
    verdict
}

fn events(watch: &Watch) -> impl Iterator<Item = &Event> {
    watch.responses.iter().flat_map(|response| match response {
        Response::Events(events) => events.as_slice(),
        Response::Progress(_) | Response::Compacted(_) => &[],
    })
}

/// What a stream shows by itself.
fn stream(watch: &Watch) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut anomaly =
        |kind: &str, what: String| found.push(Anomaly::new(kind, format!("process {}: {what}", watch.process), []));
    let (mut last, mut promised, mut seen) = (i64::MIN, i64::MIN, BTreeSet::new());
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

/// All that is known to have happened: what any watch told, and what was acknowledged.
#[derive(Default)]
struct Reference {
    events: BTreeMap<Place, Event>,
    /// Places known from acknowledgements.
    acknowledged: BTreeMap<Place, String>,
}

impl Reference {
    fn take_in(&mut self, watch: &Watch) -> Vec<Anomaly> {
        let mut found = Vec::new();
        for event in events(watch) {
            let place = (event.revision, event.key.clone());
            let held = self.events.entry(place).or_insert_with(|| event.clone());
            let same = held.value == event.value
                && held.version == event.version
                && held.create_revision == event.create_revision;
            if !same {
                found.push(Anomaly::new(
                    "divergent",
                    format!("one watch told {held:?}, another {event:?}"),
                    [],
                ));
            } else if watch.previous_values {
                // Of two that tell the same event, the one with its past is worth more.
                held.previous.clone_from(&event.previous);
            }
        }
        found
    }

    fn compare_writes(&mut self, writes: &[Operation<Write, Written>]) -> Vec<Anomaly> {
        let mut found = Vec::new();
        let mut by_value: HashMap<&str, &Operation<Write, Written>> = HashMap::new();
        for write in writes {
            if let Write::Put { value, .. } = &write.call {
                by_value.insert(value, write);
            }
            if let Outcome::Ok(Some(revision)) = write.outcome {
                let (Write::Put { key, .. } | Write::Delete { key }) = &write.call;
                self.acknowledged
                    .insert((revision, key.clone()), format!("{:?}", write.call));
            }
        }
        let mut told: HashMap<&str, i64> = HashMap::new();
        for event in self.events.values() {
            let Some(value) = event.value.as_deref() else { continue };
            match by_value.get(value).map(|write| (&write.outcome, write.invoked)) {
                None => found.push(Anomaly::new("phantom", format!("nobody wrote {event:?}"), [])),
                Some((Outcome::Fail(error), at)) => {
                    found.push(Anomaly::new(
                        "phantom",
                        format!("{event:?} is of a write that failed: {error}"),
                        [at],
                    ));
                }
                Some((Outcome::Ok(Some(revision)), at)) if *revision != event.revision => {
                    let message = format!("{event:?} was acknowledged at revision {revision}");
                    found.push(Anomaly::new("misplaced", message, [at]));
                }
                Some(_) => {}
            }
            if let Some(first) = told.insert(value, event.revision) {
                let message = format!("{value:?} was written once, and came at {first} and {}", event.revision);
                found.push(Anomaly::new("double", message, []));
            }
        }
        found
    }

    /// Events that a stream passed over.
    fn gaps(&self, watch: &Watch) -> Vec<Anomaly> {
        let told: BTreeSet<(i64, &str)> = events(watch)
            .map(|event| (event.revision, event.key.as_str()))
            .collect();
        let progress = watch.responses.iter().filter_map(|response| match response {
            Response::Progress(revision) => Some(*revision),
            _ => None,
        });
        let Some(until) = told
            .last()
            .map(|(revision, _)| *revision)
            .into_iter()
            .chain(progress)
            .max()
        else {
            return Vec::new();
        };
        let known = self
            .events
            .keys()
            .chain(self.acknowledged.keys())
            .collect::<BTreeSet<_>>();
        let missed = known.into_iter().filter(|(revision, key)| {
            (watch.from_revision..=until).contains(revision)
                && key.starts_with(&watch.prefix)
                && !told.contains(&(*revision, key.as_str()))
        });
        missed
            .map(|(revision, key)| {
                let message = format!(
                    "process {}: the stream from {} reached {until} without {key} at {revision}",
                    watch.process, watch.from_revision
                );
                Anomaly::new("gap", message, [])
            })
            .collect()
    }

    /// Whether each key's events follow from one another. A key's first event known may be anything.
    fn histories(&self) -> Vec<Anomaly> {
        let mut last: BTreeMap<&str, &Event> = BTreeMap::new();
        let mut found = Vec::new();
        for event in self.events.values() {
            if let Some(before) = last.insert(&event.key, event)
                && let Some(wrong) = follows(before, event)
            {
                found.push(Anomaly::new(
                    "wrong-previous",
                    format!("{event:?} after {before:?}: {wrong}"),
                    [],
                ));
            }
        }
        found
    }
}

/// What is wrong with `event` coming right after `before` on one key.
fn follows(before: &Event, event: &Event) -> Option<&'static str> {
    if let Some((value, revision)) = &event.previous
        && (before.value.as_ref() != Some(value) || before.revision != *revision)
    {
        return Some("the previous value is another");
    }
    match (&before.value, &event.value) {
        (None, None) => Some("it was deleted twice"),
        (None, Some(_)) if event.version != 1 || event.create_revision != event.revision => Some("it was created anew"),
        (Some(_), Some(_)) if event.version != before.version + 1 => Some("the version does not count on"),
        (Some(_), Some(_)) if event.create_revision != before.create_revision => Some("it was not created anew"),
        _ => None,
    }
}
