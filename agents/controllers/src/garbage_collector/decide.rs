//! What becomes of an object, from the state of its owners. Pure.

use client::{Meta, Propagation};

use super::{FOREGROUND, ORPHAN};

/// What is known of one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerState {
    Present,
    Gone,
    /// Being deleted, after its dependents.
    WaitsForDependents,
    /// Of a kind that cannot be looked up.
    Unknown,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Keep,
    /// Later: an owner could not be looked up.
    LookAgain,
    /// It has an owner left; these (by uid) are none any more.
    Disown(Vec<String>),
    Delete(Propagation),
}

/// `states` are those of the object's owners, in their order.
pub(super) fn decide(object: &Meta, states: &[OwnerState], has_dependents: bool) -> Decision {
    let any = |state| states.contains(&state);
    let lost: Vec<String> = object
        .owner_references
        .iter()
        .zip(states)
        .filter(|(_, s)| matches!(s, OwnerState::Gone | OwnerState::WaitsForDependents))
        .map(|(o, _)| o.uid.clone())
        .collect();
    if any(OwnerState::Unknown) {
        return Decision::LookAgain;
    }
    match (any(OwnerState::Present), lost.is_empty()) {
        (_, true) => Decision::Keep,
        (true, false) => Decision::Disown(lost),
        (false, false) => Decision::Delete(policy(object, any(OwnerState::WaitsForDependents) && has_dependents)),
    }
}

/// How a dependent is deleted: as its own finalizers say, in the foreground if its owner waits for all below it.
fn policy(object: &Meta, in_foreground: bool) -> Propagation {
    let has = |finalizer: &str| object.finalizers.iter().any(|f| f == finalizer);
    match () {
        () if in_foreground => Propagation::Foreground,
        () if has(ORPHAN) => Propagation::Orphan,
        () if has(FOREGROUND) => Propagation::Foreground,
        () => Propagation::Background,
    }
}

#[cfg(test)]
mod tests {
    use super::OwnerState::*;
    use super::*;
    use serde_json::json;

    fn check(states: &[OwnerState], has_dependents: bool) -> Decision {
        let owners: Vec<_> = (0..states.len()).map(|i| json!({ "uid": i.to_string() })).collect();
        let object: Meta = serde_json::from_value(json!({ "ownerReferences": owners })).unwrap();
        decide(&object, states, has_dependents)
    }

    #[test]
    fn table() {
        assert_eq!(check(&[Present], false), Decision::Keep);
        assert_eq!(check(&[Gone], false), Decision::Delete(Propagation::Background));
        assert_eq!(check(&[Present, Gone], false), Decision::Disown(vec!["1".to_owned()]));
        assert_eq!(
            check(&[Present, WaitsForDependents], true),
            Decision::Disown(vec!["1".to_owned()])
        );
        assert_eq!(
            check(&[WaitsForDependents], true),
            Decision::Delete(Propagation::Foreground)
        );
        assert_eq!(
            check(&[WaitsForDependents], false),
            Decision::Delete(Propagation::Background)
        );
        assert_eq!(
            check(&[Gone, Unknown], false),
            Decision::LookAgain,
            "the unknown owner may be there"
        );
    }
}
