//! All that is known to have happened: what any watch told, and what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Watch, Write, Written, events, told_until};
use crate::{Anomaly, Operation, Outcome};

/// Revision and key.
pub(super) type Place = (i64, String);

#[derive(Default)]
pub(super) struct Reference {
    pub(super) events: BTreeMap<Place, Event>,
    /// Every previous value and revision that any watch told of an event.
    pasts: BTreeMap<Place, BTreeSet<(String, i64)>>,
    /// What was written where, known from acknowledgements.
    pub(super) acknowledged: BTreeMap<Place, Write>,
    /// First and last revision that a stream told all of, for its prefix.
    told: Vec<(String, i64, i64)>,
}

impl Reference {
    pub(super) fn take_in(&mut self, watch: &Watch) -> Vec<Anomaly> {
        let mut found = Vec::new();
        for event in events(watch) {
            let place = (event.revision, event.key.clone());
            if let Some(past) = &event.previous {
                self.pasts.entry(place.clone()).or_default().insert(past.clone());
            }
            let held = self.events.entry(place).or_insert_with(|| event.clone());
            let same = held.value == event.value
                && held.version == event.version
                && held.create_revision == event.create_revision;
            if !same {
                found.push(divergent(format!("one watch told {held:?}, another {event:?}")));
            }
        }
        if let Some(until) = told_until(watch) {
            self.told.push((watch.prefix.clone(), watch.from_revision, until));
        }
        found
    }

    pub(super) fn acknowledge(&mut self, writes: &[Operation<Write, Written>]) {
        for write in writes {
            if let Outcome::Ok(Some(revision)) = write.outcome {
                let place = (revision, write.call.key().to_string());
                self.acknowledged.insert(place, write.call.clone());
            }
        }
    }

    /// Each previous value and revision told, with the event it was told of.
    pub(super) fn pasts(&self) -> impl Iterator<Item = (&Place, &(String, i64))> {
        let pasts = self.pasts.iter();
        pasts.flat_map(|(place, pasts)| pasts.iter().map(move |past| (place, past)))
    }

    /// Events that a stream passed over.
    pub(super) fn gaps(&self, watch: &Watch) -> Vec<Anomaly> {
        let Some(until) = told_until(watch) else {
            return Vec::new();
        };
        let told: BTreeSet<(i64, &str)> = events(watch)
            .map(|event| (event.revision, event.key.as_str()))
            .collect();
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
    pub(super) fn histories(&self) -> Vec<Anomaly> {
        let mut last: BTreeMap<&str, &Event> = BTreeMap::new();
        let mut spans: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
        let mut found = Vec::new();
        for (place, event) in &self.events {
            let pasts = self.pasts.get(place).into_iter().flatten();
            let before = last.insert(&event.key, event);
            let whole = before.is_some_and(|before| {
                let spans = spans.entry(&event.key).or_insert_with(|| self.spans(&event.key));
                covers(spans, before.revision + 1, event.revision - 1)
                    || pasts.clone().any(|(_, revision)| *revision == before.revision)
            });
            let mut wrong: Vec<&str> = by_itself(event).into_iter().collect();
            wrong.extend(before.and_then(|before| {
                if whole {
                    follows(before, event)
                } else {
                    later(before, event)
                }
            }));
            wrong.extend(pasts.clone().find_map(|past| wrong_past(past, before, event, whole)));
            found.extend(wrong.into_iter().map(|wrong| {
                let message = format!("{event:?} after {before:?}: {wrong}");
                Anomaly::new("wrong-previous", message, [])
            }));
            if pasts.clone().count() > 1 {
                let pasts: Vec<_> = pasts.collect();
                found.push(divergent(format!(
                    "{event:?} is told to have come after each of {pasts:?}"
                )));
            }
        }
        found
    }

    /// The revisions of which streams told all about a key, as spans in order that neither touch nor overlap.
    fn spans(&self, key: &str) -> Vec<(i64, i64)> {
        let told = self.told.iter().filter(|(prefix, ..)| key.starts_with(prefix));
        let mut sorted: Vec<(i64, i64)> = told.map(|(_, from, until)| (*from, *until)).collect();
        sorted.sort_unstable();
        let mut spans: Vec<(i64, i64)> = Vec::new();
        for (from, until) in sorted {
            match spans.last_mut() {
                Some(span) if from <= span.1 + 1 => span.1 = until.max(span.1),
                _ => spans.push((from, until)),
            }
        }
        spans
    }
}

fn divergent(message: String) -> Anomaly {
    Anomaly::new("divergent", message, [])
}

fn covers(spans: &[(i64, i64)], first: i64, last: i64) -> bool {
    first > last || spans.iter().any(|(from, until)| *from <= first && last <= *until)
}

/// What is wrong with an event, whatever came before it.
fn by_itself(event: &Event) -> Option<&'static str> {
    event.value.as_ref()?;
    let created = event.create_revision == event.revision;
    if created != (event.version == 1) || event.create_revision > event.revision || event.version < 1 {
        return Some("version and creation contradict each other");
    }
    None
}

/// What is wrong with `event` coming right after `before` on one key.
fn follows(before: &Event, event: &Event) -> Option<&'static str> {
    match (&before.value, &event.value) {
        (None, None) => Some("it was deleted twice"),
        (None, Some(_)) if event.version != 1 || event.create_revision != event.revision => Some("it was created anew"),
        (Some(_), Some(_)) if event.version != before.version + 1 => Some("the version does not count on"),
        (Some(_), Some(_)) if event.create_revision != before.create_revision => Some("it was not created anew"),
        _ => None,
    }
}

/// What is wrong with `event` coming at some time after `before` on one key.
fn later(before: &Event, event: &Event) -> Option<&'static str> {
    event.value.as_ref()?;
    let one_life = before.value.is_some() && event.create_revision == before.create_revision;
    if one_life && event.version <= before.version {
        return Some("the version does not grow");
    }
    (!one_life && event.create_revision <= before.revision).then_some("it was created before what is older")
}

/// What is wrong with the previous value and revision told of `event`. `whole`: nothing lies between it and `before`.
fn wrong_past(past: &(String, i64), before: Option<&Event>, event: &Event, whole: bool) -> Option<&'static str> {
    let (value, revision) = past;
    if *revision >= event.revision {
        return Some("the previous revision is not older");
    }
    if event.value.is_some() && event.version == 1 {
        return Some("there was no value before it was created");
    }
    let before = before?;
    let is_before = before.revision == *revision && before.value.as_ref() == Some(value);
    let between = !whole && *revision > before.revision;
    (!is_before && !between).then_some("the previous value is another")
}
