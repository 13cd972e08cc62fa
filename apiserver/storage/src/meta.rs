//! What selectors and owners need of an object, parsed once per stored entry and kept in the entry's slot.

use crate::encode;
use crate::pluck::Paths;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// See the module. The bytes it was parsed from live in the entry beside it.
#[derive(Debug)]
pub struct Meta {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Uids of the owners.
    pub owners: Box<[Box<str>]>,
    /// The collection's selectable fields, in its order.
    pub fields: Box<[Box<str>]>,
    /// Which fields those are: a custom resource may get others while its objects are in memory.
    pub(crate) layout: u64,
    /// Where the resourceVersion goes in the stored bytes; within their length.
    pub(crate) splice: usize,
}

impl Meta {
    /// Parses stored bytes. The error says what is wrong with them.
    pub(crate) fn parse(stored: &[u8], fields: &Fields) -> Result<Meta, String> {
        let splice = encode::splice_point(stored).ok_or("not in the stored form (kind, apiVersion, metadata first)")?;
        let object: RawObject = serde_json::from_slice(stored).map_err(|error| error.to_string())?;
        let plucked = fields.paths.pluck(stored).map_err(|error| error.to_string())?;
        let missing = fields.missing.iter();
        Ok(Meta {
            namespace: object.metadata.namespace,
            name: object.metadata.name,
            uid: object.metadata.uid,
            labels: object.metadata.labels.into_iter().collect(),
            owners: object.metadata.owners.into_iter().map(|owner| owner.uid).collect(),
            fields: plucked
                .into_iter()
                .zip(missing)
                .map(|(found, missing)| found.unwrap_or_else(|| missing.clone()))
                .collect(),
            layout: fields.layout,
            splice,
        })
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| &**k == key).map(|(_, value)| &**value)
    }
}

/// The selectable fields of a collection: paths, and what absence counts as.
#[derive(Debug, Default)]
pub struct Fields {
    paths: Paths,
    missing: Vec<Box<str>>,
    /// Equal for equal fields.
    layout: u64,
}

impl Fields {
    /// `(path, what an object without it counts as)`.
    pub fn new<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)> + Clone) -> Fields {
        let mut hasher = DefaultHasher::new();
        fields.clone().into_iter().for_each(|field| field.hash(&mut hasher));
        Fields {
            layout: hasher.finish(),
            paths: Paths::new(fields.clone().into_iter().map(|(path, _)| path)),
            missing: fields.into_iter().map(|(_, missing)| missing.into()).collect(),
        }
    }

    pub(crate) fn layout(&self) -> u64 {
        self.layout
    }
}

#[derive(Deserialize)]
struct RawObject {
    metadata: RawMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMeta {
    #[serde(default)]
    name: Box<str>,
    #[serde(default)]
    namespace: Box<str>,
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    labels: BTreeMap<Box<str>, Box<str>>,
    #[serde(default, rename = "ownerReferences")]
    owners: Vec<RawOwner>,
}

#[derive(Deserialize)]
struct RawOwner {
    #[serde(default)]
    uid: Box<str>,
}
