//! Custom resources: what CustomResourceDefinitions add to the API.
//!
//! **Theory.** A definition is an ordinary object with a strategy of its own ([`definition`]). Every server follows the definitions
//! by a watch ([`follow`]), compiles what is established into resources like the built-in ones ([`custom`]), and lays them over
//! the registry as a whole, so a request sees either all of a definition or nothing. Whoever asks for a resource that this server
//! does not know yet makes it look at the definition itself, so a definition that is established is served by every server at
//! once. The leading member also judges names ([`names`]) and empties what is to go ([`cleanup`]).
//!
//! **Promises.** A custom object is pruned, defaulted and judged by the schema of the version it is written through, and shown
//! pruned and defaulted by the one it is read through. No object outlives its definition: a create compares the definition's
//! revision in its own transaction.
//!
//! **Left out.** Conversion by webhook (a version that is not the stored one is refused then), CEL rules (the definition's author
//! is warned).

mod cleanup;
mod custom;
mod definition;
mod follow;
mod guard;
mod names;
mod scale;
mod validate;

pub(crate) use custom::Custom;
pub(crate) use custom::priority;
pub(crate) use definition::Definitions;
pub(crate) use follow::{Follower, load, look};
pub(crate) use guard::guard;

use crate::registry::fields::{list, text};
use serde_json::Value;

/// The resource of definitions.
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// Holds a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Whether a definition has a condition that is true.
fn is(definition: &Value, condition: &str) -> bool {
    list(definition, "status.conditions")
        .iter()
        .any(|c| text(c, "type") == condition && text(c, "status") == "True")
}

/// Sets a condition; its time moves only with its status. Yields whether anything changed.
fn set_condition(definition: &mut Value, kind: &str, status: &str, reason: &str, message: &str) -> bool {
    let mut conditions = list(definition, "status.conditions").to_vec();
    let now = crate::registry::fields::rfc3339(jiff::Timestamp::now());
    let found = conditions.iter_mut().find(|c| text(c, "type") == kind);
    let mut wanted = serde_json::json!({"type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": now});
    match found {
        Some(condition) => {
            if text(condition, "status") == status {
                wanted["lastTransitionTime"] = condition["lastTransitionTime"].clone();
            }
            if *condition == wanted {
                return false;
            }
            *condition = wanted;
        }
        None => conditions.push(wanted),
    }
    crate::registry::fields::child(definition, "status").insert("conditions".into(), conditions.into());
    true
}
