//! Filling in defaults.

use super::Node;
use serde_json::{Map, Value};

impl Node {
    /// Adds the defaults of what is missing. Nulls where the schema allows none count as missing.
    pub fn fill(&self, object: &mut Value) {
        match object {
            Value::Object(map) => {
                map.retain(|key, value| !value.is_null() || self.child(key).is_none_or(|child| child.nullable));
                self.fill_properties(map);
                for (key, value) in map.iter_mut() {
                    if let Some(child) = self.child(key) {
                        child.fill(value);
                    }
                }
            }
            Value::Array(items) => {
                let Some(inner) = &self.items else { return };
                for item in items {
                    if let (Value::Null, false, Some(default)) = (&*item, inner.nullable, &inner.default) {
                        *item = default.clone();
                    }
                    inner.fill(item);
                }
            }
            _ => {}
        }
    }

    fn fill_properties(&self, map: &mut Map<String, Value>) {
        for (name, child) in &self.properties {
            if let Some(default) = &child.default
                && !map.contains_key(name)
            {
                map.insert(name.clone(), default.clone());
            }
        }
    }
}
