//! Log matching: an index and a term name one entry.

use std::collections::BTreeMap;

use super::{Invariant, ensure};
use crate::history::History;
use crate::monitor::Observation;
use crate::trace::hash;

/// Two entries with the same index and term hold the same, whoever sends them.
#[derive(Default)]
pub struct LogsMatch {
    entries: BTreeMap<(u64, u64), u64>,
}

impl Invariant for LogsMatch {
    fn name(&self) -> &'static str {
        "logs_match"
    }

    fn observe(&mut self, _: &History, observation: &Observation<'_>) -> Result<(), String> {
        let Observation::AppendSent { from, request } = observation else {
            return Ok(());
        };
        for entry in &request.entries {
            let content = hash(&entry.data) ^ u64::from(entry.kind);
            let known = *self.entries.entry((entry.index, entry.term)).or_insert(content);
            ensure(known == content, || {
                format!(
                    "member {from} sends another entry {}.{} than was sent before",
                    entry.term, entry.index
                )
            })?;
        }
        Ok(())
    }
}
