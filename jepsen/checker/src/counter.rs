//! A counter that is added to: every read is what had surely been added when it began, with some of what may have been added when it
//! ended; and so is the difference between it and the last read that was over by then.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Anomaly, Operation, Verdict};

/// Different sums looked at; where there are more, all between the smallest and the largest are taken for possible.
const SUMS_MAX: usize = 1 << 14;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    Add(i64),
    Read,
}

/// What a read saw; of an addition, `None`.
pub type Return = Option<i64>;

type Op = Operation<Call, Return>;

pub fn check(operations: &[Op]) -> Verdict {
    let mut verdict = Verdict::valid("counter");
    let reads: Vec<(&Op, i64)> = operations
        .iter()
        .filter(|op| op.call == Call::Read)
        .filter_map(|op| Some((op, op.outcome.result().copied()??)))
        .collect();
    for (read, value) in &reads {
        let before = reads.iter().filter(|(before, _)| before.precedes(read));
        let before = before.max_by_key(|(before, _)| before.completed);
        let starts = [None].into_iter().chain(before.map(Some));
        for start in starts {
            let added = Added::between(operations, start.map(|(before, _)| *before), read);
            let from = start.map_or(0, |(_, value)| *value);
            if !added.can_be(value - from) {
                let (low, high) = added.range();
                let message = format!(
                    "{value} was read after {from}, where only sums of what was added are possible, {} to {}",
                    from + low,
                    from + high
                );
                let events = start
                    .map(|(before, _)| before.invoked)
                    .into_iter()
                    .chain([read.invoked]);
                verdict.broken(Anomaly::new("counter-out-of-bounds", message, events));
                break;
            }
        }
    }
    verdict.note(format!("{} reads", reads.len()));
    if reads.is_empty() {
        verdict.unknown("nothing was ever read");
    }
    verdict
}

/// What was added between two reads, or from the start to one.
struct Added {
    surely: i64,
    /// Each of these, or not.
    maybe: Vec<i64>,
}

impl Added {
    fn between(operations: &[Op], earlier: Option<&Op>, later: &Op) -> Added {
        let (mut surely, mut maybe) = (0, Vec::new());
        for op in operations {
            let Call::Add(amount) = op.call else { continue };
            let seen_before = earlier.is_some_and(|earlier| op.precedes(earlier));
            if op.outcome.is_fail() || later.precedes(op) || seen_before {
                continue;
            }
            if op.precedes(later) && earlier.is_none_or(|earlier| earlier.precedes(op)) {
                surely += amount;
            } else {
                maybe.push(amount);
            }
        }
        Added { surely, maybe }
    }

    fn range(&self) -> (i64, i64) {
        let low: i64 = self.maybe.iter().map(|amount| amount.min(&0)).sum();
        let high: i64 = self.maybe.iter().map(|amount| amount.max(&0)).sum();
        (self.surely + low, self.surely + high)
    }

    fn can_be(&self, value: i64) -> bool {
        let (low, high) = self.range();
        let mut sums = BTreeSet::from([self.surely]);
        for amount in &self.maybe {
            let more: Vec<i64> = sums.iter().map(|sum| sum + amount).collect();
            sums.extend(more);
            if sums.len() > SUMS_MAX {
                return (low..=high).contains(&value);
            }
        }
        sums.contains(&value)
    }
}
