//! Taking in everything another store had: etcd's rows become tables.
//!
//! The rows come in the order in which the other store made them, so each is the newest of its key so far, and one pass
//! builds all tables. Nothing is taken on trust: what would make tables that disagree with each other is refused.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use proto::{
    etcd::{authpb, mvccpb::KeyValue},
    state::{self, Counters, Version},
};
use thiserror::Error;

use crate::{
    Auth, Backend, Direction, FAMILIES, Family, Fault, LogId, Step, WriteBatch, auth,
    encoding::{self, Place, history_key, history_prefix, lease_key, parse_rev_key, rev_key},
    view::FIRST_REVISION,
};

/// Bytes of rows written at once.
const BATCH_BYTES: usize = 4 << 20;

/// Leaves room for a bump and for everything that is written later.
const REVISION_MAX: i64 = i64::MAX / 4;

/// Why rows were not taken in.
#[derive(Debug, Error)]
pub enum ImportError {
    /// There is something already.
    #[error("the tables are not empty")]
    NotEmpty,
    /// A row of the other store is not what it should be.
    #[error("{what} is not usable: {reason}")]
    Malformed {
        /// Which row.
        what: String,
        /// Why.
        reason: String,
    },
    /// The tables failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// How an import ends.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// The compacted revision of the other store; 0 if there was none.
    pub compacted: i64,
    /// How far the revision moves up. What the other store's clients have seen since then has revisions that are used
    /// again; so that none is taken for an old one, everything up to the new revision is then compacted.
    pub bump: i64,
    /// The log entry that the tables stand for.
    pub applied: LogId,
    /// The caller's records, as in [`Machine::advance`](crate::Machine::advance).
    pub records: &'a [(&'a str, Bytes)],
}

/// What was taken in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Imported {
    /// The store's revision.
    pub revision: i64,
    /// The compacted revision.
    pub compacted: i64,
    /// Versions of keys, tombstones included.
    pub versions: u64,
    /// Leases.
    pub leases: usize,
    /// Live keys that named a lease which is not there. They have none now.
    pub without_lease: u64,
}

/// An import under way. Leases come first, for the rows name them.
pub struct Import<'a, B: Backend> {
    backend: &'a B,
    writes: WriteBatch,
    last: Option<Place>,
    leases: BTreeSet<i64>,
    /// Keys whose newest version so far names a lease that is not there.
    orphans: BTreeMap<Bytes, Place>,
    imported: Imported,
}

fn malformed(what: impl Into<String>, reason: impl Into<String>) -> ImportError {
    ImportError::Malformed {
        what: what.into(),
        reason: reason.into(),
    }
}

impl<'a, B: Backend> Import<'a, B> {
    /// An import into tables that hold nothing.
    pub fn into_empty(backend: &'a B) -> Result<Self, ImportError> {
        let mut empty = true;
        for family in FAMILIES {
            backend.scan(family, Direction::Forward, None, &mut |_, _| {
                empty = false;
                Step::Stop
            })?;
        }
        if !empty {
            return Err(ImportError::NotEmpty);
        }
        Ok(Self {
            backend,
            writes: WriteBatch::new(),
            last: None,
            leases: BTreeSet::new(),
            orphans: BTreeMap::new(),
            imported: Imported::default(),
        })
    }

    /// Takes a lease.
    pub fn lease(&mut self, id: i64, ttl_s: i64, remaining_ttl_s: i64) -> Result<(), ImportError> {
        let refused = |reason: String| Err(malformed(format!("lease {id:x}"), reason));
        if id <= 0 {
            return refused(format!("its id is {id}, which is not positive"));
        }
        if ttl_s <= 0 {
            return refused(format!("its time is {ttl_s} s"));
        }
        if !self.leases.insert(id) {
            return refused("there are two of it".into());
        }
        let record = state::Lease {
            ttl_s,
            remaining_ttl_s: remaining_ttl_s.clamp(0, ttl_s),
        };
        self.put(Family::Lease, lease_key(id), encoding::encode(&record))
    }

