//! One stored object at one revision: the store's own bytes, and what was parsed of them.

use crate::meta::Meta;
use crate::{Collection, Error, encode};
use bytes::{Bytes, BytesMut};
use mvcc::Entry;
use serde_json::Value;
use std::sync::Arc;

/// See the module. Cheap to clone; holds no copy of the bytes.
#[derive(Clone, Debug)]
pub struct Item {
    bytes: Bytes,
    /// What resourceVersion says. For a deleted object this is the revision of the deletion.
    revision: i64,
    meta: Arc<Meta>,
}

impl Item {
    /// An entry of the store. Its slot is filled on first use and shared by everyone who reads it.
    pub(crate) fn of(collection: &Collection, entry: &Entry) -> Result<Item, Error> {
        Item::at(collection, entry, entry.mod_revision)
    }

    /// [`Item::of`] for those who read many: what cannot be read is logged and left out.
    pub(crate) fn readable(collection: &Collection, entry: &Entry) -> Option<Item> {
        Item::readable_at(collection, entry, entry.mod_revision)
    }

    /// [`Item::at`], likewise.
    pub(crate) fn readable_at(collection: &Collection, entry: &Entry, revision: i64) -> Option<Item> {
        match Item::at(collection, entry, revision) {
            Ok(item) => Some(item),
            Err(error) => {
                tracing::error!(%error, revision = entry.mod_revision, "left out of a list or watch: restore it, or delete it with \
                    ignoreStoreReadErrorWithClusterBreakingPotential");
                None
            }
        }
    }

    /// The last state of an object, as of its deletion at `revision`.
    pub(crate) fn at(collection: &Collection, entry: &Entry, revision: i64) -> Result<Item, Error> {
        Ok(Item {
            bytes: entry.value.clone(),
            revision,
            meta: meta_of(collection, entry)?,
        })
    }

    /// Bytes that were just written at a revision.
    pub(crate) fn written(collection: &Collection, key: &str, bytes: Bytes, revision: i64) -> Result<Item, Error> {
        let meta = Meta::parse(&bytes, collection.fields()).map_err(|why| Error::Corrupt {
            key: key.to_string(),
            why,
        })?;
        Ok(Item {
            bytes,
            revision,
            meta: Arc::new(meta),
        })
    }

    /// The same bytes at another revision.
    pub(crate) fn moved_to(&self, revision: i64) -> Item {
        Item {
            revision,
            ..self.clone()
        }
    }

    pub fn revision(&self) -> i64 {
        self.revision
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The stored form: no resourceVersion.
    pub fn stored(&self) -> &Bytes {
        &self.bytes
    }

    /// Appends the object as JSON, resourceVersion included.
    pub fn write_json(&self, out: &mut BytesMut) {
        encode::splice(out, &self.bytes, self.meta.splice, self.revision);
    }

    /// An upper bound of what [`Item::write_json`] appends.
    pub fn json_len(&self) -> usize {
        encode::spliced_len(self.bytes.len())
    }

    /// The object as JSON, resourceVersion included.
    pub fn json(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.json_len());
        self.write_json(&mut out);
        out.freeze()
    }

    /// The object, resourceVersion included.
    pub fn value(&self) -> Result<Value, Error> {
        let mut value: Value = serde_json::from_slice(&self.bytes).map_err(|error| Error::Corrupt {
            key: self.meta.name.to_string(),
            why: error.to_string(),
        })?;
        value["metadata"]["resourceVersion"] = Value::String(self.revision.to_string());
        Ok(value)
    }
}

fn meta_of(collection: &Collection, entry: &Entry) -> Result<Arc<Meta>, Error> {
    let layout = collection.fields().layout();
    if let Some(meta) = entry.slot.get::<Meta>()
        && meta.layout == layout
    {
        return Ok(meta);
    }
    let meta = Meta::parse(&entry.value, collection.fields()).map_err(|why| Error::Corrupt {
        key: String::from_utf8_lossy(&entry.key).into_owned(),
        why,
    })?;
    // A slot is filled once: what was filled for other selectable fields stays, and these are parsed anew each time.
    let meta = Arc::new(meta);
    let kept = entry.slot.get_or_fill(|| meta.clone());
    Ok(kept.filter(|kept| kept.layout == layout).unwrap_or(meta))
}
