//! Discovery: which resources there are, in the legacy documents and in the aggregated one. Built anew whenever custom resources
//! come or go.

use crate::extensions::priority;
use api::resources::{Resource, Subresource, resources};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The rows of every resource, grouped: built-in groups first, in the order of the table, then those of custom resources.
pub(super) struct Rows<'a> {
    rows: Vec<&'a Resource>,
    /// With their versions, preferred first.
    groups: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(custom: impl Iterator<Item = &'a Resource>) -> Rows<'a> {
        let rows: Vec<&Resource> = resources().iter().chain(custom).collect();
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for row in &rows {
            let at = groups
                .iter()
                .position(|(group, _)| *group == row.group)
                .unwrap_or_else(|| {
                    groups.push((&row.group, Vec::new()));
                    groups.len() - 1
                });
            let versions = &mut groups[at].1;
            if !versions.contains(&&*row.version) {
                versions.push(&row.version);
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|version| Reverse(priority(version)));
        }
        Rows { rows, groups }
    }

    fn of(&self, group: &str, version: &str) -> impl Iterator<Item = &'a Resource> {
        let rows = self.rows.iter().copied();
        rows.filter(move |row| row.group == group && row.version == version)
    }

    /// The groups besides core.
    fn named(&self) -> impl Iterator<Item = &(&'a str, Vec<&'a str>)> {
        self.groups.iter().filter(|(group, _)| !group.is_empty())
    }

    fn core(&self) -> impl Iterator<Item = &(&'a str, Vec<&'a str>)> {
        self.groups.iter().filter(|(group, _)| group.is_empty())
    }
}

/// Every discovery document by its path.
pub(super) fn legacy(rows: &Rows<'_>) -> BTreeMap<String, Value> {
    let mut documents = BTreeMap::new();
    let versions: Vec<&str> = rows.core().flat_map(|(_, versions)| versions.iter().copied()).collect();
    let core = json!({"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": []});
    documents.insert("/api".into(), core);
    let all: Vec<Value> = rows
        .named()
        .map(|(group, versions)| group_document(group, versions))
        .collect();
    documents.insert(
        "/apis".into(),
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all}),
    );
    for (group, versions) in rows.named() {
        let mut document = group_document(group, versions);
        document["kind"] = "APIGroup".into();
        document["apiVersion"] = "v1".into();
        documents.insert(format!("/apis/{group}"), document);
    }
    for (group, versions) in &rows.groups {
        for version in versions {
            let path = if group.is_empty() {
                format!("/api/{version}")
            } else {
                format!("/apis/{group}/{version}")
            };
            documents.insert(path, resource_list(rows, group, version));
        }
    }
    documents
}

fn group_document(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

fn resource_list(rows: &Rows<'_>, group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for row in rows.of(group, version) {
        let mut entry = json!({
            "name": row.name, "singularName": row.singular, "namespaced": row.namespaced, "kind": row.kind, "verbs": row.verbs,
        });
        if !row.short_names.is_empty() {
            entry["shortNames"] = json!(row.short_names);
        }
        if !row.categories.is_empty() {
            entry["categories"] = json!(row.categories);
        }
        list.push(entry);
        list.extend(
            row.subresources
                .iter()
                .map(|subresource| legacy_subresource(row, subresource)),
        );
    }
    let group_version = if group.is_empty() {
        version.to_string()
    } else {
        format!("{group}/{version}")
    };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list})
}

fn legacy_subresource(row: &Resource, subresource: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", row.name, subresource.name), "singularName": "", "namespaced": row.namespaced,
        "kind": subresource.kind, "verbs": subresource.verbs,
    });
    if (&subresource.group, &subresource.version) != (&row.group, &row.version) {
        entry["group"] = json!(subresource.group);
        entry["version"] = json!(subresource.version);
    }
    entry
}

/// The aggregated document of `/api` (`core`) or `/apis`, in a version of its own API.
pub(super) fn aggregated(rows: &Rows<'_>, core: bool, version: &str) -> Value {
    let render = |(group, versions): &(&str, Vec<&str>)| aggregated_group(rows, group, versions);
    let items: Vec<Value> = match core {
        true => rows.core().map(render).collect(),
        false => rows.named().map(render).collect(),
    };
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items,
    })
}

fn aggregated_group(rows: &Rows<'_>, group: &str, versions: &[&str]) -> Value {
    let versions = versions.iter().map(|version| {
        let resources: Vec<Value> = rows.of(group, version).map(aggregated_resource).collect();
        json!({"version": version, "resources": resources, "freshness": "Current"})
    });
    let versions: Vec<Value> = versions.collect();
    let metadata = if group.is_empty() {
        json!({})
    } else {
        json!({"name": group})
    };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(row: &Resource) -> Value {
    let subresources: Vec<Value> = row
        .subresources
        .iter()
        .map(|subresource| {
            json!({
                "subresource": subresource.name, "verbs": subresource.verbs,
                "responseKind": {"group": subresource.group, "version": subresource.version, "kind": subresource.kind},
            })
        })
        .collect();
    let mut entry = json!({
        "resource": row.name, "singularResource": row.singular, "verbs": row.verbs,
        "responseKind": {"group": row.group, "version": row.version, "kind": row.kind},
        "scope": if row.namespaced { "Namespaced" } else { "Cluster" },
    });
    for (key, names) in [("shortNames", &row.short_names), ("categories", &row.categories)] {
        if !names.is_empty() {
            entry[key] = json!(names);
        }
    }
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_is_discoverable_both_ways() {
        let all = Rows::new([].iter());
        let legacy = legacy(&all);
        for row in resources() {
            let path = if row.group.is_empty() {
                "/api/v1".into()
            } else {
                format!("/apis/{}/{}", row.group, row.version)
            };
            let listed = legacy[&path]["resources"].as_array().unwrap();
            assert!(
                listed.iter().any(|entry| entry["name"] == *row.name),
                "{path} lacks {}",
                row.name
            );
        }
        let aggregated = aggregated(&all, false, "v2");
        assert_eq!(aggregated["items"].as_array().unwrap().len(), all.named().count());
    }
}
