//! The resources that this version of the API serves: one row each. Discovery, routing, OpenAPI paths and authorization
//! all read this table; what is special about a resource lives in its strategy, in the API server.
//!
//! Promise: every row names a kind that the registry knows, and no two rows share group, version and name.

mod table;

pub use table::STANDARD as STANDARD_VERBS;

use crate::gvk::{self, Gvk};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

/// A name that is known at compile time, or one that a custom resource brought along.
pub type Name = Cow<'static, str>;

/// A resource of one group and version.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Empty for the core group.
    pub group: Name,
    /// `v1`.
    pub version: Name,
    /// Plural, as in URLs.
    pub name: Name,
    /// Singular, as kubectl accepts it.
    pub singular: Name,
    /// Of the objects.
    pub kind: Name,
    /// Of a list of them.
    pub list_kind: Name,
    /// False for cluster-wide resources.
    pub namespaced: bool,
    /// `po`, `deploy`.
    pub short_names: Vec<Name>,
    /// `all`.
    pub categories: Vec<Name>,
    /// Of the resource itself.
    pub verbs: &'static [&'static str],
    /// In the order of discovery.
    pub subresources: Vec<Subresource>,
}

/// A resource below an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Subresource {
    /// `status`, `scale`, `log`.
    pub name: Name,
    /// Of the kind it reads and writes.
    pub group: Name,
    /// Of the kind it reads and writes.
    pub version: Name,
    /// What it reads and writes.
    pub kind: Name,
    /// `get` and `create` for the streaming ones.
    pub verbs: &'static [&'static str],
}

impl Resource {
    /// Group, version and kind of its objects.
    pub fn gvk(&self) -> Gvk {
        Gvk {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: self.kind.clone(),
        }
    }

    /// `v1`, or `apps/v1`.
    pub fn api_version(&self) -> String {
        gvk::api_version(&self.group, &self.version)
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
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
        Gvk {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: self.kind.clone(),
        }
    }
}

/// Every built-in resource, in the order of discovery.
pub fn resources() -> &'static [Resource] {
    static ROWS: OnceLock<Vec<Resource>> = OnceLock::new();
    ROWS.get_or_init(|| table::ROWS.iter().map(table::Row::resource).collect())
}

/// A resource by the parts of its URL.
pub fn resource(group: &str, version: &str, name: &str) -> Option<&'static Resource> {
    static INDEX: OnceLock<HashMap<(&str, &str, &str), &'static Resource>> = OnceLock::new();
    let build = || {
        let row = |row: &'static Resource| ((&*row.group, &*row.version, &*row.name), row);
        resources().iter().map(row).collect()
    };
    INDEX.get_or_init(build).get(&(group, version, name)).copied()
}

/// The resource that serves a kind.
pub fn resource_of(gvk: &Gvk) -> Option<&'static Resource> {
    resources()
        .iter()
        .find(|row| row.kind == gvk.kind && row.group == gvk.group && row.version == gvk.version)
}

/// The group versions served, in the order of discovery.
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    for row in resources() {
        let group_version = (&*row.group, &*row.version);
        if !found.contains(&group_version) {
            found.push(group_version);
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
        for row in resources() {
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
        for (index, row) in resources().iter().enumerate() {
            let same = |other: &&Resource| {
                (&other.group, &other.version, &other.name) == (&row.group, &row.version, &row.name)
            };
            assert!(
                !resources()[..index].iter().any(|other| same(&other)),
                "{} appears twice",
                row.name
            );
        }
    }
}
