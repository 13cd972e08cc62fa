//! Checking that the tables agree with each other.
//!
//! Every version of a key is in `rev` and in `history`, the newest of a live key in `latest` too; leases that keys name are
//! there; nothing is newer than the counters say. Rows that lie about each other were damaged in a way that no checksum of
//! the storage below sees, or were written by a fault of ours.

use prost::Message;
use proto::{etcd::mvccpb::KeyValue, state::Version};

use crate::{
    Direction, Family, Fault, LogId, Rows, Step,
    encoding::{self, Place, history_key, history_prefix, parse_history_key, parse_rev_key, rev_key},
    load,
};

/// So many problems are told; who has more, has enough.
const PROBLEMS_MAX: usize = 20;

/// What the tables hold, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Verified {
    /// The last log entry applied.
    pub applied: Option<LogId>,
    /// The store's revision.
    pub revision: i64,
    /// The compacted revision.
    pub compacted: i64,
    /// Live keys.
    pub keys: usize,
    /// Versions of keys, tombstones included.
    pub versions: usize,
    /// Leases.
    pub leases: usize,
    /// The first few things that are wrong.
    pub problems: Vec<Fault>,
}

/// Reads every row of every table.
pub fn verify(rows: &impl Rows) -> Verified {
    let mut verified = Verified::default();
    if let Err(fault) = verified.check(rows) {
        verified.problems.push(fault);
    }
    verified
}

impl Verified {
    fn check(&mut self, rows: &impl Rows) -> Result<(), Fault> {
        // Reads `latest`, `lease`, `auth` and `meta` whole, and the newest versions.
        let state = load::state(rows)?;
        (self.applied, self.revision, self.compacted) = (state.applied, state.revision, state.compacted);
        (self.keys, self.leases) = (state.index.len(), state.leases.len());
        if self.compacted > self.revision {
            let reason = format!(
                "compacted revision {} is above revision {}",
                self.compacted, self.revision
            );
            self.problem(Fault::corrupt(Family::Meta, encoding::COUNTERS, reason));
        }
        self.revisions(rows)?;
        self.history(rows)?;
        self.latest(rows)
    }

    fn problem(&mut self, fault: Fault) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(fault);
        }
    }

    /// Visits a table; a row with a fault is noted, and the walk goes on.
    fn each(
        &mut self,
        rows: &impl Rows,
        family: Family,
        mut visit: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        rows.scan(family, Direction::Forward, None, &mut |key, value| {
            if let Err(fault) = visit(self, key, value) {
                self.problem(fault);
            }
            if self.problems.len() < PROBLEMS_MAX {
                Step::Next
            } else {
                Step::Stop
            }
        })
    }

    /// Each row of `rev` is what it says, and `history` knows it.
    fn revisions(&mut self, rows: &impl Rows) -> Result<(), Fault> {
        let revision = self.revision;
        self.each(rows, Family::Rev, |found, key, value| {
            found.versions += 1;
            let corrupt = |reason: String| Fault::corrupt(Family::Rev, key, reason);
            let (place, tombstone) = parse_rev_key(key)?;
            let kv = KeyValue::decode(value).map_err(|error| corrupt(error.to_string()))?;
            if place.revision > revision {
                return Err(corrupt(format!("it is newer than revision {revision}")));
            }
            if tombstone != (kv.version == 0) || (!tombstone && kv.mod_revision != place.revision) {
                return Err(corrupt(format!(
                    "it holds revision {} version {}",
                    kv.mod_revision, kv.version
                )));
            }
            let known = history_of(rows, &kv.key, place.revision)?;
            // Overwritten within its own revision, it is not in the history.
            match known {
                Some(version) if version.sub > place.sub => Ok(()),
                Some(version) if version.sub == place.sub && describes(&version, &kv) => Ok(()),
                Some(_) => Err(corrupt("the history says otherwise".into())),
                None => Err(corrupt("it is not in the history".into())),
            }
        })
    }

    /// Each row of `history` has its version in `rev`, and the newest of a key is the one in `latest`.
    fn history(&mut self, rows: &impl Rows) -> Result<(), Fault> {
        let mut previous: Vec<u8> = Vec::new();
        self.each(rows, Family::History, |_, row, value| {
            let corrupt = |reason: &str| Fault::corrupt(Family::History, row, reason);
            let (prefix, revision) = parse_history_key(row)?;
            let version = encoding::decode_version(Family::History, row, value)?;
            let place = Place {
                revision,
                sub: version.sub,
            };
            let newest = previous != prefix;
            if newest {
                previous = prefix.to_vec();
            }
            let stored = rows.get(Family::Rev, &rev_key(place, version.version == 0))?;
            let stored = stored.ok_or_else(|| corrupt("its version is gone"))?;
            let kv = KeyValue::decode(stored).map_err(|error| corrupt(&error.to_string()))?;
            if history_prefix(&kv.key) != prefix {
                return Err(corrupt("its version is of another key"));
            }
            if newest {
                let latest = rows.get(Family::Latest, &kv.key)?;
                let expected = Version {
                    mod_revision: revision,
                    ..version
                };
                let agrees = match latest {
                    Some(latest) => encoding::decode_version(Family::Latest, &kv.key, &latest)? == expected,
                    None => version.version == 0,
                };
                if !agrees {
                    return Err(corrupt("it is the newest version, and `latest` says otherwise"));
                }
            }
            Ok(())
        })
    }

    /// Each live key has a history; the rest was compared from there.
    fn latest(&mut self, rows: &impl Rows) -> Result<(), Fault> {
        self.each(rows, Family::Latest, |_, key, value| {
            let version = encoding::decode_version(Family::Latest, key, value)?;
            match history_of(rows, key, version.mod_revision)? {
                Some(_) => Ok(()),
                None => Err(Fault::corrupt(Family::Latest, key, "it is not in the history")),
            }
        })
    }
}

