//! The owner graph. Pure: changes in, work out.
//!
//! An object that is only known because another names it as owner is *virtual* (not `observed`): it is looked up, and if
//! it does not exist it is removed, which turns to its dependents.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use client::{Key, Meta, OwnerReference, Resource};

use super::{FOREGROUND, ORPHAN};

/// Something to do about an object, by uid.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    /// See whether it has to go.
    Delete(String),
    /// Take it out of its dependents' owners.
    Orphan(String),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Delete(uid) => write!(f, "delete {uid}"),
            Work::Orphan(uid) => write!(f, "orphan {uid}"),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Of an observed object.
    pub resource: Option<Resource>,
    /// Of a virtual object: as the reference says.
    pub api_version: String,
    pub kind: String,
    pub key: Key,
    pub observed: bool,
    pub deleting: bool,
    /// Being deleted after its dependents.
    pub foreground: bool,
    owners: Vec<OwnerReference>,
    /// The uids of those that name it as owner.
    pub dependents: BTreeSet<String>,
}

/// Every object that owns or is owned, and every other too.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<String, Node>,
}

impl Graph {
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// An object is there, or has changed.
    pub fn upsert(&mut self, resource: &Resource, meta: &Meta) -> Vec<Work> {
        let uid = &meta.uid;
        let deleting = meta.is_deleting();
        let foreground = deleting && meta.finalizers.iter().any(|f| f == FOREGROUND);
        let known = self.nodes.get(uid);
        let (old_owners, was_foreground) = known.map(|n| (n.owners.clone(), n.foreground)).unwrap_or_default();
        let dependents = known.map(|n| n.dependents.clone()).unwrap_or_default();
        let owners_changed = known.is_none_or(|n| !n.observed) || old_owners != meta.owner_references;
        let mut works = self.unlink(uid, &old_owners, &meta.owner_references);
        let node = Node {
            resource: Some(resource.clone()),
            api_version: resource.api_version(),
            kind: resource.kind.to_string(),
            key: meta.key(),
            observed: true,
            deleting,
            foreground,
            owners: meta.owner_references.clone(),
            dependents,
        };
        self.nodes.insert(uid.clone(), node);
        works.extend(self.link(uid, &meta.namespace, &meta.owner_references));
        // An owner may be virtual, or waiting for this one; with all owners present and well there is nothing to see.
        if owners_changed && self.owner_lost(uid) {
            works.push(Work::Delete(uid.clone()));
        }
        if deleting && meta.finalizers.iter().any(|f| f == ORPHAN) {
            works.push(Work::Orphan(uid.clone()));
        }
        if foreground && !was_foreground {
            works.extend(self.dependents_of(uid));
        }
        if foreground {
            works.push(Work::Delete(uid.clone()));
        }
        works
    }

    /// An object is gone.
    pub fn remove(&mut self, uid: &str) -> Vec<Work> {
        let mut works = self.dependents_of(uid);
        let Some(node) = self.nodes.remove(uid) else {
            return works;
        };
        works.extend(self.unlink(uid, &node.owners, &[]));
        works
    }

    fn dependents_of(&self, uid: &str) -> Vec<Work> {
        let dependents = self.nodes.get(uid).map(|n| &n.dependents);
        dependents
            .into_iter()
            .flatten()
            .map(|d| Work::Delete(d.clone()))
            .collect()
    }

    /// Takes an object out of the owners it no longer has. Those that wait for their dependents are looked at.
    fn unlink(&mut self, uid: &str, old: &[OwnerReference], new: &[OwnerReference]) -> Vec<Work> {
        let mut works = Vec::new();
        for owner in old {
            let still = new.iter().find(|o| o.uid == owner.uid);
            let Some(node) = self.nodes.get_mut(&owner.uid) else {
                continue;
            };
            if still.is_none() {
                node.dependents.remove(uid);
            }
            let unblocked = still.is_none_or(|o| owner.block_owner_deletion && !o.block_owner_deletion);
            if unblocked && node.foreground {
                works.push(Work::Delete(owner.uid.clone()));
            }
            // A virtual owner that nobody names any more is of no interest.
            if !node.observed && node.dependents.is_empty() {
                self.nodes.remove(&owner.uid);
            }
        }
        works
    }

