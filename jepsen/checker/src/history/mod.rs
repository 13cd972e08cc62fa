//! What was asked and answered, in the order in which it was seen.
//!
//! The order of the events is the only notion of time that safety checkers use: an operation that completed at an earlier
//! event than another was invoked at came before it. Nanoseconds are for lease expiry, for plots, and for people.

mod lines;
mod operation;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub use operation::{Operation, Outcome};

use crate::Error;

/// One thing that a process did or was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event<C, R> {
    /// Position in the history; strictly increasing.
    pub index: u64,
    /// On the recorder's monotonic clock, since the start of the test.
    pub time_ns: u64,
    pub process: u64,
    #[serde(flatten)]
    pub what: What<C, R>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum What<C, R> {
    Invoke {
        call: C,
    },
    /// Took effect.
    Ok {
        result: R,
    },
    /// Did not take effect, and never will.
    Fail {
        error: String,
    },
    /// Nobody knows.
    Info {
        error: String,
    },
}

/// A whole test's events. Recorders append; checkers read [`History::operations`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<C, R> {
    pub events: Vec<Event<C, R>>,
}

impl<C, R> Default for History<C, R> {
    fn default() -> Self {
        History { events: Vec::new() }
    }
}

impl<C, R> History<C, R> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an event and returns its index.
    pub fn push(&mut self, process: u64, time_ns: u64, what: What<C, R>) -> u64 {
        let index = self.events.last().map_or(0, |last| last.index + 1);
        self.events.push(Event {
            index,
            time_ns,
            process,
            what,
        });
        index
    }

    pub fn invoke(&mut self, process: u64, time_ns: u64, call: C) -> u64 {
        self.push(process, time_ns, What::Invoke { call })
    }

    pub fn ok(&mut self, process: u64, time_ns: u64, result: R) -> u64 {
        self.push(process, time_ns, What::Ok { result })
    }

    pub fn fail(&mut self, process: u64, time_ns: u64, error: impl Into<String>) -> u64 {
        self.push(process, time_ns, What::Fail { error: error.into() })
    }

    pub fn info(&mut self, process: u64, time_ns: u64, error: impl Into<String>) -> u64 {
        self.push(process, time_ns, What::Info { error: error.into() })
    }
}

impl<C: Clone, R: Clone> History<C, R> {
    /// Pairs invocations with completions, in the order of invocation. An operation that never completed is of unknown
    /// outcome. After an unknown outcome a process may go on: its earlier operation then overlaps all that follows.
    ///
    /// # Errors
    /// An index that does not grow, a completion without an invocation, or two operations of one process under way at once.
    pub fn operations(&self) -> Result<Vec<Operation<C, R>>, Error> {
        let mut operations: Vec<Operation<C, R>> = Vec::new();
        let mut open: HashMap<u64, usize> = HashMap::new();
        let mut before = None;
        for event in &self.events {
            if let Some(before) = before.filter(|before| *before >= event.index) {
                let index = event.index;
                return Err(Error::IndexBackwards { index, before });
            }
            before = Some(event.index);
            let (index, process) = (event.index, event.process);
            if let What::Invoke { call } = &event.what {
                if open.insert(process, operations.len()).is_some() {
                    return Err(Error::OverlappingInvocations { index, process });
                }
                operations.push(Operation::invoked(event, call.clone()));
                continue;
            }
            let at = open
                .remove(&process)
                .ok_or(Error::CompletionWithoutInvocation { index, process })?;
            operations[at].complete(event);
        }
        Ok(operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_pair_by_process_and_unknown_ends_stay_open() {
        let mut history: History<&str, i32> = History::new();
        history.invoke(1, 10, "a");
        history.invoke(2, 11, "b");
        history.ok(2, 12, 7);
        history.info(1, 13, "timeout");
        history.invoke(1, 14, "c");
        let operations = history.operations().unwrap();
        assert_eq!(operations.len(), 3);
        assert_eq!(operations[1].outcome, Outcome::Ok(7));
        assert!(
            operations[0].completed.is_none(),
            "an unknown end never closes an operation"
        );
        assert!(matches!(&operations[2].outcome, Outcome::Info(_)));
    }

    #[test]
    fn impossible_histories_are_refused() {
        let mut history: History<&str, i32> = History::new();
        history.ok(1, 0, 1);
        assert!(history.operations().is_err());
        let mut history: History<&str, i32> = History::new();
        history.invoke(1, 0, "a");
        history.invoke(1, 1, "b");
        assert!(history.operations().is_err());
    }

    #[test]
    fn indexes_of_events_grow() {
        let run = |second: u64| {
            let mut history: History<&str, i32> = History::new();
            history.invoke(1, 0, "a");
            history.ok(1, 0, 1);
            history.events[0].index = 4;
            history.events[1].index = second;
            history.operations()
        };
        assert!(run(5).is_ok() && run(9).is_ok());
        for second in [3, 4] {
            assert!(matches!(run(second), Err(Error::IndexBackwards { before: 4, .. })));
        }
    }
}
