//! Building the state in memory from the tables.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdSet;
use proto::state;

use crate::{
    Direction, Entry, Family, Fault, Lease, LogId, Rows, Step, auth,
    encoding::{self, Place, parse_lease_key, parse_rev_key, rev_key},
    limits::WALK_BEFORE_SEEK_MAX,
    view::State,
};

/// The state as of the last write.
pub(crate) fn state(rows: &impl Rows) -> Result<State, Fault> {
    let mut state = State::default();
    if let Some(stored) = rows.get(Family::Meta, encoding::APPLIED)? {
        let applied = LogId::decode(&stored)
            .map_err(|error| Fault::corrupt(Family::Meta, encoding::APPLIED, error.to_string()))?;
        state.applied = Some(applied);
    }
    if let Some(counters) = counters(rows)? {
        state.revision = counters.revision;
        state.compacted = counters.compacted;
    }
    if let Some(alarms) = record::<state::Alarms>(rows, encoding::ALARMS)? {
        state.alarms = Arc::new(alarms.alarms);
    }
    state.auth = Arc::new(auth::load(rows)?);
    leases(rows, &mut state)?;
    index(rows, &mut state)?;
    Ok(state)
}

fn counters(rows: &impl Rows) -> Result<Option<state::Counters>, Fault> {
    record(rows, encoding::COUNTERS)
}

/// The compacted revision of these very tables.
pub(crate) fn compacted(rows: &impl Rows) -> Result<i64, Fault> {
    Ok(counters(rows)?.map_or(0, |counters| counters.compacted))
}

fn record<M: prost::Message + Default>(rows: &impl Rows, name: &[u8]) -> Result<Option<M>, Fault> {
    rows.get(Family::Meta, name)?
        .map(|stored| encoding::decode(Family::Meta, name, &stored))
        .transpose()
}

/// Visits a whole table until the visitor fails.
fn each(
    rows: &impl Rows,
    family: Family,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut outcome = Ok(());
    rows.scan(family, Direction::Forward, None, &mut |key, value| {
        outcome = visit(key, value);
        if outcome.is_ok() { Step::Next } else { Step::Stop }
    })?;
    outcome
}

fn leases(rows: &impl Rows, state: &mut State) -> Result<(), Fault> {
    each(rows, Family::Lease, |key, value| {
        let id = parse_lease_key(key)?;
        let record: state::Lease = encoding::decode(Family::Lease, key, value)?;
        let lease = Lease {
            id,
            ttl_s: record.ttl_s,
            remaining_ttl_s: record.remaining_ttl_s,
            keys: OrdSet::new(),
        };
        state.leases.insert(id, Arc::new(lease));
        Ok(())
    })
}

/// Reads `latest` in key order, then the values in the order they lie in `rev`: two sequential passes.
fn index(rows: &impl Rows, state: &mut State) -> Result<(), Fault> {
    let mut places: Vec<(Place, usize)> = Vec::new();
    each(rows, Family::Latest, |key, value| {
        let version = encoding::decode_version(Family::Latest, key, value)?;
        places.push((
            Place {
                revision: version.mod_revision,
                sub: version.sub,
            },
            places.len(),
        ));
        Ok(())
    })?;
    places.sort_unstable();
    let mut entries: Vec<Option<Arc<Entry>>> = Vec::new();
    entries.resize_with(places.len(), || None);
    values(rows, &places, &mut entries)?;
    for (position, entry) in entries.into_iter().enumerate() {
        let entry = entry.ok_or_else(|| missing(&places, position))?;
        attach(state, &entry)?;
        state.index.insert(entry);
    }
    Ok(())
}

fn missing(places: &[(Place, usize)], position: usize) -> Fault {
    let place = places.iter().find(|(_, at)| *at == position).map(|(place, _)| *place);
    let key = place.map(|place| rev_key(place, false)).unwrap_or_default();
    Fault::corrupt(Family::Rev, &key, "no row for the latest version of a key")
}

/// Fills `entries` from one walk over `rev`, seeking over long stretches that nobody needs.
fn values(rows: &impl Rows, places: &[(Place, usize)], entries: &mut [Option<Arc<Entry>>]) -> Result<(), Fault> {
    let mut wanted = places.iter();
    let Some(mut next) = wanted.next() else { return Ok(()) };
    let mut outcome = Ok(());
    let mut walked = 0;
    rows.scan(
        Family::Rev,
        Direction::Forward,
        Some(&rev_key(next.0, false)),
        &mut |key, value| {
            let place = match parse_rev_key(key) {
                Ok((place, _)) => place,
                Err(fault) => {
                    outcome = Err(fault);
                    return Step::Stop;
                }
            };
            if place < next.0 {
                walked += 1;
                let far = walked > WALK_BEFORE_SEEK_MAX;
                return if far {
                    Step::Seek(rev_key(next.0, false).to_vec())
                } else {
                    Step::Next
                };
            }
            if place > next.0 {
                // The row is missing; the caller reports it.
                return Step::Stop;
            }
            match Entry::decode(Bytes::copy_from_slice(value)) {
                Ok(entry) => entries[next.1] = Some(Arc::new(entry)),
                Err(error) => {
                    outcome = Err(Fault::corrupt(Family::Rev, key, error.to_string()));
                    return Step::Stop;
                }
            }
            walked = 0;
            match wanted.next() {
                Some(place) => {
                    next = place;
                    Step::Next
                }
                None => Step::Stop,
            }
        },
    )?;
    outcome
}

fn attach(state: &mut State, entry: &Entry) -> Result<(), Fault> {
    if entry.lease == 0 {
        return Ok(());
    }
    let lease = state
        .leases
        .get_mut(&entry.lease)
        .ok_or_else(|| Fault::corrupt(Family::Latest, &entry.key, format!("no lease {}", entry.lease)))?;
    Arc::make_mut(lease).keys.insert(entry.key.clone());
    Ok(())
}
