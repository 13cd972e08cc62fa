//! The resources that this version of the API serves: one row each. Discovery, routing, OpenAPI paths and authorization
//! all read this table; what is special about a resource lives in its strategy, in the API server.
//!
//! Promise: every row names a kind that the registry knows, and no two rows share group, version and name.

mod table;

use crate::gvk::{self, Gvk};
use std::collections::HashMap;
use std::sync::OnceLock;
pub use table::RESOURCES;

/// A resource of one group and version.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// Empty for the core group.
    pub group: &'static str,
    /// `v1`.
    pub version: &'static str,
    /// Plural, as in URLs.
    pub name: &'static str,
    /// Singular, as kubectl accepts it.
    pub singular: &'static str,
    /// Of the objects.
    pub kind: &'static str,
    /// False for cluster-wide resources.
    pub namespaced: bool,
    /// `po`, `deploy`.
    pub short_names: &'static [&'static str],
    /// `all`.
    pub categories: &'static [&'static str],
    /// Of the resource itself.
    pub verbs: &'static [&'static str],
    /// In the order of discovery.
    pub subresources: &'static [Subresource],
}

/// A resource below an object.
#[derive(Debug, Clone, Copy)]
pub struct Subresource {
    /// `status`, `scale`, `log`.
    pub name: &'static str,
    /// Of the kind it reads and writes.
    pub group: &'static str,
    /// Of the kind it reads and writes.
    pub version: &'static str,
    /// What it reads and writes.
    pub kind: &'static str,
    /// `get` and `create` for the streaming ones.
    pub verbs: &'static [&'static str],
}

impl Resource {
    /// Group, version and kind of its objects.
    pub fn gvk(&self) -> Gvk {
        Gvk::of(self.group, self.version, self.kind)
    }

    /// `v1`, or `apps/v1`.
    pub fn api_version(&self) -> String {
        gvk::api_version(self.group, self.version)
    }

    /// `PodList`.
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// Whether the resource itself has the verb.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
}

impl Subresource {
    /// Group, version and kind of its objects.
    pub fn gvk(&self) -> Gvk {
        Gvk::of(self.group, self.version, self.kind)
    }
}

/// Every resource, in the order of discovery.
pub fn resources() -> &'static [Resource] {
    RESOURCES
}

/// A resource by the parts of its URL.
pub fn resource(group: &str, version: &str, name: &str) -> Option<&'static Resource> {
    static INDEX: OnceLock<HashMap<(&str, &str, &str), &'static Resource>> = OnceLock::new();
    let build = || {
        RESOURCES
            .iter()
            .map(|row| ((row.group, row.version, row.name), row))
            .collect()
    };
    INDEX.get_or_init(build).get(&(group, version, name)).copied()
}

/// The resource that serves a kind.
pub fn resource_of(gvk: &Gvk) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|row| row.kind == gvk.kind && row.group == gvk.group && row.version == gvk.version)
}

/// The group versions served, in the order of discovery.
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    for row in RESOURCES {
        if !found.contains(&(row.group, row.version)) {
            found.push((row.group, row.version));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::registry;

    #[test]
    fn every_kind_served_is_defined() {
        for row in RESOURCES {
            assert!(
                registry().schema(&row.gvk()).is_some(),
                "{} is not in the registry",
                row.gvk()
            );
            for sub in row.subresources.iter().filter(|sub| !sub.kind.ends_with("Options")) {
                assert!(
                    registry().schema(&sub.gvk()).is_some(),
                    "{} is not in the registry",
                    sub.gvk()
                );
            }
        }
    }

    #[test]
    fn rows_are_unique() {
        for (index, row) in RESOURCES.iter().enumerate() {
            let same =
                |other: &&Resource| (other.group, other.version, other.name) == (row.group, row.version, row.name);
            assert!(
                !RESOURCES[..index].iter().any(|other| same(&other)),
                "{} appears twice",
                row.name
            );
        }
    }
}
