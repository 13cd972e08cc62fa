//! Several registers under transactions that read and write some of them at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Model;

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Read(u64),
    Write(u64, i64),
}

/// A transaction: if every guard holds, its steps run in order, all at once; otherwise nothing does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Call {
    /// Register and the value it must hold (`None`: be absent).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<(u64, Option<i64>)>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Return {
    /// Whether the guards held.
    pub committed: bool,
    /// What each read of a committed transaction saw, in order.
    #[serde(default)]
    pub reads: Vec<Option<i64>>,
}

/// Registers that start out absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers;

impl Model for Registers {
    type State = BTreeMap<u64, i64>;
    type Call = Call;
    type Return = Return;

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn step(&self, state: &Self::State, call: &Call, answer: Option<&Return>) -> Option<Self::State> {
        let holds = call.guards.iter().all(|(key, value)| state.get(key) == value.as_ref());
        if answer.is_some_and(|answer| answer.committed != holds) {
            return None;
        }
        if !holds {
            return Some(state.clone());
        }
        let (mut next, mut reads) = (state.clone(), Vec::new());
        for step in &call.steps {
            match step {
                Step::Read(key) => reads.push(next.get(key).copied()),
                Step::Write(key, value) => {
                    next.insert(*key, *value);
                }
            }
        }
        answer.is_none_or(|answer| answer.reads == reads).then_some(next)
    }

    fn is_read(&self, call: &Call) -> bool {
        call.steps.iter().all(|step| matches!(step, Step::Read(_)))
    }
}
