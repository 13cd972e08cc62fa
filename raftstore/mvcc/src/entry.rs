//! Versions of keys, and the changes that a revision made.

use std::{
    any::Any,
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::{BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
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
    /// A live version. One allocation holds the whole message, and key and value are cut out of it: a live entry costs its bytes
    /// once and keeps nothing of the request alive.
    #[must_use]
    pub fn new(key: &[u8], value: &[u8], create_revision: i64, mod_revision: i64, version: i64, lease: i64) -> Self {
        let numbers = [
            (tag::CREATE_REVISION, create_revision),
            (tag::MOD_REVISION, mod_revision),
            (tag::VERSION, version),
        ];
        let mut buffer = BytesMut::with_capacity(key.len() + value.len() + FRAME_BYTES);
        let key_at = put_bytes(&mut buffer, tag::KEY, key);
        for (tag, number) in numbers {
            put_number(&mut buffer, tag, number);
        }
        let value_at = put_bytes(&mut buffer, tag::VALUE, value);
        put_number(&mut buffer, tag::LEASE, lease);
        let encoded = buffer.freeze();
        Self {
            key: cut(&encoded, key_at),
            value: cut(&encoded, value_at),
            create_revision,
            mod_revision,
            version,
            lease,
            slot: Slot::new(),
            encoded,
        }
    }

    /// The mark that `key` was deleted at `mod_revision`.
    #[must_use]
    pub fn tombstone(key: &[u8], mod_revision: i64) -> Self {
        Self::new(key, &[], 0, mod_revision, 0, 0)
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

/// The field numbers of etcd's `KeyValue`, which are written in their order.
mod tag {
    pub const KEY: u32 = 1;
    pub const CREATE_REVISION: u32 = 2;
    pub const MOD_REVISION: u32 = 3;
    pub const VERSION: u32 = 4;
    pub const VALUE: u32 = 5;
    pub const LEASE: u32 = 6;
}

/// The most a `KeyValue` takes beside key and value: six tags, two lengths and four numbers.
const FRAME_BYTES: usize = 6 + 2 * 10 + 4 * 10;

/// Writes a field, unless it is empty: such a one is not there. Returns where its bytes lie.
fn put_bytes(buffer: &mut BytesMut, tag: u32, bytes: &[u8]) -> Range<usize> {
    if !bytes.is_empty() {
        encode_key(tag, WireType::LengthDelimited, buffer);
        encode_varint(bytes.len() as u64, buffer);
        buffer.put_slice(bytes);
    }
    buffer.len() - bytes.len()..buffer.len()
}

fn put_number(buffer: &mut BytesMut, tag: u32, number: i64) {
    if number != 0 {
        encode_key(tag, WireType::Varint, buffer);
        encode_varint(number as u64, buffer);
    }
}

/// A part of `encoded`; an empty one keeps nothing alive.
fn cut(encoded: &Bytes, at: Range<usize>) -> Bytes {
    if at.is_empty() { Bytes::new() } else { encoded.slice(at) }
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
        let tombstone = Entry::tombstone(b"k", 9);
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