    /// Takes a row of etcd's keys: a revision, and the `KeyValue` of it.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), ImportError> {
        let what = || format!("the version of a key at {}", place_words(key));
        let (place, tombstone) = parse_rev_key(key).map_err(|_| malformed(what(), "it is no revision"))?;
        if self.last.is_some_and(|last| last >= place) || place.revision < FIRST_REVISION || place.sub < 0 {
            return Err(malformed(what(), "it does not come after the one before it"));
        }
        if place.revision > REVISION_MAX {
            return Err(malformed(
                what(),
                "no store comes that far: there would be no room for new ones",
            ));
        }
        let kv = KeyValue::decode(value).map_err(|error| malformed(what(), error.to_string()))?;
        if kv.key.is_empty() || tombstone != (kv.version == 0) {
            return Err(malformed(what(), "it has no key, or is half a deletion"));
        }
        let lives =
            kv.version > 0 && kv.mod_revision == place.revision && (1..=kv.mod_revision).contains(&kv.create_revision);
        if !tombstone && !lives {
            return Err(malformed(
                what(),
                format!(
                    "it says that it is version {} of revision {}",
                    kv.version, kv.mod_revision
                ),
            ));
        }
        self.last = Some(place);
        self.imported.versions += 1;
        self.version(place, tombstone, kv, value)
    }

    fn version(&mut self, place: Place, tombstone: bool, kv: KeyValue, value: &[u8]) -> Result<(), ImportError> {
        let history = history_key(history_prefix(&kv.key), place.revision);
        self.orphans.remove(&kv.key);
        if tombstone {
            let row = KeyValue {
                key: kv.key.clone(),
                ..KeyValue::default()
            };
            let version = Version {
                sub: place.sub,
                ..Version::default()
            };
            self.put(Family::Rev, rev_key(place, true), encoding::encode(&row))?;
            self.put(Family::History, history, encoding::encode(&version))?;
            self.writes.delete(Family::Latest, kv.key);
            return Ok(());
        }
        // Old versions may name leases that are gone, the newest must not.
        if kv.lease != 0 && !self.leases.contains(&kv.lease) {
            self.orphans.insert(kv.key.clone(), place);
        }
        self.put(Family::Rev, rev_key(place, false), Bytes::copy_from_slice(value))?;
        self.live(&kv, place)
    }

    /// Writes what the tables besides `rev` say of a version that is no deletion.
    fn live(&mut self, kv: &KeyValue, place: Place) -> Result<(), ImportError> {
        let mut version = Version {
            mod_revision: 0,
            sub: place.sub,
            create_revision: kv.create_revision,
            version: kv.version,
            lease: kv.lease,
        };
        let history = history_key(history_prefix(&kv.key), place.revision);
        self.put(Family::History, history, encoding::encode(&version))?;
        version.mod_revision = place.revision;
        self.put(Family::Latest, kv.key.clone(), encoding::encode(&version))
    }

    /// Takes the lease from keys whose lease is not there.
    fn adopt(&mut self) -> Result<(), ImportError> {
        self.write()?;
        for (_, place) in std::mem::take(&mut self.orphans) {
            let row = rev_key(place, false);
            let Some(stored) = self.backend.get(Family::Rev, &row)? else {
                return Err(Fault::corrupt(Family::Rev, &row, "it was just written and is not there").into());
            };
            let mut kv: KeyValue = encoding::decode(Family::Rev, &row, &stored)?;
            kv.lease = 0;
            self.put(Family::Rev, row, encoding::encode(&kv))?;
            self.live(&kv, place)?;
            self.imported.without_lease += 1;
        }
        Ok(())
    }

    /// Takes a role.
    pub fn role(&mut self, mut role: authpb::Role) -> Result<(), ImportError> {
        let name = named(&role.name, "a role")?;
        role.key_permission
            .sort_by(|a, b| (&a.key, &a.range_end).cmp(&(&b.key, &b.range_end)));
        self.put(Family::Auth, auth::role_key(&name), encoding::encode(&role))
    }

    /// Takes a user, whose password was set at an auth revision.
    pub fn user(&mut self, mut user: authpb::User, since: u64) -> Result<(), ImportError> {
        let name = named(&user.name, "a user")?;
        user.roles.sort();
        let record = state::User {
            user: Some(user),
            since,
        };
        self.put(Family::Auth, auth::user_key(&name), encoding::encode(&record))
    }

    /// Takes whether authentication is enabled, and the secret that signs its tokens from now on.
    pub fn auth(&mut self, enabled: bool, revision: u64, secret: Bytes) -> Result<(), ImportError> {
        let record = state::Auth {
            enabled,
            revision: revision.max(Auth::default().revision()),
            secret: if enabled { secret } else { Bytes::new() },
        };
        self.put(Family::Auth, auth::WHOLE, encoding::encode(&record))
    }

    fn put(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), ImportError> {
        self.writes.put(family, key, value);
        if self.writes.size() >= BATCH_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), ImportError> {
        Ok(self.backend.write(&std::mem::take(&mut self.writes))?)
    }

    /// Completes the tables and makes them durable.
    pub fn finish(mut self, ending: &Ending<'_>) -> Result<Imported, ImportError> {
        self.adopt()?;
        let Ending { compacted, bump, .. } = *ending;
        let newest = self.last.map_or(FIRST_REVISION, |last| last.revision).max(compacted);
        let revision = newest
            .checked_add(bump)
            .filter(|to| bump >= 0 && compacted >= 0 && *to <= 2 * REVISION_MAX);
        let revision =
            revision.ok_or_else(|| malformed(format!("revision {newest}"), format!("it cannot move by {bump}")))?;
        self.imported.revision = revision;
        self.imported.compacted = if bump > 0 { revision } else { compacted };
        self.imported.leases = self.leases.len();
        let counters = Counters {
            revision,
            compacted: self.imported.compacted,
        };
        self.put(Family::Meta, encoding::COUNTERS, encoding::encode(&counters))?;
        for (name, record) in ending.records {
            self.put(Family::Meta, encoding::record_key(name), record.clone())?;
        }
        self.put(Family::Meta, encoding::APPLIED, ending.applied.encode())?;
        self.write()?;
        self.backend.flush()?;
        Ok(self.imported)
    }
}