fn history_of(rows: &impl Rows, key: &[u8], revision: i64) -> Result<Option<Version>, Fault> {
    let row = history_key(history_prefix(key), revision);
    let stored = rows.get(Family::History, &row)?;
    stored
        .map(|stored| encoding::decode_version(Family::History, &row, &stored))
        .transpose()
}

fn describes(version: &Version, kv: &KeyValue) -> bool {
    (version.version, version.create_revision, version.lease) == (kv.version, kv.create_revision, kv.lease)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proto::{
        etcd::etcdserverpb::{DeleteRangeRequest, LeaseGrantRequest, PutRequest},
        raft::{Batch, Request, request::Op},
    };

    use super::*;
    use crate::{Backend, Machine, Memory, WriteBatch};

    /// Keys, one of them put twice, one deleted, one with a lease.
    fn tables() -> Memory {
        let memory = Memory::new();
        let mut machine = Machine::open(Arc::new(memory.clone())).expect("empty tables open");
        let put = |key: &'static str, lease| {
            Op::Put(PutRequest {
                key: key.into(),
                value: "v".into(),
                lease,
                ..Default::default()
            })
        };
        let grant = Op::LeaseGrant(LeaseGrantRequest { ttl: 60, id: 7 });
        let delete = Op::DeleteRange(DeleteRangeRequest {
            key: "b".into(),
            ..Default::default()
        });
        let ops = [grant, put("a", 0), put("a", 7), put("b", 0), delete, put("c", 0)];
        let request = |op| Request {
            op: Some(op),
            identity: None,
        };
        let batch = Batch {
            requests: ops.into_iter().map(request).collect(),
        };
        machine.apply(LogId { term: 1, index: 1 }, &batch).expect("they apply");
        memory
    }

    fn problems(memory: &Memory) -> Vec<String> {
        verify(memory).problems.iter().map(ToString::to_string).collect()
    }

    fn row(family: Family, memory: &Memory, at: usize) -> (Bytes, Bytes) {
        let mut found = Vec::new();
        let scanned = memory.scan(family, Direction::Forward, None, &mut |key, value| {
            found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            Step::Next
        });
        scanned.expect("it is in memory");
        found.swap_remove(at)
    }

    #[test]
    fn tables_that_were_written_by_the_machine_agree() {
        let verified = verify(&tables());
        assert!(verified.problems.is_empty(), "{:?}", verified.problems);
        assert_eq!(
            (verified.keys, verified.versions, verified.leases, verified.revision),
            (2, 5, 1, 6)
        );
    }

    #[test]
    fn any_row_that_is_lost_is_missed() {
        let counts = [
            (Family::Rev, 5),
            (Family::History, 5),
            (Family::Latest, 2),
            (Family::Lease, 1),
        ];
        for (family, count) in counts {
            for at in 0..count {
                let memory = tables();
                let mut writes = WriteBatch::new();
                writes.delete(family, row(family, &memory, at).0);
                memory.write(&writes).expect("it is in memory");
                assert!(!problems(&memory).is_empty(), "{family:?} {at}");
            }
        }
    }

    #[test]
    fn rows_that_were_exchanged_are_noticed() {
        for family in [Family::Rev, Family::History, Family::Latest] {
            let memory = tables();
            let ((one, first), (two, second)) = (row(family, &memory, 0), row(family, &memory, 1));
            let mut writes = WriteBatch::new();
            writes.put(family, one, second);
            writes.put(family, two, first);
            memory.write(&writes).expect("it is in memory");
            assert!(!problems(&memory).is_empty(), "{family:?}");
        }
    }
}
