//! A counter that is added to: every read lies between what had surely been added when it began and what may have been
//! added when it ended.

use serde::{Deserialize, Serialize};

use crate::{Anomaly, Operation, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    Add(i64),
    Read,
}

/// What a read saw; of an addition, `None`.
pub type Return = Option<i64>;

pub fn check(operations: &[Operation<Call, Return>]) -> Verdict {
    let mut verdict = Verdict::valid("counter");
    let mut reads = 0;
    for read in operations.iter().filter(|op| op.call == Call::Read) {
        let (Some(Some(value)), Some(completed)) = (read.outcome.result(), read.completed) else {
            continue;
        };
        reads += 1;
        let (low, high) = bounds(operations, read.invoked, completed);
        if *value < low || *value > high {
            let message = format!("{value} was read where only {low} to {high} is possible");
            verdict.broken(Anomaly::new("counter-out-of-bounds", message, [read.invoked]));
        }
    }
    verdict.note(format!("{reads} reads"));
    if reads == 0 {
        verdict.unknown("nothing was ever read");
    }
    verdict
}

/// The smallest and the largest sum that a read from event `invoked` to event `completed` may see.
fn bounds(operations: &[Operation<Call, Return>], invoked: u64, completed: u64) -> (i64, i64) {
    let (mut low, mut high) = (0, 0);
    for op in operations {
        let Call::Add(amount) = op.call else { continue };
        if op.outcome.is_fail() || op.invoked > completed {
            continue;
        }
        let surely = op.outcome.is_ok() && op.completed.is_some_and(|at| at < invoked);
        low += if surely { amount } else { amount.min(0) };
        high += if surely { amount } else { amount.max(0) };
    }
    (low, high)
}
