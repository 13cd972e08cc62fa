//! What must be true, all the time: one file for each promise.
//!
//! An invariant is shown everything that happens, with the history as it was just before, and objects in words.

mod answers;
mod commitment;
mod effects;
mod election;
mod freshness;
mod lease;
mod log;
mod members;
mod order;
mod placement;
mod replicas;
mod room;
mod vote;
mod watch;

#[cfg(test)]
mod tests;

use crate::history::History;
use crate::monitor::Observation;

/// A promise.
pub trait Invariant: Send {
    /// Its name in reports.
    fn name(&self) -> &'static str;
    /// Objects if what happened breaks it.
    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String>;
}

/// Every invariant, in its initial state.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<election::OneLeaderATerm>::default(),
        Box::<vote::OneVoteATerm>::default(),
        Box::<log::LogsMatch>::default(),
        Box::<commitment::LeadersAreComplete>::default(),
        Box::<order::EntriesAreAppliedInOrder>::default(),
        Box::<replicas::ReplicasAgree>::default(),
        Box::<effects::EffectsHappenOnce>::default(),
        Box::<answers::AnswersAreTrue>::default(),
        Box::<freshness::NothingIsStale>::default(),
        Box::<lease::LeasesLiveTheirTime>::default(),
        Box::<watch::WatchersSeeEverythingOnce>::default(),
        Box::<members::MembershipsAreAsAsked>::default(),
        Box::<placement::NodesAreNotOvercommitted>::default(),
        Box::<room::NothingIsWrittenWithoutRoom>::default(),
    ]
}

/// Objects unless something holds.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
