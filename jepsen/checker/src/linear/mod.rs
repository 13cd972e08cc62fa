//! Linearizability: is there one order of the operations, keeping the order of those that did not overlap, in which every
//! answer is the one that a plain sequential object would have given?
//!
//! The search is Wing and Gong's with Lowe's memory of configurations already tried: walk along the history, take an
//! operation as the next one if the model allows its answer in the present state, and step back when an operation's
//! completion is reached before it could be taken. Operations of unknown outcome have no completion: they may be taken
//! anywhere after their invocation, or not at all.
//!
//! Histories of independent objects are cut apart first ([`check_by_key`]): linearizability is local.

mod bits;
mod chain;
pub mod queue;
pub mod register;
mod search;
pub mod txn;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

pub use search::{Counterexample, Judgement, search};

use crate::limits::Bounds;
use crate::{Anomaly, Operation, Verdict};

/// A sequential object. Deterministic: a state and a call have one next state, so an unknown answer leaves no choice
/// but whether the call took effect.
pub trait Model {
    type State: Clone + Eq + Hash + Debug;
    type Call: Clone + Debug;
    type Return: Clone + Debug;

    fn initial(&self) -> Self::State;

    /// The state after `call`, if it may answer `answer` in `state`; `answer` is `None` when nobody knows it.
    fn step(&self, state: &Self::State, call: &Self::Call, answer: Option<&Self::Return>) -> Option<Self::State>;

    /// Whether `call` never changes a state. Such a call of unknown outcome tells nothing and is left out.
    fn is_read(&self, call: &Self::Call) -> bool;
}

/// An operation on an object of model `M`.
pub type OperationOf<M> = Operation<<M as Model>::Call, <M as Model>::Return>;

/// Judges one object.
pub fn check<M: Model>(name: &str, model: &M, operations: &[OperationOf<M>], bounds: Bounds) -> Verdict {
    let mut verdict = Verdict::valid(name);
    match search(model, operations, bounds) {
        Judgement::Linearizable => {}
        Judgement::Unknown { why } => verdict.unknown(why),
        Judgement::NotLinearizable(counterexample) => {
            verdict.broken(Anomaly::new(
                "not-linearizable",
                counterexample.to_string(),
                counterexample.events(),
            ));
        }
    }
    verdict
}

/// Judges many objects of one kind: `key` names the object that an operation is on, and gives its call and outcome there.
pub fn check_by_key<K: Ord + Debug, M: Model>(
    name: &str,
    model: &M,
    operations: impl IntoIterator<Item = (K, OperationOf<M>)>,
    bounds: Bounds,
) -> Verdict {
    let mut parts: BTreeMap<K, Vec<OperationOf<M>>> = BTreeMap::new();
    for (key, operation) in operations {
        parts.entry(key).or_default().push(operation);
    }
    let mut verdict = Verdict::valid(name);
    verdict.note(format!("{} keys", parts.len()));
    for (key, part) in parts {
        let mut one = check(name, model, &part, bounds);
        for anomaly in &mut one.anomalies {
            anomaly.message = format!("key {key:?}: {}", anomaly.message);
        }
        one.notes
            .iter_mut()
            .for_each(|note| *note = format!("key {key:?}: {note}"));
        verdict.absorb(one);
    }
    verdict
}