fn named(name: &[u8], what: &str) -> Result<String, ImportError> {
    let name = String::from_utf8(name.to_vec()).map_err(|error| malformed(what, error.to_string()))?;
    if name.is_empty() {
        return Err(malformed(what, "it has no name"));
    }
    Ok(name)
}

fn place_words(key: &[u8]) -> String {
    match parse_rev_key(key) {
        Ok((place, _)) => format!("revision {}, place {}", place.revision, place.sub),
        Err(_) => format!("{key:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Machine, Memory, RangeEnd, verify};

    fn kv(key: &str, revision: i64, version: i64, lease: i64) -> Vec<u8> {
        KeyValue {
            key: key.to_owned().into(),
            create_revision: revision - version + 1,
            mod_revision: revision,
            version,
            value: "v".into(),
            lease,
        }
        .encode_to_vec()
    }

    fn at(revision: i64, sub: i64, tombstone: bool) -> Bytes {
        rev_key(Place { revision, sub }, tombstone).into()
    }

    fn ending(compacted: i64, bump: i64) -> Ending<'static> {
        Ending {
            compacted,
            bump,
            applied: LogId { term: 1, index: 1 },
            records: &[],
        }
    }

    fn deleted(key: &str) -> Vec<u8> {
        KeyValue {
            key: key.to_owned().into(),
            ..KeyValue::default()
        }
        .encode_to_vec()
    }

    fn import(memory: &Memory, ending: &Ending<'_>) -> Imported {
        let mut import = Import::into_empty(memory).expect("empty");
        import.lease(7, 60, 30).expect("a lease");
        for (key, value) in [
            (at(2, 0, false), kv("a", 2, 1, 7)),
            (at(3, 0, false), kv("a", 3, 2, 7)),
            (at(3, 1, false), kv("b", 3, 1, 8)),
            (at(3, 2, false), kv("c", 3, 1, 8)),
            (at(4, 0, true), deleted("b")),
        ] {
            import.row(&key, &value).expect("a row");
        }
        import.finish(ending).expect("done")
    }

    #[test]
    fn rows_become_tables_that_agree_and_go_on() {
        let memory = Memory::new();
        let imported = import(&memory, &ending(0, 0));
        let expected = Imported {
            revision: 4,
            compacted: 0,
            versions: 5,
            leases: 1,
            without_lease: 1,
        };
        assert_eq!(imported, expected);
        let verified = verify(&memory);
        assert!(verified.problems.is_empty(), "{:?}", verified.problems);
        let machine = Machine::open(Arc::new(memory)).expect("it opens");
        let view = machine.view();
        assert_eq!((view.revision(), view.key_count()), (4, 2));
        assert_eq!(view.get(b"a").expect("it lives").version, 2);
        assert_eq!(view.get(b"c").expect("it lives").lease, 0);
        assert_eq!(view.lease(7).expect("it is there").keys.len(), 1);
        assert_eq!(view.applied(), Some(LogId { term: 1, index: 1 }));
        // The past is there too.
        let old = machine.reader().blocks(2, 3, usize::MAX).expect("not compacted");
        assert_eq!(old.blocks.len(), 2);
        assert_eq!(old.blocks[1].events[1].entry.lease, 8, "what is past is as it was");
    }

    #[test]
    fn a_bumped_revision_has_no_past() {
        let memory = Memory::new();
        assert_eq!(import(&memory, &ending(3, 100)).revision, 104);
        let machine = Machine::open(Arc::new(memory.clone())).expect("it opens");
        assert_eq!((machine.view().revision(), machine.view().compacted()), (104, 104));
        assert!(machine.reader().blocks(103, 104, 1).is_err());
        while !machine.physical_compact(1).expect("it sweeps").done {}
        assert!(verify(&memory).problems.is_empty());
        assert_eq!(machine.view().count(b"", RangeEnd::Unbounded), 2);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let memory = Memory::new();
        let refused = |key: &[u8], value: &[u8]| {
            let mut import = Import::into_empty(&memory).expect("empty");
            import.row(&at(5, 1, false), &kv("a", 5, 1, 0)).expect("a row");
            import.row(key, value).unwrap_err().to_string()
        };
        for (key, value, expected) in [
            (&at(5, 1, false)[..], kv("b", 5, 1, 0), "does not come after"),
            (&at(4, 0, false), kv("b", 4, 1, 0), "revision 4, place 0"),
            (b"key", kv("b", 6, 1, 0), "no revision"),
            (&at(6, 0, true), kv("b", 6, 1, 0), "half a deletion"),
            (&at(6, 0, false), deleted("b"), "half a deletion"),
            (&at(6, 0, false), kv("b", 7, 1, 0), "of revision 7"),
            (&at(6, 0, false), kv("", 6, 1, 0), "no key"),
            (&at(6, 0, false), b"\xff".to_vec(), "decode"),
        ] {
            let error = refused(key, &value);
            assert!(error.contains(expected), "{error}");
        }
        import(&memory, &ending(0, 0));
        assert!(matches!(Import::into_empty(&memory), Err(ImportError::NotEmpty)));
    }
}
