//! Out of room, nothing is written that needs more.

use super::{Invariant, ensure};
use crate::history::History;
use crate::monitor::Observation;

/// While an alarm about room stands in the replicated state, no entry puts a key or grants a lease.
#[derive(Default)]
pub struct NothingIsWrittenWithoutRoom;

impl Invariant for NothingIsWrittenWithoutRoom {
    fn name(&self) -> &'static str {
        "nothing_is_written_without_room"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Applied { id, effects, .. } = observation else {
            return Ok(());
        };
        let first = !history.entries.contains_key(&id.index);
        // What an entry does before it clears the alarm and what after is not told apart.
        if !first || !history.no_room || effects.alarmed.is_some() {
            return Ok(());
        }
        let mut changes = effects.blocks.values().flatten();
        let put = changes.find(|change| !change.deleted);
        ensure(put.is_none(), || {
            format!("entry {}.{} writes {put:?} without room", id.term, id.index)
        })?;
        let granted = |(lease, ttl_s): &&(i64, Option<i64>)| ttl_s.is_some() && !history.lease_lives(*lease);
        let lease = effects.leases.iter().find(granted);
        ensure(lease.is_none(), || {
            format!("entry {}.{} grants {lease:?} without room", id.term, id.index)
        })
    }
}
