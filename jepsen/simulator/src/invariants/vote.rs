//! One vote a term, whatever happened to the voter in between.

use std::collections::BTreeMap;

use super::{Invariant, ensure};
use crate::history::History;
use crate::monitor::Observation;

/// A member gives its vote in a term to one candidate.
#[derive(Default)]
pub struct OneVoteATerm {
    votes: BTreeMap<(u64, u64), u64>,
}

impl Invariant for OneVoteATerm {
    fn name(&self) -> &'static str {
        "one_vote_a_term"
    }

    fn observe(&mut self, _: &History, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Voted { voter, candidate, term } = observation else {
            return Ok(());
        };
        let first = *self.votes.entry((*voter, *term)).or_insert(*candidate);
        ensure(first == *candidate, || {
            format!("member {voter} voted in term {term} for {first} and for {candidate}")
        })
    }
}
