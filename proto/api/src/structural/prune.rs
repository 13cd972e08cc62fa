//! Removing what a schema does not know.

use super::{Additional, Node};
use serde_json::Value;

/// What every object of the API has, whatever its schema says.
const ALWAYS: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Node {
    /// Removes every field that the schema does not know from a whole object, and names each (`spec.foo[0].bar`).
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        prune(self, object, true, "", &mut unknown);
        unknown
    }
}

fn prune(node: &Node, value: &mut Value, whole: bool, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            let Some(inner) = &node.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune(inner, item, inner.embedded, &format!("{path}[{index}]"), unknown);
            }
        }
        Value::Object(map) => {
            let anything = node.preserve || matches!(node.additional, Additional::Anything);
            map.retain(|key, value| {
                let below = join(path, key);
                if whole && ALWAYS.contains(&key.as_str()) {
                    return true;
                }
                match node.child(key) {
                    Some(child) => prune(child, value, child.embedded, &below, unknown),
                    None if anything => {}
                    None => {
                        unknown.push(below);
                        return false;
                    }
                }
                true
            });
        }
        _ => {}
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}
