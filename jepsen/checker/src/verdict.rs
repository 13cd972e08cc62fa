//! What a checker says in the end.

use serde::{Deserialize, Serialize};

use crate::Operation;
use crate::limits::ANOMALIES_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// The promise was kept, and all of the history was looked at.
    Valid,
    /// A bound stopped the search, or the history was too thin to say.
    Unknown,
    /// The promise was broken.
    Invalid,
}

/// One broken promise, told so that a person can find it in the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// The name the theory gives it: `G1c`, `lost-write`, `watch-gap`, ...
    pub kind: String,
    pub message: String,
    /// Event indexes in the history, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<u64>,
}

impl Anomaly {
    pub fn new(kind: &str, message: impl Into<String>, events: impl IntoIterator<Item = u64>) -> Anomaly {
        Anomaly {
            kind: kind.into(),
            message: message.into(),
            events: events.into_iter().collect(),
        }
    }
}

/// The judgement of one checker on one history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub checker: String,
    pub validity: Validity,
    /// At most [`ANOMALIES_MAX`]; empty exactly when the verdict is not `Invalid`.
    pub anomalies: Vec<Anomaly>,
    /// Anomalies found, those not listed included.
    pub anomaly_count: u64,
    /// Why a verdict is unknown, and numbers worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Verdict {
    /// Nothing wrong so far.
    pub fn valid(checker: &str) -> Verdict {
        Verdict {
            checker: checker.into(),
            validity: Validity::Valid,
            anomalies: Vec::new(),
            anomaly_count: 0,
            notes: Vec::new(),
        }
    }

    pub fn of(checker: &str, anomalies: impl IntoIterator<Item = Anomaly>) -> Verdict {
        let mut verdict = Verdict::valid(checker);
        anomalies.into_iter().for_each(|anomaly| verdict.broken(anomaly));
        verdict
    }

    pub fn is_valid(&self) -> bool {
        self.validity == Validity::Valid
    }

    pub fn is_invalid(&self) -> bool {
        self.validity == Validity::Invalid
    }

    /// Adds an anomaly.
    pub fn broken(&mut self, anomaly: Anomaly) {
        self.validity = Validity::Invalid;
        self.anomaly_count += 1;
        if self.anomalies.len() < ANOMALIES_MAX {
            self.anomalies.push(anomaly);
        }
    }

    /// Some of the history could not be judged. A broken promise stays broken.
    pub fn unknown(&mut self, why: impl Into<String>) {
        self.validity = self.validity.max(Validity::Unknown);
        self.notes.push(why.into());
    }

    /// A history in which nothing was answered shows nothing.
    pub(crate) fn needs_answers<C, R>(&mut self, operations: &[Operation<C, R>]) {
        if !operations.iter().any(|op| op.outcome.is_ok()) {
            self.unknown("no operation was acknowledged");
        }
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Whether an anomaly of that kind is listed.
    pub fn has(&self, kind: &str) -> bool {
        self.anomalies.iter().any(|anomaly| anomaly.kind == kind)
    }

    /// Takes in what another checker found of the same promise, on another part of the history.
    pub fn absorb(&mut self, other: Verdict) {
        self.validity = self.validity.max(other.validity);
        self.anomaly_count += other.anomaly_count;
        let room = ANOMALIES_MAX.saturating_sub(self.anomalies.len());
        self.anomalies.extend(other.anomalies.into_iter().take(room));
        self.notes.extend(other.notes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_outweighs_a_doubt_and_a_doubt_outweighs_nothing_wrong() {
        let mut verdict = Verdict::valid("x");
        verdict.unknown("too many states");
        assert_eq!(verdict.validity, Validity::Unknown);
        verdict.broken(Anomaly::new("lost-write", "gone", [1]));
        verdict.unknown("again");
        assert_eq!(verdict.validity, Validity::Invalid);
        let mut whole = Verdict::valid("x");
        whole.absorb(verdict);
        assert!(whole.is_invalid() && whole.has("lost-write"));
    }
}
