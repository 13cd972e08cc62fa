//! State machine safety: the same entry does the same on every member, also when it is replayed.

use std::collections::BTreeMap;

use super::{Invariant, ensure};
use crate::history::History;
use crate::monitor::Observation;

/// What an entry does is what it did to the first member that applied it; once all faults are over, all members are at
/// the last revision.
#[derive(Default)]
pub struct ReplicasAgree {
    /// The revision that each member reached, by what it applied.
    reached: BTreeMap<u64, i64>,
}

impl Invariant for ReplicasAgree {
    fn name(&self) -> &'static str {
        "replicas_agree"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Applied { member, id, effects } => {
                if let Some(revision) = effects.blocks.keys().last() {
                    self.reached.insert(*member, *revision);
                }
                let Some(first) = history.entries.get(&id.index) else {
                    return Ok(());
                };
                ensure(first.id == *id, || {
                    format!(
                        "member {member} applies {}.{} where {}.{} was applied before",
                        id.term, id.index, first.id.term, id.index
                    )
                })?;
                ensure(first.hash == effects.hash, || {
                    let now: Vec<_> = effects.blocks.keys().collect();
                    format!(
                        "on member {member}, entry {}.{} does something else than before: now revisions {now:?}",
                        id.term, id.index
                    )
                })
            }
            Observation::Settled { revisions, .. } => {
                for (member, revision) in *revisions {
                    ensure(*revision == history.revision, || {
                        format!(
                            "member {member} stays at revision {revision}, the last one is {}",
                            history.revision
                        )
                    })?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
