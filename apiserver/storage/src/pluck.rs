//! Reading a few scalar fields out of JSON bytes without building the rest.
//!
//! Used once per stored entry to fill its slot; a `Value` of a Pod would cost many times its bytes.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The paths to pluck, as a tree.
#[derive(Debug, Default)]
pub struct Paths {
    root: Node,
    count: usize,
}

#[derive(Debug, Default)]
struct Node {
    children: Vec<(String, Node)>,
    /// Index of the result that a scalar here fills.
    leaf: Option<usize>,
}

impl Paths {
    /// Paths in dotted form; results come in the same order.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a str>) -> Paths {
        let mut tree = Paths::default();
        for path in paths {
            let index = tree.count;
            tree.count += 1;
            tree.root.insert(path.split('.'), index);
        }
        tree
    }

    /// The scalars at the paths, as text; `None` where there is nothing (or no scalar).
    pub fn pluck(&self, json: &[u8]) -> Result<Vec<Option<Box<str>>>, serde_json::Error> {
        let mut found = vec![None; self.count];
        if self.count > 0 {
            let mut deserializer = serde_json::Deserializer::from_slice(json);
            Seed {
                node: &self.root,
                found: &mut found,
            }
            .deserialize(&mut deserializer)?;
        }
        Ok(found)
    }
}

impl Node {
    fn insert<'a>(&mut self, mut path: impl Iterator<Item = &'a str>, index: usize) {
        let Some(step) = path.next() else {
            self.leaf = Some(index);
            return;
        };
        let at = match self.children.iter().position(|(name, _)| name == step) {
            Some(at) => at,
            None => {
                self.children.push((step.to_string(), Node::default()));
                self.children.len() - 1
            }
        };
        self.children[at].1.insert(path, index);
    }

    fn child(&self, name: &str) -> Option<&Node> {
        self.children
            .iter()
            .find(|(child, _)| child == name)
            .map(|(_, node)| node)
    }
}

struct Seed<'a> {
    node: &'a Node,
    found: &'a mut [Option<Box<str>>],
}

impl Seed<'_> {
    fn fill(self, text: impl Into<Box<str>>) {
        if let Some(index) = self.node.leaf {
            self.found[index] = Some(text.into());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.node.child(&key) {
                Some(node) => map.next_value_seed(Seed {
                    node,
                    found: self.found,
                })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.fill(text);
        Ok(())
    }
    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.fill(if value { "true" } else { "false" });
        Ok(())
    }
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.fill(value.to_string());
        Ok(())
    }
    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.fill(value.to_string());
        Ok(())
    }
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.fill(value.to_string());
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_found_and_everything_else_is_skipped() {
        let paths = Paths::new([
            "spec.nodeName",
            "status.phase",
            "spec.unschedulable",
            "status.n",
            "spec.gone",
        ]);
        let json = br#"{"x":[{"spec":1}],"spec":{"a":{"nodeName":"no"},"nodeName":"n\u0031","unschedulable":true},"status":{"phase":"Running","n":3}}"#;
        let found = paths.pluck(json).unwrap();
        let texts: Vec<_> = found.iter().map(|f| f.as_deref()).collect();
        assert_eq!(texts, [Some("n1"), Some("Running"), Some("true"), Some("3"), None]);
    }

    #[test]
    fn broken_json_is_an_error() {
        assert!(Paths::new(["a"]).pluck(b"{\"a\":").is_err());
    }
}