    /// Enters an object with its owners. An owner that is not known becomes virtual and is looked up.
    fn link(&mut self, uid: &str, namespace: &str, owners: &[OwnerReference]) -> Vec<Work> {
        let mut works = Vec::new();
        for owner in owners {
            let node = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
                works.push(Work::Delete(owner.uid.clone()));
                virtual_node(owner, namespace)
            });
            node.dependents.insert(uid.to_owned());
        }
        works
    }

    fn owner_lost(&self, uid: &str) -> bool {
        let owners = self.nodes.get(uid).map(|n| n.owners.as_slice()).unwrap_or_default();
        let lost = |o: &OwnerReference| self.nodes.get(&o.uid).is_none_or(|n| n.foreground);
        owners.iter().any(lost)
    }

    /// Whether a dependent keeps this object, which waits for its dependents, from going; and those of its dependents that
    /// are to be seen to. Those being deleted see to themselves: to look at them again would never end in a circle.
    pub fn blocking(&self, uid: &str) -> (bool, Vec<Work>) {
        let Some(node) = self.nodes.get(uid) else {
            return (false, Vec::new());
        };
        let blocks = |d: &String| {
            let owners = self.nodes.get(d).map(|n| n.owners.as_slice()).unwrap_or_default();
            owners.iter().any(|o| o.uid == uid && o.block_owner_deletion)
        };
        let idle = |d: &&String| self.nodes.get(*d).is_some_and(|n| !n.deleting);
        let idle = node.dependents.iter().filter(idle);
        (
            node.dependents.iter().any(blocks),
            idle.map(|d| Work::Delete(d.clone())).collect(),
        )
    }

    /// Whether a dependent of this object waits for its own dependents. If this object is to go in the foreground too,
    /// that may be a circle in which everyone waits for everyone.
    pub fn has_waiting_dependent(&self, uid: &str) -> bool {
        let dependents = self.nodes.get(uid).map(|n| &n.dependents);
        let waits = |d: &String| self.nodes.get(d).is_some_and(|n| n.foreground);
        dependents.is_some_and(|all| all.iter().any(waits))
    }

    /// The API does not know this object. One that is watched is left alone: its watch tells of its end, and entering it
    /// anew from an older change in between would lose its dependents.
    pub fn not_found(&mut self, uid: &str) -> Vec<Work> {
        match self.nodes.get(uid) {
            Some(node) if !node.observed => self.remove(uid),
            _ => Vec::new(),
        }
    }
}

