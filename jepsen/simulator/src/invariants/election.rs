//! One leader a term.

use std::collections::BTreeMap;

use super::{Invariant, ensure};
use crate::history::History;
use crate::monitor::Observation;

/// Whoever sends entries in a term, or says that it leads in it, is the only one to do so.
#[derive(Default)]
pub struct OneLeaderATerm {
    leaders: BTreeMap<u64, u64>,
}

impl Invariant for OneLeaderATerm {
    fn name(&self) -> &'static str {
        "one_leader_a_term"
    }

    fn observe(&mut self, _: &History, observation: &Observation<'_>) -> Result<(), String> {
        let (term, leader) = match observation {
            Observation::AppendSent { from, request } => match &request.vote {
                Some(vote) => {
                    ensure(vote.member == *from, || {
                        format!("member {from} sends entries in the name of {}", vote.member)
                    })?;
                    (vote.term, *from)
                }
                None => return Err(format!("member {from} sends entries in nobody's name")),
            },
            Observation::Leads { member, known } if known.leading => (known.term, *member),
            _ => return Ok(()),
        };
        let first = *self.leaders.entry(term).or_insert(leader);
        ensure(first == leader, || {
            format!("members {first} and {leader} both lead in term {term}")
        })
    }
}
