//! A first-in, first-out queue.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Model;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    Enqueue(i64),
    Dequeue,
}

/// Of a dequeue: what it took, or `None` from an empty queue. Of an enqueue: `None`.
pub type Return = Option<i64>;

/// A queue that starts out empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue;

impl Model for Queue {
    type State = VecDeque<i64>;
    type Call = Call;
    type Return = Return;

    fn initial(&self) -> Self::State {
        VecDeque::new()
    }

    fn step(&self, state: &Self::State, call: &Call, answer: Option<&Return>) -> Option<Self::State> {
        let mut next = state.clone();
        match call {
            Call::Enqueue(value) => {
                next.push_back(*value);
                Some(next)
            }
            Call::Dequeue => {
                let taken = next.pop_front();
                answer.is_none_or(|answer| *answer == taken).then_some(next)
            }
        }
    }

    fn is_read(&self, _: &Call) -> bool {
        false
    }
}
