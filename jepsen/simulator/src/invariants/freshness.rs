//! Linearizability, in time: whoever asks after somebody was told of a revision is told of that one or a later one.
//!
//! Revisions order all writes, so together with [`super::answers`] this is the whole of linearizability: every answer
//! belongs to a revision between what was known when its call began and what had been applied when it ended.

use super::{Invariant, ensure};
use crate::call::{Call, Outcome};
use crate::history::History;
use crate::monitor::Observation;

/// No answer is older than what anybody knew when it was asked for, and none is from the future.
#[derive(Default)]
pub struct NothingIsStale;

impl Invariant for NothingIsStale {
    fn name(&self) -> &'static str {
        "nothing_is_stale"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::Done {
            begun,
            outcome: Outcome::Answered(answer),
        } = observation
        else {
            return Ok(());
        };
        let Some(revision) = answer.revision() else {
            return Ok(());
        };
        ensure(revision <= history.revision, || {
            format!(
                "{:?} was answered at revision {revision}, but the last one is {}",
                begun.call, history.revision
            )
        })?;
        if matches!(begun.call, Call::Get { serializable: true, .. }) {
            return Ok(());
        }
        ensure(revision >= begun.told, || {
            format!(
                "{:?} at member {} was answered at revision {revision}, but {} had been told before it began",
                begun.call, begun.member, begun.told
            )
        })
    }
}
