//! Leader completeness: what was committed is in the log of every later leader, unchanged.

use super::{Invariant, ensure};
use crate::history::History;
use crate::monitor::Observation;

/// A leader never sends anything else in the place of an entry that was applied somewhere in its term or before.
#[derive(Default)]
pub struct LeadersAreComplete;

impl Invariant for LeadersAreComplete {
    fn name(&self) -> &'static str {
        "leaders_are_complete"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::AppendSent { from, request } = observation else {
            return Ok(());
        };
        let leader_term = request.vote.as_ref().map_or(0, |vote| vote.term);
        let sent = request.entries.iter().map(|entry| (entry.index, entry.term));
        let before = request.previous.iter().map(|id| (id.index, id.term));
        let committed = request.committed.iter().map(|id| (id.index, id.term));
        for (index, term) in sent.chain(before).chain(committed) {
            let Some(applied) = history.entries.get(&index) else {
                continue;
            };
            let concerned = applied.id.term <= leader_term;
            ensure(!concerned || applied.id.term == term, || {
                format!(
                    "member {from}, leader of term {leader_term}, has {term}.{index} where {}.{index} was applied",
                    applied.id.term
                )
            })?;
        }
        Ok(())
    }
}
