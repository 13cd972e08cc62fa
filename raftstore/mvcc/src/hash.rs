//! Hashes of the keyspace, equal on all members and, of the keys, equal to etcd's for the same history.
//!
//! The hash of the keys goes over what lies in `rev` up to a revision, in order: bucket name, then key and value of each
//! row. Of what lies at or below the compacted revision only the versions that are alive at the hashed revision count, so
//! it does not matter how far the removal of superseded rows has come. (If nothing is alive there, etcd counts what the
//! compaction has left. So do we, as far as that is determined: what was alive at the compacted revision.)

use bytes::Bytes;
use prost::Message;
use proto::etcd::mvccpb::KeyValue;

use crate::{
    Direction, Family, Fault, RangeEnd, ReadError, Rows, Step, View,
    crc32c::Crc32c,
    encoding::{Place, parse_rev_key},
    past,
};

/// etcd's bucket of revisions.
const BUCKET: &[u8] = b"key";

/// A hash of the keyspace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KvHash {
    /// CRC-32C.
    pub hash: u32,
    /// The revision it was taken at.
    pub revision: i64,
    /// The store's revision meanwhile.
    pub current: i64,
    /// The compacted revision that it stands for; 0 before the first compaction. Hashes compare only under equal ones.
    pub compacted: i64,
}

/// Hashes the rows up to `revision`, as left by a compaction at `compacted`. `view` is at or after `revision`.
pub(crate) fn keys(rows: &impl Rows, view: &View, revision: i64, compacted: i64) -> Result<Crc32c, ReadError> {
    let judged = Judge {
        rows,
        view,
        at: if anything_lives(rows, view, revision)? {
            revision
        } else {
            compacted
        },
    };
    let mut crc = Crc32c::new();
    crc.update(BUCKET);
    let mut outcome: Result<(), Fault> = Ok(());
    rows.scan(Family::Rev, Direction::Forward, None, &mut |key, value| match counts(
        &judged, key, value, revision, compacted,
    ) {
        Ok(Some(true)) => {
            crc.update(key);
            crc.update(value);
            Step::Next
        }
        Ok(Some(false)) => Step::Next,
        Ok(None) => Step::Stop,
        Err(fault) => {
            outcome = Err(fault);
            Step::Stop
        }
    })?;
    outcome?;
    Ok(crc)
}

/// Whether a row is part of the hash; `None` behind the last that is.
fn counts(
    judged: &Judge<'_, impl Rows>,
    key: &[u8],
    value: &[u8],
    revision: i64,
    compacted: i64,
) -> Result<Option<bool>, Fault> {
    let (place, tombstone) = parse_rev_key(key)?;
    if place.revision > revision {
        return Ok(None);
    }
    if place.revision > compacted {
        return Ok(Some(true));
    }
    if tombstone {
        return Ok(Some(false));
    }
    let row = KeyValue::decode(value).map_err(|error| Fault::corrupt(Family::Rev, key, error.to_string()))?;
    judged.lives(&row.key, place).map(Some)
}

/// Tells what is alive at a revision.
struct Judge<'a, R> {
    rows: &'a R,
    view: &'a View,
    at: i64,
}

impl<R: Rows> Judge<'_, R> {
    /// Whether this version is the one that its key has.
    fn lives(&self, key: &Bytes, place: Place) -> Result<bool, Fault> {
        if place.revision > self.at {
            return Ok(false);
        }
        if let Some(latest) = self.view.get(key)
            && latest.mod_revision <= self.at
        {
            return Ok(latest.mod_revision == place.revision);
        }
        let found = past::find(self.rows, key, RangeEnd::Single, self.at, 1)?;
        Ok(found
            .entries
            .first()
            .is_some_and(|entry| entry.mod_revision == place.revision))
    }
}

fn anything_lives(rows: &impl Rows, view: &View, revision: i64) -> Result<bool, Fault> {
    let mut live = view.range(&[], RangeEnd::Unbounded);
    if live.any(|entry| entry.create_revision <= revision) {
        return Ok(true);
    }
    Ok(revision < view.revision() && past::find(rows, &[], RangeEnd::Unbounded, revision, 0)?.count > 0)
}

/// Hashes what a view holds besides keys: leases, alarms, users and roles.
pub(crate) fn rest(crc: &mut Crc32c, view: &View) {
    crc.update(Family::Lease.name().as_bytes());
    for lease in view.leases() {
        crc.update(&lease.id.to_be_bytes());
        crc.update(&lease.to_record().encode_to_vec());
    }
    crc.update(b"alarm");
    for alarm in view.alarms() {
        crc.update(&alarm.encode_to_vec());
    }
    crc.update(Family::Auth.name().as_bytes());
    crc.update(&view.auth().to_record().encode_to_vec());
    for user in view.auth().users() {
        crc.update(&user.encode_to_vec());
    }
    for role in view.auth().roles() {
        crc.update(&role.encode_to_vec());
    }
}
