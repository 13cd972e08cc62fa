//! The OpenAPI documents as they are served: bytes with their hashes, by path. Those about built-in resources are rendered once; what
//! custom resources add is laid beside them, or into them where there is only one document.

mod words;

use crate::endpoints::Document;
use crate::registry::{Overlay, Served};
use api::openapi::Custom;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use words::Texts;

/// What the one document of version 2 begins with: the keys of a JSON object are sorted.
const V2_HEAD: &[u8] = b"{\"definitions\":{";
const V2_PATHS: &[u8] = b",\"paths\":{";

/// The documents about built-in resources. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BuiltIn {
    v3: Arc<BTreeMap<String, Document>>,
    /// Group, version, hash.
    index: Vec<(String, String, String)>,
    v2_json: Bytes,
    /// Where the entries of `paths` begin in it.
    v2_paths_at: usize,
    v2_protobuf: Bytes,
}

impl BuiltIn {
    /// Renders everything. Takes a good part of a second: done once, when somebody first asks.
    pub(crate) fn build() -> BuiltIn {
        let words = Texts::load();
        let mut v3 = BTreeMap::new();
        let mut index = Vec::new();
        for (group, version) in api::group_versions() {
            if let Some(document) = api::openapi_v3(group, version, &words) {
                let document = Document::new(&document);
                index.push((group.to_owned(), version.to_owned(), document.hash().to_owned()));
                v3.insert(path(group, version), document);
            }
        }
        let mut swagger = api::openapi_v2(&words);
        let v2_protobuf = api::openapi::gnostic(&swagger).into();
        // In pieces, to know where the paths begin.
        let mut take = |key: &str| swagger[key].take().to_string();
        let (definitions, info, paths) = (take("definitions"), take("info"), take("paths"));
        let mut text = format!("{{\"definitions\":{definitions},\"info\":{info}").into_bytes();
        text.extend_from_slice(&V2_PATHS[..V2_PATHS.len() - 1]);
        let v2_paths_at = text.len() + 1;
        text.extend_from_slice(paths.as_bytes());
        text.extend_from_slice(b",\"swagger\":\"2.0\"}");
        BuiltIn {
            v3: Arc::new(v3),
            index,
            v2_json: text.into(),
            v2_paths_at,
            v2_protobuf,
        }
    }
}

fn path(group: &str, version: &str) -> String {
    format!("/openapi/v3/{}", api::openapi::document_path(group, version))
}

/// Every document, as of one state of the custom resources.
pub(crate) struct Documents {
    built_in: Arc<BTreeMap<String, Document>>,
    /// The index of version 3, and what custom resources add.
    v3: BTreeMap<String, Document>,
    v2_json: Document,
    v2_protobuf: Document,
}

impl Documents {
    /// Renders what custom resources add and puts it beside what is built in.
    pub(crate) fn of(built_in: &BuiltIn, overlay: &Overlay) -> Documents {
        let words = Texts::load();
        let mut v3 = BTreeMap::new();
        let mut index = built_in.index.clone();
        for (group, version) in group_versions(overlay) {
            let resources = customs(overlay, |served| {
                served.info.group == group && served.info.version == version
            });
            let document = Document::new(&api::openapi::openapi_v3_custom(&resources, &words));
            // A group version that is built in as well keeps its document.
            if !built_in.v3.contains_key(&path(&group, &version)) {
                index.push((group.clone(), version.clone(), document.hash().to_owned()));
                v3.insert(path(&group, &version), document);
            }
        }
        let listed = index
            .iter()
            .map(|(group, version, hash)| (group.as_str(), version.as_str(), hash.as_str()));
        v3.insert("/openapi/v3".to_string(), Document::new(&api::openapi_v3_index(listed)));
        let added = api::openapi::openapi_v2_custom(&customs(overlay, |_| true), &words);
        Documents {
            built_in: built_in.v3.clone(),
            v3,
            v2_json: Document::of_bytes(spliced(built_in, &added)),
            // Messages that follow each other are one message.
            v2_protobuf: Document::of_bytes(joined(&built_in.v2_protobuf, &api::openapi::gnostic(&added))),
        }
    }

    /// A document of version 3, or their index.
    pub(crate) fn v3(&self, path: &str) -> Option<&Document> {
        self.v3.get(path).or_else(|| self.built_in.get(path))
    }

    /// The paths of version 3.
    pub(crate) fn v3_paths(&self) -> impl Iterator<Item = &str> {
        self.v3.keys().chain(self.built_in.keys()).map(String::as_str)
    }

    /// Version 2 as JSON.
    pub(crate) fn v2_json(&self) -> &Document {
        &self.v2_json
    }

    /// Version 2 as protobuf.
    pub(crate) fn v2_protobuf(&self) -> &Document {
        &self.v2_protobuf
    }
}

fn group_versions(overlay: &Overlay) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = overlay
        .served
        .iter()
        .map(|served| (served.info.group.to_string(), served.info.version.to_string()))
        .collect();
    all.sort();
    all.dedup();
    all
}

fn customs(overlay: &Overlay, wanted: impl Fn(&Served) -> bool) -> Vec<Custom<'_>> {
    let served = overlay.served.iter().filter(|served| wanted(served));
    served
        .map(|served| Custom {
            resource: &served.info,
            schema: served.custom.as_ref().and_then(|custom| custom.raw()),
        })
        .collect()
}

/// The built-in document with further definitions and paths put in front of its own.
fn spliced(built_in: &BuiltIn, added: &Value) -> Bytes {
    let entries = |key: &str| -> String {
        let map = added[key].as_object().into_iter().flatten();
        map.map(|(name, value)| format!("{}:{value},", Value::from(name.as_str())))
            .collect()
    };
    let (definitions, paths) = (entries("definitions"), entries("paths"));
    if definitions.is_empty() && paths.is_empty() {
        return built_in.v2_json.clone();
    }
    let (text, at) = (&built_in.v2_json, built_in.v2_paths_at);
    let mut out = BytesMut::with_capacity(text.len() + definitions.len() + paths.len());
    let pieces = [
        V2_HEAD,
        definitions.as_bytes(),
        &text[V2_HEAD.len()..at],
        paths.as_bytes(),
        &text[at..],
    ];
    pieces.into_iter().for_each(|piece| out.extend_from_slice(piece));
    out.freeze()
}

fn joined(first: &Bytes, second: &[u8]) -> Bytes {
    if second.is_empty() {
        return first.clone();
    }
    [first, second].concat().into()
}
