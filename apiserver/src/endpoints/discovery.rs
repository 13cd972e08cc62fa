//! Discovery: which resources there are, in the legacy documents and in the aggregated one. All are built once, from the API table.

use api::resources::{Resource, Subresource, group_versions, resources};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The versions of a group, preferred first.
fn versions(group: &str) -> Vec<&'static str> {
    group_versions()
        .into_iter()
        .filter(|(g, _)| *g == group)
        .map(|(_, version)| version)
        .collect()
}

/// The groups besides core, in the order of the table.
fn groups() -> Vec<&'static str> {
    let mut groups = Vec::new();
    for (group, _) in group_versions() {
        if !group.is_empty() && !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

fn rows(group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    resources()
        .iter()
        .filter(move |row| row.group == group && row.version == version)
}

/// Every discovery document by its path.
pub(super) fn legacy() -> BTreeMap<String, Value> {
    let mut documents = BTreeMap::new();
    let core = json!({
        "kind": "APIVersions", "versions": versions(""),
        "serverAddressByClientCIDRs": [],
    });
    documents.insert("/api".into(), core);
    let all: Vec<Value> = groups().into_iter().map(group_document).collect();
    documents.insert(
        "/apis".into(),
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all}),
    );
    for group in groups() {
        let mut document = group_document(group);
        document["kind"] = "APIGroup".into();
        document["apiVersion"] = "v1".into();
        documents.insert(format!("/apis/{group}"), document);
    }
    for (group, version) in group_versions() {
        let path = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        documents.insert(path, resource_list(group, version));
    }
    documents
}

fn group_document(group: &str) -> Value {
    let versions: Vec<Value> = versions(group)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

fn resource_list(group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for row in rows(group, version) {
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
    if (subresource.group, subresource.version) != (row.group, row.version) {
        entry["group"] = subresource.group.into();
        entry["version"] = subresource.version.into();
    }
    entry
}

/// The aggregated document of `/api` (`core`) or `/apis`, in a version of its own API.
pub(super) fn aggregated(core: bool, version: &str) -> Value {
    let groups = if core { vec![""] } else { groups() };
    let items: Vec<Value> = groups.into_iter().map(aggregated_group).collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items,
    })
}

fn aggregated_group(group: &str) -> Value {
    let versions = versions(group).into_iter().map(|version| {
        let resources: Vec<Value> = rows(group, version).map(aggregated_resource).collect();
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
    for (key, names) in [("shortNames", row.short_names), ("categories", row.categories)] {
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
        let legacy = legacy();
        for row in resources() {
            let path = if row.group.is_empty() {
                "/api/v1".into()
            } else {
                format!("/apis/{}/{}", row.group, row.version)
            };
            let listed = legacy[&path]["resources"].as_array().unwrap();
            assert!(
                listed.iter().any(|entry| entry["name"] == row.name),
                "{path} lacks {}",
                row.name
            );
        }
        let aggregated = aggregated(false, "v2");
        assert_eq!(aggregated["items"].as_array().unwrap().len(), groups().len());
    }
}
