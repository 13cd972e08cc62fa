//! The membership is what was asked for.

use std::collections::{BTreeMap, BTreeSet};

use raftstore::MembershipRefusal;

use super::{Invariant, ensure};
use crate::call::{Answer, Begun, Call, Outcome};
use crate::history::History;
use crate::monitor::Observation;

/// An id is given once. A member that was acknowledged to be added is one until somebody asks for its removal; one that was acknowledged to be removed never is again. Once all faults are over, all members know the
/// same ones.
#[derive(Default)]
pub struct MembershipsAreAsAsked {
    added: BTreeSet<u64>,
    leaving: BTreeSet<u64>,
    removed: BTreeSet<u64>,
}

impl Invariant for MembershipsAreAsAsked {
    fn name(&self) -> &'static str {
        "memberships_are_as_asked"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Begun { begun } => {
                if let Call::Remove { id } = begun.call {
                    self.leaving.insert(id);
                }
                Ok(())
            }
            Observation::Done { begun, outcome } => self.done(history, begun, outcome),
            Observation::Settled { members, .. } => self.settled(members),
            _ => Ok(()),
        }
    }
}

impl MembershipsAreAsAsked {
    fn done(&mut self, history: &History, begun: &Begun, outcome: &Outcome) -> Result<(), String> {
        match (&begun.call, outcome) {
            (Call::Add { .. }, Outcome::Answered(Answer::Added(id))) => {
                let known = history.clocks.contains_key(id);
                ensure(!known && self.added.insert(*id), || {
                    format!("a new member got the id {id}, which another had")
                })
            }
            (Call::Remove { id }, Outcome::Answered(_)) => {
                self.removed.insert(*id);
                Ok(())
            }
            (Call::Promote { id }, Outcome::Unchanged(MembershipRefusal::NotFound)) => {
                let present = self.added.contains(id) && !self.leaving.contains(id);
                ensure(!present, || {
                    format!("member {id} was added, and is said not to be a member")
                })
            }
            _ => Ok(()),
        }
    }

    fn settled(&self, members: &BTreeMap<u64, BTreeMap<u64, bool>>) -> Result<(), String> {
        let mut seen = members.iter();
        let Some((first, known)) = seen.next() else {
            return Ok(());
        };
        for (member, other) in seen {
            ensure(known == other, || {
                format!("member {first} knows the members {known:?}, member {member} {other:?}")
            })?;
        }
        for id in self.added.difference(&self.leaving) {
            ensure(known.contains_key(id), || {
                format!("member {id} was added, and in the end is not among {known:?}")
            })?;
        }
        let back: Vec<_> = self.removed.iter().filter(|id| known.contains_key(id)).collect();
        ensure(back.is_empty(), || {
            format!("{back:?} were removed, and in the end are among {known:?}")
        })
    }
}
