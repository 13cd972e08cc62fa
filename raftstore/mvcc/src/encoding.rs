//! The forms of row keys and of the small records. They are stored: changing one needs a migration.

use bytes::{BufMut, Bytes};
use prost::Message;
use proto::state;

use crate::{Family, Fault};

/// `Meta` keys of the machine.
pub(crate) const APPLIED: &[u8] = b"applied";
pub(crate) const COUNTERS: &[u8] = b"counters";
pub(crate) const ALARMS: &[u8] = b"alarms";
/// How far physical compaction has come.
pub(crate) const SWEEP: &[u8] = b"sweep";
/// Before the names of the caller's records in `Meta`.
const RECORD_PREFIX: &[u8] = b"record/";

const REV_KEY_LEN: usize = 17;
const TOMBSTONE_MARK: u8 = b't';
/// Ends a key inside a `History` key. Inside, a zero byte is followed by 0xff, so this sorts before any longer key.
const KEY_END: [u8; 2] = [0, 1];
/// Sorts after every row of a key and before every longer key.
const AFTER_KEY_END: [u8; 2] = [0, 2];
const ESCAPED_ZERO: [u8; 2] = [0, 0xff];
const REVISION_LEN: usize = 8;

/// A place in `Rev`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    pub revision: i64,
    pub sub: i64,
}

/// The key of a row in `Rev`: etcd's form, so that its hash can be computed over it.
pub(crate) fn rev_key(place: Place, tombstone: bool) -> Vec<u8> {
    let mut key = Vec::with_capacity(REV_KEY_LEN + 1);
    put_rev_key(place, tombstone, &mut key);
    key
}

/// Appends what [`rev_key`] makes.
pub(crate) fn put_rev_key(place: Place, tombstone: bool, buffer: &mut Vec<u8>) {
    buffer.put_i64(place.revision);
    buffer.put_u8(b'_');
    buffer.put_i64(place.sub);
    if tombstone {
        buffer.put_u8(TOMBSTONE_MARK);
    }
}

/// The place and whether it is a tombstone.
pub(crate) fn parse_rev_key(key: &[u8]) -> Result<(Place, bool), Fault> {
    let malformed = || Fault::corrupt(Family::Rev, key, "malformed key");
    let number = |at: usize| -> Option<i64> { Some(i64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?)) };
    let revision = number(0).ok_or_else(malformed)?;
    let sub = number(9).ok_or_else(malformed)?;
    let tombstone = match key.len() - REV_KEY_LEN {
        0 => false,
        1 if key[REV_KEY_LEN] == TOMBSTONE_MARK => true,
        _ => return Err(malformed()),
    };
    Ok((Place { revision, sub }, tombstone))
}

/// The part of a `History` key that all versions of `key` share. Sorts as the keys do.
pub(crate) fn history_prefix(key: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(key.len() + KEY_END.len() + REVISION_LEN);
    put_history_prefix(key, &mut prefix);
    prefix
}

fn put_history_prefix(key: &[u8], buffer: &mut Vec<u8>) {
    for part in key.split_inclusive(|byte| *byte == 0) {
        buffer.extend_from_slice(part);
        if part.ends_with(&[0]) {
            buffer.push(ESCAPED_ZERO[1]);
        }
    }
    buffer.extend_from_slice(&KEY_END);
}

/// Where a scan goes on behind all versions of the key with this `prefix`.
pub(crate) fn history_after(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    let end = after.len() - KEY_END.len();
    after[end..].copy_from_slice(&AFTER_KEY_END);
    after
}

/// The `History` key of one version: newer ones sort first.
pub(crate) fn history_key(mut prefix: Vec<u8>, revision: i64) -> Vec<u8> {
    prefix.extend_from_slice(&(!revision).to_be_bytes());
    prefix
}

/// Appends the `History` key of one version of `key`.
pub(crate) fn put_history_key(key: &[u8], revision: i64, buffer: &mut Vec<u8>) {
    put_history_prefix(key, buffer);
    buffer.put_i64(!revision);
}

/// The prefix and the revision.
pub(crate) fn parse_history_key(row: &[u8]) -> Result<(&[u8], i64), Fault> {
    let malformed = || Fault::corrupt(Family::History, row, "malformed key");
    let at = row.len().checked_sub(REVISION_LEN).ok_or_else(malformed)?;
    let (prefix, revision) = row.split_at(at);
    let revision = !i64::from_be_bytes(revision.try_into().map_err(|_| malformed())?);
    if !prefix.ends_with(&KEY_END) || revision < 0 {
        return Err(malformed());
    }
    Ok((prefix, revision))
}

pub(crate) fn lease_key(id: i64) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

pub(crate) fn parse_lease_key(key: &[u8]) -> Result<i64, Fault> {
    let bytes = key
        .try_into()
        .map_err(|_| Fault::corrupt(Family::Lease, key, "malformed key"))?;
    Ok(i64::from_be_bytes(bytes))
}

/// The `Meta` key of one of the caller's records.
pub(crate) fn record_key(name: &str) -> Bytes {
    [RECORD_PREFIX, name.as_bytes()].concat().into()
}

pub(crate) fn encode(record: &impl Message) -> Bytes {
    record.encode_to_vec().into()
}

/// Appends a record.
pub(crate) fn put(record: &impl Message, buffer: &mut Vec<u8>) {
    record.encode(buffer).expect("a Vec grows");
}

/// Decodes the value of a row, naming the row if it cannot be.
pub(crate) fn decode<M: Message + Default>(family: Family, key: &[u8], value: &[u8]) -> Result<M, Fault> {
    M::decode(value).map_err(|error| Fault::corrupt(family, key, error.to_string()))
}

pub(crate) fn decode_version(family: Family, key: &[u8], value: &[u8]) -> Result<state::Version, Fault> {
    decode(family, key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order that must hold between keys, with the bytes that make it hard.
    const KEYS: [&[u8]; 9] = [
        b"", b"\0", b"\0\0", b"\0\x01", b"\0\xff", b"a", b"a\0", b"a\0\xff", b"a\xff",
    ];

    #[test]
    fn history_sorts_by_key_then_newest_first() {
        let mut rows = Vec::new();
        for key in KEYS {
            for revision in [i64::MAX, 300, 2, 1] {
                rows.push(history_key(history_prefix(key), revision));
            }
            rows.push(history_after(&history_prefix(key)));
        }
        assert!(rows.is_sorted(), "{rows:?}");
    }

    #[test]
    fn history_keys_read_back() {
        let row = history_key(history_prefix(b"a\0b"), 77);
        let (prefix, revision) = parse_history_key(&row).expect("well formed");
        assert_eq!((prefix, revision), (&history_prefix(b"a\0b")[..], 77));
        assert!(parse_history_key(b"short").is_err());
        assert!(parse_history_key(&[0xff; 12]).is_err());
    }

    #[test]
    fn rev_keys_are_those_of_etcd() {
        let place = Place { revision: 258, sub: 3 };
        assert_eq!(&rev_key(place, false)[..], b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        assert_eq!(&rev_key(place, true)[..], b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03t");
        assert_eq!(
            parse_rev_key(&rev_key(place, true)).expect("well formed"),
            (place, true)
        );
        for malformed in [
            &b""[..],
            b"\0\0\0\0\0\0\0\x01",
            &[0; 19],
            b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03x",
        ] {
            assert!(parse_rev_key(malformed).is_err(), "{malformed:?}");
        }
    }
}
