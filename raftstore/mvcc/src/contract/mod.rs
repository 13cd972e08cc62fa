//! The contract of [`Backend`], as a suite that every implementation runs from its own tests. Panics where it is broken.
//!
//! `fresh` makes empty tables. `crash` takes tables through the hardest stop they must survive: whatever was not flushed is
//! lost, what was flushed is not.

mod beside;
mod model;
mod snapshots;
mod tables;

use crate::Backend;

pub use model::agrees_with_the_model;

/// How the suite gets at an implementation.
pub struct Lab<'a, B: Backend> {
    /// Makes empty tables.
    pub fresh: &'a dyn Fn() -> B,
    /// Stops without a flush and opens again.
    pub crash: &'a dyn Fn(B) -> B,
}

/// Runs all of it, the model with a few seeds.
pub fn suite<B: Backend>(lab: &Lab<'_, B>) {
    tables::later_operations_of_a_batch_win(lab);
    tables::tables_are_apart(lab);
    tables::scans_go_both_ways_and_seek(lab);
    tables::a_crash_loses_only_what_was_not_flushed(lab);
    snapshots::a_checkpoint_travels_in_pieces(lab);
    snapshots::a_checkpoint_stays_as_it_was(lab);
    snapshots::a_broken_stream_changes_nothing(lab);
    snapshots::a_damaged_stream_is_refused_or_harmless(lab);
    snapshots::an_install_survives_a_crash(lab);
    snapshots::a_pin_survives_an_install(lab);
    beside::readers_see_whole_revisions_or_are_refused(lab);
    for seed in 1..=3 {
        agrees_with_the_model(lab, seed, 400);
    }
}
