//! Entries are applied one after the other, and revisions count one by one.

use std::collections::BTreeMap;

use super::{Invariant, ensure};
use crate::history::History;
use crate::monitor::Observation;

/// A member applies every entry once and in order, unless a snapshot or a restart took it elsewhere; each new entry's
/// revisions follow the last one; the compacted revision only grows and never passes the last.
#[derive(Default)]
pub struct EntriesAreAppliedInOrder {
    last: BTreeMap<u64, u64>,
}

impl Invariant for EntriesAreAppliedInOrder {
    fn name(&self) -> &'static str {
        "entries_are_applied_in_order"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Installed { member } | Observation::Started { member } | Observation::Ended { member } => {
                self.last.remove(member);
            }
            Observation::Applied { member, id, effects } => {
                if let Some(last) = self.last.insert(*member, id.index) {
                    ensure(id.index == last + 1, || {
                        format!("member {member} applies entry {} after {last}", id.index)
                    })?;
                }
                let next = history.last().map_or(0, |last| last.index + 1);
                ensure(id.index <= next, || {
                    format!("member {member} applies entry {}, but nobody applied {next}", id.index)
                })?;
                if id.index == next {
                    let counters = effects.counters.as_ref();
                    let revision = counters.map_or(history.revision, |counters| counters.revision);
                    let new: Vec<i64> = effects.blocks.keys().copied().collect();
                    let expected: Vec<i64> = (history.revision + 1..=revision).collect();
                    ensure(new == expected, || {
                        format!(
                            "entry {} makes revisions {new:?} after {} and counts {revision}",
                            id.index, history.revision
                        )
                    })?;
                    let compacted = counters.map_or(history.compacted, |counters| counters.compacted);
                    ensure((history.compacted..=revision).contains(&compacted), || {
                        format!(
                            "entry {} moves the compacted revision from {} to {compacted}",
                            id.index, history.compacted
                        )
                    })?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
