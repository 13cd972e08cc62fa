//! Ranges at an old revision: one seek in `history` a key, one read of `rev` a returned key.

use std::sync::Arc;

use proto::state::Version;

use crate::{
    Direction, Entry, Family, Fault, RangeEnd, Rows, Step,
    encoding::{self, Place, history_after, history_key, history_prefix, parse_history_key, parse_rev_key, rev_key},
    range::Found,
};

/// The keys as of `revision`. The caller has checked that it is not compacted, and checks again afterwards if rows could
/// have been removed meanwhile.
pub(crate) fn find(
    rows: &impl Rows,
    start: &[u8],
    end: RangeEnd<'_>,
    revision: i64,
    wanted: usize,
) -> Result<Found, Fault> {
    let (places, count) = places(rows, start, end, revision, wanted)?;
    let entries = places
        .into_iter()
        .map(|place| entry(rows, place))
        .collect::<Result<_, _>>()?;
    Ok(Found { entries, count })
}

/// Where the versions as of `revision` are, at most `wanted` of them, and how many there are.
fn places(
    rows: &impl Rows,
    start: &[u8],
    end: RangeEnd<'_>,
    revision: i64,
    wanted: usize,
) -> Result<(Vec<Place>, i64), Fault> {
    let first = history_prefix(start);
    let stop = match end {
        RangeEnd::Single => Some(history_after(&first)),
        RangeEnd::Before(end) => Some(history_prefix(end)),
        RangeEnd::Unbounded => None,
    };
    let mut found = Vec::new();
    let mut count = 0;
    // Keys up to this place in the table are decided.
    let mut decided: Vec<u8> = Vec::new();
    let mut outcome = Ok(());
    let from = history_key(first, revision);
    rows.scan(Family::History, Direction::Forward, Some(&from), &mut |key, value| {
        if stop.as_deref().is_some_and(|stop| key >= stop) {
            return Step::Stop;
        }
        let decode = || -> Result<(&[u8], i64, Version), Fault> {
            let (prefix, at) = parse_history_key(key)?;
            Ok((prefix, at, encoding::decode_version(Family::History, key, value)?))
        };
        let (prefix, at, version) = match decode() {
            Ok(row) => row,
            Err(fault) => {
                outcome = Err(fault);
                return Step::Stop;
            }
        };
        if prefix == decided {
            return Step::Seek(history_after(prefix));
        }
        if at > revision {
            return Step::Seek(history_key(prefix.to_vec(), revision));
        }
        if version.version != 0 {
            count += 1;
            if found.len() < wanted {
                found.push(Place {
                    revision: at,
                    sub: version.sub,
                });
            }
        }
        decided.clear();
        decided.extend_from_slice(prefix);
        Step::Next
    })?;
    outcome.map(|()| (found, count))
}

/// The version of a key that was live just before `revision`.
pub(crate) fn before(rows: &impl Rows, key: &[u8], revision: i64) -> Result<Option<Arc<Entry>>, Fault> {
    Ok(find(rows, key, RangeEnd::Single, revision - 1, 1)?.entries.pop())
}

/// The live version at a place.
fn entry(rows: &impl Rows, place: Place) -> Result<Arc<Entry>, Fault> {
    let key = rev_key(place, false);
    let row = rows
        .get(Family::Rev, &key)?
        .ok_or_else(|| Fault::corrupt(Family::Rev, &key, "no row for a version that history lists"))?;
    decode(&key, row)
}

/// The entry of a row in `rev`, live or tombstone.
pub(crate) fn decode(key: &[u8], row: bytes::Bytes) -> Result<Arc<Entry>, Fault> {
    let (place, tombstone) = parse_rev_key(key)?;
    let entry = Entry::decode(row).map_err(|error| Fault::corrupt(Family::Rev, key, error.to_string()))?;
    Ok(Arc::new(if tombstone {
        Entry::tombstone(&entry.key, place.revision)
    } else {
        entry
    }))
}
