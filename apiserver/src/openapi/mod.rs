//! The OpenAPI documents as they are served: bytes with their hashes, by path.

mod words;

use crate::endpoints::Document;
use std::collections::BTreeMap;
use words::Texts;

/// Version 2, in both of its encodings.
pub(crate) struct Swagger {
    pub json: Document,
    pub protobuf: Document,
}

/// Every document.
pub(crate) struct Documents {
    /// The index of version 3 and what it lists, by path.
    pub v3: BTreeMap<String, Document>,
    pub v2: Swagger,
}

/// Renders everything. Takes a good part of a second: done once, when somebody first asks.
pub(crate) fn build() -> Documents {
    let words = Texts::load();
    let mut v3 = BTreeMap::new();
    let mut index = Vec::new();
    for (group, version) in api::group_versions() {
        if let Some(document) = api::openapi_v3(group, version, &words) {
            let document = Document::new(&document);
            index.push((group, version, document.hash().to_owned()));
            v3.insert(
                format!("/openapi/v3/{}", api::openapi::document_path(group, version)),
                document,
            );
        }
    }
    let listed = index
        .iter()
        .map(|(group, version, hash)| (*group, *version, hash.as_str()));
    v3.insert("/openapi/v3".to_string(), Document::new(&api::openapi_v3_index(listed)));
    let swagger = api::openapi_v2(&words);
    let v2 = Swagger {
        json: Document::new(&swagger),
        protobuf: Document::of_bytes(api::openapi::gnostic(&swagger).into()),
    };
    Documents { v3, v2 }
}
