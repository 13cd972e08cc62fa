//! Sets of field paths, in the form in which they are stored.
//!
//! A set is a trie whose keys are path elements as `FieldsV1` spells them: `f:name` a field, `k:{"name":"a"}` an element of a list
//! by its keys, `v:"a"` an element by its value. `.` marks a path that is itself a member besides paths below it.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// How deep a set that came from a client may be. Objects are shallower by far.
const DEPTH_MAX: usize = 64;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(BTreeMap<String, Node>);

/// Invariant: a member, or something below it is; a node that is neither is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    below: Set,
}

impl Set {
    /// Whether it has no paths.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the one-element path a member.
    pub(super) fn insert(&mut self, element: String) {
        self.0.entry(element).or_default().member = true;
    }

    /// Puts a set below an element.
    pub(super) fn put(&mut self, element: String, below: Set) {
        if below.is_empty() {
            return;
        }
        match self.0.entry(element) {
            Entry::Vacant(vacant) => drop(vacant.insert(Node { member: false, below })),
            Entry::Occupied(mut node) => node.get_mut().below.unite(&below),
        }
    }

    /// Whether the one-element path is a member.
    pub(super) fn has(&self, element: &str) -> bool {
        self.0.get(element).is_some_and(|node| node.member)
    }

    /// What is below an element.
    pub(super) fn below(&self, element: &str) -> Option<&Set> {
        self.0
            .get(element)
            .map(|node| &node.below)
            .filter(|set| !set.is_empty())
    }

    /// The elements at the top and what is below each.
    pub(super) fn elements(&self) -> impl Iterator<Item = (&str, bool, &Set)> {
        self.0
            .iter()
            .map(|(element, node)| (element.as_str(), node.member, &node.below))
    }

    /// Adds the members of another set.
    pub fn unite(&mut self, other: &Set) {
        for (element, node) in &other.0 {
            let own = self.0.entry(element.clone()).or_default();
            own.member |= node.member;
            own.below.unite(&node.below);
        }
    }

    /// Removes the members of another set, exactly those: what is below them stays.
    pub fn subtract(&mut self, other: &Set) {
        for (element, node) in &other.0 {
            if let Entry::Occupied(mut own) = self.0.entry(element.clone()) {
                let kept = own.get_mut();
                kept.member &= !node.member;
                kept.below.subtract(&node.below);
                if !kept.member && kept.below.is_empty() {
                    own.remove();
                }
            }
        }
    }

    /// The members of both.
    pub fn intersection(&self, other: &Set) -> Set {
        let mut both = Set::default();
        for (element, node) in &self.0 {
            let Some(theirs) = other.0.get(element) else { continue };
            if node.member && theirs.member {
                both.insert(element.clone());
            }
            both.put(element.clone(), node.below.intersection(&theirs.below));
        }
        both
    }

    /// Reads `FieldsV1`; `None` when it is something else.
    pub fn parse(fields: &Value) -> Option<Set> {
        Set::parse_at(fields, 0)
    }

    fn parse_at(fields: &Value, depth: usize) -> Option<Set> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut set = Set::default();
        for (element, below) in fields.as_object()? {
            if element == "." {
                continue;
            }
            let (kind, rest) = element.split_once(':')?;
            let element = match kind {
                "f" | "i" => element.clone(),
                // As we would write it, so that equal elements compare equal.
                "k" | "v" => format!("{kind}:{}", serde_json::from_str::<Value>(rest).ok()?),
                _ => return None,
            };
            let map = below.as_object()?;
            let node = Node {
                member: map.is_empty() || map.contains_key("."),
                below: Set::parse_at(below, depth + 1)?,
            };
            set.0.insert(element, node);
        }
        Some(set)
    }

    /// As `FieldsV1`.
    pub fn render(&self) -> Value {
        let mut map = Map::new();
        for (element, node) in &self.0 {
            let mut below = node.below.render();
            if node.member
                && !node.below.is_empty()
                && let Value::Object(map) = &mut below
            {
                map.insert(".".to_string(), Value::Object(Map::new()));
            }
            map.insert(element.clone(), below);
        }
        Value::Object(map)
    }

    /// Every member as people read it: `.spec.containers[name="a"].image`.
    pub fn printed(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.print("", &mut paths);
        paths
    }

    fn print(&self, prefix: &str, paths: &mut Vec<String>) {
        for (element, node) in &self.0 {
            let path = format!("{prefix}{}", readable(element));
            node.below.print(&path, paths);
            if node.member {
                paths.push(path);
            }
        }
    }
}

fn readable(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        _ => format!("[{element}]"),
    }
}
