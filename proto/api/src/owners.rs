//! Owner references.

use serde_json::{Value, json};

/// The owner that manages the object, if any.
pub fn controller_of(object: &Value) -> Option<&Value> {
    owner_references(object).find(|owner| owner["controller"] == true)
}

/// Every owner reference.
pub fn owner_references(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"].as_array().into_iter().flatten()
}

/// Whether the owner with that uid manages the object.
pub fn is_controlled_by(object: &Value, uid: &str) -> bool {
    controller_of(object).is_some_and(|owner| owner["uid"] == uid)
}

/// A reference to an object, for what it owns. A controller blocks its own deletion in the foreground until what it
/// owns is gone.
pub fn owner_reference(owner: &Value, controller: bool) -> Value {
    let mut reference = json!({
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    });
    if controller {
        reference["controller"] = true.into();
        reference["blockOwnerDeletion"] = true.into();
    }
    reference
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_is_found_among_owners() {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r", "uid": "u"}});
        let plain = owner_reference(
            &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "uid": "x"}}),
            false,
        );
        let object = json!({"metadata": {"ownerReferences": [plain, owner_reference(&owner, true)]}});
        assert_eq!(controller_of(&object).unwrap()["name"], "r");
        assert!(is_controlled_by(&object, "u") && !is_controlled_by(&object, "x"));
        assert!(controller_of(&json!({})).is_none());
    }
}
