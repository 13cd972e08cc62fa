//! The promises of watches, each under its own name:
//!
//! | anomaly | the promise it breaks |
//! |---|---|
//! | `unordered` | events come in the order of their revisions |
//! | `repeated` | an event comes once |
//! | `gap` | no event between the first revision asked for and the last one spoken of is left out (reliable, resumable) |
//! | `split` | a revision comes in one response (atomic) |
//! | `late` | after a progress notice for a revision, nothing older follows (bookmarkable) |
//! | `beyond-the-end` | nothing follows in a stream that a compaction has ended |
//! | `foreign` | only keys and revisions that were asked for come |
//! | `divergent` | two watches tell the same event alike |
//! | `no-previous` | whoever asked for previous values is told the one of each update and deletion that no compaction can have reached |
//! | `not-compacted` | a stream ends by a compaction that was made, and that reached what it needs |
//! | `wrong-previous` | previous value, version and creation follow from the event before; the value was written, and at that revision |
//! | `phantom` | no event without a write of its key: not of a failed one, not of one that was never made |
//! | `double` | no write makes two events |
//! | `misplaced` | an acknowledged write's event has the acknowledged revision; any other's a later one than all before it |
//! | `revision-given-twice` | each acknowledged write makes a revision of its own |
//! | `revision-backwards` | what begins after a write was acknowledged gets a greater revision |
//! | `found-nothing` | a deletion finds what was put and cannot have been deleted |
//! | `from-the-future` | no event, progress or compaction is told of before the store has its revision |
//!
//! The promises are those of etcd's API guarantees for watches (<https://etcd.io/docs/v3.5/learning/api_guarantees/>), and
//! of the fields of its `KeyValue`. After a compaction a watch goes on behind what was lost: an event is judged by the one
//! before it only if streams told of all that lies between.
//!
//! A previous value may be missing if it is compacted by the time the event is sent, and so says etcd's `prev_kv`. What was compacted
//! by a stream's end bounds what was compacted at any time before: up to there nothing is demanded.
//!
//! # Left out
//! Who asked for a compaction: members compact by themselves, and other clients ask too. When one was made: a stream that ended
//! too soon by one that was made later is not found.

mod reference;
mod stream;
mod writes;

use serde::{Deserialize, Serialize};

use crate::{Operation, Verdict};
use reference::Reference;

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

/// One stream, from its creation to its end. A watcher that resumes makes another one, which is listed after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    pub process: u64,
    /// The first revision that must be delivered.
    pub from_revision: i64,
    /// Keys that start with this.
    pub prefix: String,
    pub previous_values: bool,
    pub responses: Vec<Response>,
    /// The store's revision, as a linearizable read told it that began after the last response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_after: Option<i64>,
    /// No more than this was compacted when the stream ended, as its member told that had then caught up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted_after: Option<i64>,
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

pub fn check(watches: &[Watch], writes: &[Operation<Write, Written>]) -> Verdict {
    let mut verdict = Verdict::valid("watch");
    let mut report = |anomaly| verdict.broken(anomaly);
    watches.iter().flat_map(stream::check).for_each(&mut report);
    stream::from_the_future(watches).into_iter().for_each(&mut report);
    let (judged, compactions) = stream::compactions(watches);
    compactions.into_iter().for_each(&mut report);
    let mut reference = Reference::default();
    for watch in watches {
        reference.take_in(watch).into_iter().for_each(&mut report);
    }
    reference.acknowledge(writes);
    reference.compare_writes(writes).into_iter().for_each(&mut report);
    for watch in watches {
        reference.gaps(watch).into_iter().for_each(&mut report);
    }
    reference.histories().into_iter().for_each(&mut report);
    verdict.note(format!(
        "{} streams, {} distinct events, {judged} previous values demanded, {} writes",
        watches.len(),
        reference.events.len(),
        writes.len()
    ));
    if watches.iter().all(|watch| told_until(watch).is_none()) {
        verdict.unknown("no watch told of anything");
    }
    verdict
}

fn events(watch: &Watch) -> impl Iterator<Item = &Event> {
    watch.responses.iter().flat_map(|response| match response {
        Response::Events(events) => events.as_slice(),
        Response::Progress(_) | Response::Compacted(_) => &[],
    })
}

/// Up to here a stream vouches for having told all; `None` when it told nothing.
fn told_until(watch: &Watch) -> Option<i64> {
    let progress = watch.responses.iter().filter_map(|response| match response {
        Response::Progress(revision) => Some(*revision),
        Response::Events(_) | Response::Compacted(_) => None,
    });
    events(watch).map(|event| event.revision).chain(progress).max()
}
