//! Effects happen once: a request is applied at most once, and one that failed for certain never.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Invariant, ensure};
use crate::call::{Outcome, in_range};
use crate::history::History;
use crate::monitor::Observation;

/// Every value that a client writes is its own; it shows up in one revision at most, never before it was sent, and never if
/// the client was told that its request had no effect.
#[derive(Default)]
pub struct EffectsHappenOnce {
    sent: BTreeSet<Bytes>,
    failed: BTreeSet<Bytes>,
}

impl Invariant for EffectsHappenOnce {
    fn name(&self) -> &'static str {
        "effects_happen_once"
    }

    fn observe(&mut self, history: &History, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::Begun { begun } => {
                self.sent.extend(begun.call.value().cloned());
                Ok(())
            }
            Observation::Done { begun, outcome } => {
                let (Outcome::Failed(_) | Outcome::Refused(_), Some(value)) = (outcome, begun.call.value()) else {
                    return Ok(());
                };
                self.failed.insert(value.clone());
                ensure(!history.values.contains_key(value), || {
                    format!(
                        "{:?} was said to have had no effect ({outcome:?}), but it had",
                        begun.call
                    )
                })
            }
            Observation::Applied { id, effects, .. } if !history.entries.contains_key(&id.index) => {
                let mut here: BTreeSet<(&Bytes, i64)> = BTreeSet::new();
                for (revision, changes) in &effects.blocks {
                    for value in changes
                        .iter()
                        .filter(|change| !change.deleted && in_range(&change.now.key))
                        .map(|change| &change.now.value)
                    {
                        ensure(self.sent.contains(value), || {
                            format!("nobody sent {value:?} of revision {revision}")
                        })?;
                        ensure(!self.failed.contains(value), || {
                            format!("revision {revision} writes {value:?}, which was said to have had no effect")
                        })?;
                        let twice = history.values.get(value).copied().or_else(|| {
                            here.iter()
                                .find(|(seen, at)| *seen == value && at != revision)
                                .map(|(_, at)| *at)
                        });
                        ensure(twice.is_none(), || {
                            format!("revisions {twice:?} and {revision} both write {value:?}")
                        })?;
                        here.insert((value, *revision));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