fn virtual_node(owner: &OwnerReference, namespace: &str) -> Node {
    Node {
        resource: None,
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        key: Key::new(namespace, &owner.name),
        observed: false,
        deleting: false,
        foreground: false,
        owners: Vec::new(),
        dependents: BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const THINGS: Resource = Resource::namespaced("", "v1", "Thing", "things");

    fn meta(uid: &str, owners: &[&str], finalizers: &[&str], deleting: bool) -> Meta {
        let references: Vec<_> = owners
            .iter()
            .map(|o| json!({ "apiVersion": "v1", "kind": "Thing", "name": o, "uid": o, "blockOwnerDeletion": true }))
            .collect();
        serde_json::from_value(json!({
            "name": uid, "namespace": "ns", "uid": uid, "ownerReferences": references, "finalizers": finalizers,
            "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z"),
        }))
        .unwrap()
    }

    fn delete(uid: &str) -> Work {
        Work::Delete(uid.to_owned())
    }

    #[test]
    fn an_owners_end_turns_to_its_dependents() {
        let mut graph = Graph::default();
        assert!(graph.upsert(&THINGS, &meta("owner", &[], &[], false)).is_empty());
        assert!(
            graph.upsert(&THINGS, &meta("a", &["owner"], &[], false)).is_empty(),
            "its owner is there"
        );
        assert_eq!(graph.remove("owner"), [delete("a")]);
    }

    #[test]
    fn an_unknown_owner_is_looked_up() {
        let mut graph = Graph::default();
        assert_eq!(
            graph.upsert(&THINGS, &meta("a", &["owner"], &[], false)),
            [delete("owner")]
        );
        assert!(!graph.get("owner").unwrap().observed);
        assert_eq!(graph.get("owner").unwrap().key, Key::new("ns", "owner"));
        assert_eq!(graph.not_found("owner"), [delete("a")]);
    }

    #[test]
    fn a_watched_object_ends_by_its_watch() {
        let mut graph = Graph::default();
        graph.upsert(&THINGS, &meta("owner", &[], &[], false));
        graph.upsert(&THINGS, &meta("a", &["owner"], &[], false));
        assert!(graph.not_found("owner").is_empty());
        graph.upsert(&THINGS, &meta("owner", &[], &[], true));
        assert_eq!(
            graph.remove("owner"),
            [delete("a")],
            "an older change in between loses nobody"
        );
    }

    #[test]
    fn a_circle_is_noticed_and_not_walked_round() {
        let mut graph = Graph::default();
        for (uid, owner) in [("a", "c"), ("b", "a"), ("c", "b")] {
            graph.upsert(&THINGS, &meta(uid, &[owner], &[], false));
        }
        graph.upsert(&THINGS, &meta("a", &["c"], &[FOREGROUND], true));
        assert!(!graph.has_waiting_dependent("b") && graph.has_waiting_dependent("c"));
        graph.upsert(&THINGS, &meta("b", &["a"], &[FOREGROUND], true));
        assert_eq!(graph.blocking("a"), (true, vec![]), "b sees to itself");
        assert_eq!(graph.blocking("b"), (true, vec![delete("c")]));
    }

    #[test]
    fn a_virtual_owner_may_turn_up() {
        let mut graph = Graph::default();
        graph.upsert(&THINGS, &meta("a", &["owner"], &[], false));
        assert!(graph.upsert(&THINGS, &meta("owner", &[], &[], false)).is_empty());
        assert!(graph.get("owner").unwrap().observed && graph.get("owner").unwrap().dependents.contains("a"));
    }

    #[test]
    fn foreground_waits_for_the_last_blocking_dependent() {
        let mut graph = Graph::default();
        graph.upsert(&THINGS, &meta("owner", &[], &[], false));
        graph.upsert(&THINGS, &meta("a", &["owner"], &[], false));
        graph.upsert(&THINGS, &meta("b", &["owner"], &[], false));
        let works = graph.upsert(&THINGS, &meta("owner", &[], &[FOREGROUND], true));
        assert_eq!(works, [delete("a"), delete("b"), delete("owner")]);
        assert!(graph.blocking("owner").0);
        assert_eq!(graph.remove("a"), [delete("owner")]);
        assert!(graph.blocking("owner").0);
        graph.remove("b");
        assert!(!graph.blocking("owner").0);
    }

    #[test]
    fn orphaning_is_asked_for_once_the_owner_is_being_deleted() {
        let mut graph = Graph::default();
        assert!(graph.upsert(&THINGS, &meta("owner", &[], &[ORPHAN], false)).is_empty());
        let works = graph.upsert(&THINGS, &meta("owner", &[], &[ORPHAN], true));
        assert_eq!(works, [Work::Orphan("owner".to_owned())]);
    }

    #[test]
    fn a_disowned_dependent_is_forgotten_by_its_owner() {
        let mut graph = Graph::default();
        graph.upsert(&THINGS, &meta("owner", &[], &[], false));
        graph.upsert(&THINGS, &meta("a", &["owner"], &[], false));
        graph.upsert(&THINGS, &meta("a", &[], &[], false));
        assert!(graph.remove("owner").is_empty());
    }
}
