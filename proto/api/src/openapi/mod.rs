//! OpenAPI v3 documents, one per group version, from the schema registry and the resource table.
//!
//! Enough for clients that validate, patch and explain: schemas with merge keys, list types and kinds; operations with
//! their action, kind and query parameters. Left out: descriptions, response schemas of streams, OpenAPI v2.

mod components;
mod operations;

use crate::gvk;
use crate::resources::{group_versions, resources};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// The Kubernetes version that the documents describe.
const VERSION: &str = "v1.36.0";

/// The document that lists the others, each with the hash of its content.
pub fn openapi_v3_index() -> Value {
    static INDEX: OnceLock<Value> = OnceLock::new();
    INDEX.get_or_init(build_index).clone()
}

fn build_index() -> Value {
    let mut paths = Map::new();
    for (group, version) in group_versions() {
        if let Some(document) = openapi_v3(group, version) {
            let path = document_path(group, version);
            let hash = hash(document.to_string().as_bytes());
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({ "serverRelativeURL": url }));
        }
    }
    json!({ "paths": paths })
}

/// The document of one group version; `None` when it is not served. Built anew on every call: as a `Value` it takes many
/// times its text, so whoever serves it should keep the bytes.
pub fn openapi_v3(group: &str, version: &str) -> Option<Value> {
    let rows: Vec<_> = resources()
        .iter()
        .filter(|row| row.group == group && row.version == version)
        .collect();
    if rows.is_empty() {
        return None;
    }
    let mut needed = components::Needed::default();
    let mut paths = Map::new();
    for row in rows {
        operations::add_paths(row, &mut paths, &mut needed);
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": VERSION },
        "paths": paths,
        "components": { "schemas": needed.render() },
    }))
}

/// `api/v1`, or `apis/apps/v1`.
fn document_path(group: &str, version: &str) -> String {
    let root = if group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", gvk::api_version(group, version))
}

/// FNV-1a twice with different seeds: 128 bits that change with the content. Clients only compare it.
fn hash(bytes: &[u8]) -> String {
    let fnv = |seed: u64| {
        bytes.iter().fold(seed, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    format!("{:016X}{:016X}", fnv(0xcbf2_9ce4_8422_2325), fnv(0x6c62_272e_07bb_0142))
}

#[cfg(test)]
mod tests;
