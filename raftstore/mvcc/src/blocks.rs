//! Reading back whole revisions, for watchers that have fallen behind what is kept in memory.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use crate::{
    Block, Direction, Entry, Event, Family, Fault, Rows, Step,
    encoding::{Place, parse_rev_key, rev_key},
    past,
};

/// Some revisions, whole and ascending.
#[derive(Debug)]
pub struct Blocks {
    pub blocks: Vec<Arc<Block>>,
    /// Where to go on: every revision below it that was asked for is in `blocks`.
    pub next_revision: i64,
}

/// Reads the revisions from `from` to `to` (inclusive), stopping early once they hold `bytes_max` bytes; at least one.
/// Events at or below `compacted` carry no previous version, so that every member tells the same.
pub(crate) fn read(rows: &impl Rows, from: i64, to: i64, bytes_max: usize, compacted: i64) -> Result<Blocks, Fault> {
    let (read, next_revision) = entries(rows, from, to, bytes_max)?;
    let blocks = read
        .into_iter()
        .map(|(revision, entries)| {
            let events = events(rows, revision, entries, revision > compacted)?;
            Ok(Arc::new(Block { revision, events }))
        })
        .collect::<Result<_, Fault>>()?;
    Ok(Blocks { blocks, next_revision })
}

type Revisions = Vec<(i64, Vec<Arc<Entry>>)>;

fn entries(rows: &impl Rows, from: i64, to: i64, bytes_max: usize) -> Result<(Revisions, i64), Fault> {
    let mut revisions: Revisions = Vec::new();
    let mut next_revision = to + 1;
    let mut bytes = 0;
    let mut outcome = Ok(());
    let first = rev_key(Place { revision: from, sub: 0 }, false);
    rows.scan(Family::Rev, Direction::Forward, Some(&first), &mut |key, value| {
        let read = parse_rev_key(key)
            .and_then(|(place, _)| Ok((place.revision, past::decode(key, Bytes::copy_from_slice(value))?)));
        let (revision, entry) = match read {
            Ok(read) => read,
            Err(fault) => {
                outcome = Err(fault);
                return Step::Stop;
            }
        };
        if revision > to {
            return Step::Stop;
        }
        match revisions.last_mut() {
            Some((last, entries)) if *last == revision => entries.push(entry),
            Some(_) if bytes >= bytes_max => {
                next_revision = revision;
                return Step::Stop;
            }
            _ => revisions.push((revision, vec![entry])),
        }
        bytes += key.len() + value.len();
        Step::Next
    })?;
    outcome.map(|()| (revisions, next_revision))
}

fn events(rows: &impl Rows, revision: i64, entries: Vec<Arc<Entry>>, with_prev: bool) -> Result<Vec<Event>, Fault> {
    // A key changed twice within the revision has its earlier change as the previous version.
    let mut within: HashMap<Bytes, Arc<Entry>> = HashMap::new();
    let several = entries.len() > 1;
    let mut events = Vec::with_capacity(entries.len());
    for entry in entries {
        let prev = match within.get(&entry.key) {
            _ if !with_prev => None,
            Some(earlier) => Some(earlier.clone()).filter(|earlier| !earlier.is_tombstone()),
            None => past::before(rows, &entry.key, revision)?,
        };
        if several {
            within.insert(entry.key.clone(), entry.clone());
        }
        events.push(Event::new(entry, prev));
    }
    Ok(events)
}
