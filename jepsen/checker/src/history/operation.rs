//! An invocation and what became of it.

use serde::{Deserialize, Serialize};

use super::{Event, What};

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome<R> {
    Ok(R),
    /// It never takes effect.
    Fail(String),
    /// It may have taken effect, may still do so, or never will.
    Info(String),
}

impl<R> Outcome<R> {
    pub fn result(&self) -> Option<&R> {
        match self {
            Outcome::Ok(result) => Some(result),
            _ => None,
        }
    }

    pub fn is_ok(&self) -> bool {
        matches!(self, Outcome::Ok(_))
    }

    pub fn is_fail(&self) -> bool {
        matches!(self, Outcome::Fail(_))
    }

    pub fn is_info(&self) -> bool {
        matches!(self, Outcome::Info(_))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<C, R> {
    pub process: u64,
    pub call: C,
    pub outcome: Outcome<R>,
    /// Event index of the invocation.
    pub invoked: u64,
    /// Event index of the completion; `None` while the outcome is unknown. `invoked < completed`.
    pub completed: Option<u64>,
    pub invoked_ns: u64,
    /// When the recorder gave it up or saw it end; with an unknown outcome this bounds nothing.
    pub ended_ns: Option<u64>,
}

impl<C, R: Clone> Operation<C, R> {
    pub(super) fn invoked(event: &Event<C, R>, call: C) -> Operation<C, R> {
        Operation {
            process: event.process,
            call,
            outcome: Outcome::Info("the test ended before an answer came".into()),
            invoked: event.index,
            completed: None,
            invoked_ns: event.time_ns,
            ended_ns: None,
        }
    }

    pub(super) fn complete(&mut self, event: &Event<C, R>) {
        self.ended_ns = Some(event.time_ns);
        match &event.what {
            What::Ok { result } => {
                self.outcome = Outcome::Ok(result.clone());
                self.completed = Some(event.index);
            }
            What::Fail { error } => {
                self.outcome = Outcome::Fail(error.clone());
                self.completed = Some(event.index);
            }
            What::Info { error } => self.outcome = Outcome::Info(error.clone()),
            What::Invoke { .. } => unreachable!("an invocation completes nothing"),
        }
    }
}

impl<C, R> Operation<C, R> {
    /// Whether this operation was over before `other` began.
    pub fn precedes<D, S>(&self, other: &Operation<D, S>) -> bool {
        self.completed.is_some_and(|completed| completed < other.invoked)
    }

    /// The same operation with another call and result, for checkers that look at one part of it.
    pub fn with<D, S>(&self, call: D, outcome: Outcome<S>) -> Operation<D, S> {
        Operation {
            process: self.process,
            call,
            outcome,
            invoked: self.invoked,
            completed: self.completed,
            invoked_ns: self.invoked_ns,
            ended_ns: self.ended_ns,
        }
    }
}
