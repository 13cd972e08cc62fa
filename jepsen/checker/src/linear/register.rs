//! A register with compare-and-set, and with the version that the store counts for each key.

use serde::{Deserialize, Serialize};

use super::Model;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    Read,
    Write(i64),
    /// Writes the second value if the register holds the first. A mismatch that was answered is `ok` with
    /// [`Return::swapped`] false: it is an observation too.
    Cas(i64, i64),
    Delete,
}

/// What a call answered. Fields that the system under test does not tell are `None` and constrain nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Return {
    /// Of a read: what the register held; the inner `None` is an absent key.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "told")]
    pub value: Option<Option<i64>>,
    /// Of a compare-and-set: whether it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped: Option<bool>,
    /// The key's version after the call (0 = absent), where the store tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// Keeps "told that the key is absent" apart from "not told" in JSON: the former is `[]`.
mod told {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Option<i64>>, to: S) -> Result<S::Ok, S::Error> {
        let values: Vec<i64> = value.iter().flatten().copied().collect();
        values.serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Option<i64>>, D::Error> {
        Ok(Some(Vec::<i64>::deserialize(from)?.first().copied()))
    }
}

impl Return {
    /// A read's answer.
    pub fn value(value: Option<i64>) -> Return {
        Return {
            value: Some(value),
            ..Return::default()
        }
    }

    /// A compare-and-set's answer.
    pub fn swapped(swapped: bool) -> Return {
        Return {
            swapped: Some(swapped),
            ..Return::default()
        }
    }

    pub fn at_version(self, version: u64) -> Return {
        Return {
            version: Some(version),
            ..self
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub value: Option<i64>,
    /// Writes since the key was created; 0 while it is absent.
    pub version: u64,
}

/// A register that starts out absent, or with a value of version 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register {
    pub initial: Option<i64>,
}

impl State {
    fn written(self, value: i64) -> State {
        State {
            value: Some(value),
            version: self.version + 1,
        }
    }

    /// Whether an answer that tells a version can have been given in this state.
    fn agrees(self, answer: Option<&Return>) -> bool {
        answer
            .and_then(|answer| answer.version)
            .is_none_or(|version| version == self.version)
    }
}

impl Model for Register {
    type State = State;
    type Call = Call;
    type Return = Return;

    fn initial(&self) -> State {
        State {
            value: self.initial,
            version: u64::from(self.initial.is_some()),
        }
    }

    fn step(&self, state: &State, call: &Call, answer: Option<&Return>) -> Option<State> {
        let (next, swapped) = match call {
            Call::Read => (*state, None),
            Call::Write(value) => (state.written(*value), None),
            Call::Cas(from, to) if state.value == Some(*from) => (state.written(*to), Some(true)),
            Call::Cas(..) => (*state, Some(false)),
            Call::Delete => (State::default(), None),
        };
        let Some(told) = answer else { return Some(next) };
        let value_fits = told
            .value
            .is_none_or(|value| *call != Call::Read || value == state.value);
        let swap_fits = told
            .swapped
            .is_none_or(|told| swapped.is_none_or(|swapped| swapped == told));
        (value_fits && swap_fits && next.agrees(answer)).then_some(next)
    }

    fn is_read(&self, call: &Call) -> bool {
        *call == Call::Read
    }
}
