//! Versions of keys, and the changes that a revision made.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::{Bytes, BytesMut};
use prost::{Message, encoding::encoded_len_varint};
use proto::etcd::mvccpb::KeyValue;

/// A place for what a layer above derives from an entry or event, filled at most once and shared by every holder.
#[derive(Default)]
pub struct Slot(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Slot {
    /// An empty slot.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// What was put in, if it is a `T`.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.get().cloned()?.downcast().ok()
    }

    /// What was put in, made by `fill` the first time. `None` if the slot holds something that is not a `T`.
    pub fn get_or_fill<T: Send + Sync + 'static>(&self, fill: impl FnOnce() -> Arc<T>) -> Option<Arc<T>> {
        self.0.get_or_init(|| fill()).clone().downcast().ok()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() {
            "Slot(filled)"
        } else {
            "Slot(empty)"
        })
    }
}

/// One version of a key. Immutable, held in an [`Arc`].
#[derive(Debug)]
pub struct Entry {
    pub key: Bytes,
    pub value: Bytes,
    /// The revision that created this incarnation of the key; 0 of a tombstone.
    pub create_revision: i64,
    pub mod_revision: i64,
    /// Puts since creation, from 1. 0 marks a tombstone.
    pub version: i64,
    /// The attached lease, or 0.
    pub lease: i64,
    pub slot: Slot,
    /// The whole entry as etcd's `KeyValue` message; `key` and `value` are parts of the same allocation.
    encoded: Bytes,
}

impl Entry {
    /// A live version.
    #[must_use]
    pub fn new(key: &[u8], value: &[u8], create_revision: i64, mod_revision: i64, version: i64, lease: i64) -> Self {
        let message = KeyValue {
            key: Bytes::copy_from_slice(key),
            create_revision,
            mod_revision,
            version,
            value: Bytes::copy_from_slice(value),
            lease,
        };
        Self::from_message(message)
    }

    /// The mark that `key` was deleted at `mod_revision`.
    #[must_use]
    pub fn tombstone(key: Bytes, mod_revision: i64) -> Self {
        Self::from_message(KeyValue {
            key,
            mod_revision,
            ..KeyValue::default()
        })
    }

    /// Reads an encoded `KeyValue`. Key and value stay parts of `encoded`.
    pub fn decode(encoded: Bytes) -> Result<Self, prost::DecodeError> {
        let message = KeyValue::decode(encoded.clone())?;
        Ok(Self {
            key: message.key,
            value: message.value,
            create_revision: message.create_revision,
            mod_revision: message.mod_revision,
            version: message.version,
            lease: message.lease,
            slot: Slot::new(),
            encoded,
        })
    }

    /// Makes one allocation of the message and cuts key and value out of it, so that a live entry costs its bytes once
    /// and keeps nothing of the request alive.
    fn from_message(message: KeyValue) -> Self {
        let mut buffer = BytesMut::with_capacity(message.encoded_len());
        message.encode(&mut buffer).expect("a BytesMut grows");
        let encoded = buffer.freeze();
        let key_start = 1 + encoded_len_varint(message.key.len() as u64);
        let key = cut(&encoded, key_start, message.key.len());
        // The message ends with the value and, unless it is 0, the lease.
        let lease_len = if message.lease == 0 {
            0
        } else {
            1 + encoded_len_varint(message.lease as u64)
        };
        let value = cut(
            &encoded,
            encoded.len().saturating_sub(lease_len + message.value.len()),
            message.value.len(),
        );
        debug_assert_eq!((&key, &value), (&message.key, &message.value));
        Self {
            key,
            value,
            create_revision: message.create_revision,
            mod_revision: message.mod_revision,
            version: message.version,
            lease: message.lease,
            slot: Slot::new(),
            encoded,
        }
    }

    /// Whether this marks a deletion.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.version == 0
    }

    /// etcd's message for this entry. Cheap: the bytes are shared.
    #[must_use]
    pub fn to_kv(&self) -> KeyValue {
        KeyValue {
            key: self.key.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            value: self.value.clone(),
            lease: self.lease,
        }
    }

    /// [`to_kv`](Self::to_kv), already encoded: to be concatenated into responses without encoding again.
    #[must_use]
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }
}

/// A part of `encoded`; an empty field is not encoded at all and has no place to be cut from.
fn cut(encoded: &Bytes, start: usize, len: usize) -> Bytes {
    if len == 0 {
        Bytes::new()
    } else {
        encoded.slice(start..start + len)
    }
}

/// One change of one key.
#[derive(Debug)]
pub struct Event {
    /// The key after the change; a tombstone if it was deleted.
    pub entry: Arc<Entry>,
    /// The key before the change, if it existed. Events read back at the compacted revision itself have none.
    pub prev: Option<Arc<Entry>>,
    pub slot: Slot,
}

impl Event {
    pub(crate) fn new(entry: Arc<Entry>, prev: Option<Arc<Entry>>) -> Self {
        Self {
            entry,
            prev,
            slot: Slot::new(),
        }
    }

    /// Whether the key was deleted.
    #[must_use]
    pub fn is_delete(&self) -> bool {
        self.entry.is_tombstone()
    }
}

/// Everything one revision changed, in order. Never split.
#[derive(Debug)]
pub struct Block {
    pub revision: i64,
    /// Never empty.
    pub events: Vec<Event>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_its_encoding() {
        for (key, value, lease) in [
            ("k", "v", 0),
            ("key", "", 7),
            ("k", "v", -1),
            ("", "", 0),
            ("", "v", i64::MAX),
        ] {
            let entry = Entry::new(key.as_bytes(), value.as_bytes(), 3, 300, 2, lease);
            assert_eq!((&entry.key[..], &entry.value[..]), (key.as_bytes(), value.as_bytes()));
            assert_eq!(&entry.encoded()[..], entry.to_kv().encode_to_vec());
            let again = Entry::decode(entry.encoded().clone()).expect("just encoded");
            assert_eq!(again.to_kv(), entry.to_kv());
        }
    }

    #[test]
    fn a_tombstone_has_key_and_revision_only() {
        let tombstone = Entry::tombstone(Bytes::from_static(b"k"), 9);
        assert!(tombstone.is_tombstone());
        let expected = KeyValue {
            key: Bytes::from_static(b"k"),
            mod_revision: 9,
            ..KeyValue::default()
        };
        assert_eq!(
            KeyValue::decode(tombstone.encoded().clone()).expect("just encoded"),
            expected
        );
    }

    #[test]
    fn a_slot_is_filled_once() {
        let slot = Slot::new();
        assert_eq!(slot.get::<u32>(), None);
        assert_eq!(slot.get_or_fill(|| Arc::new(1_u32)).as_deref(), Some(&1));
        assert_eq!(slot.get_or_fill(|| Arc::new(2_u32)).as_deref(), Some(&1));
        assert_eq!(slot.get::<String>(), None, "of another type");
    }
}
