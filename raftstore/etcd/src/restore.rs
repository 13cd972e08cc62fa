//! Taking in a snapshot: one of this store or one of etcd, which are the same format.
//!
//! # Theory
//! A snapshot has every version of every key that was not compacted, in the order in which they were made; leases; users and
//! roles. All of it comes over, revisions included, so clients that go on from a revision they know find what they expect,
//! or hear that it is compacted. The content alone decides what the tables become, so all members of a restored cluster
//! have the same ones.
//!
//! A store that goes back to an old snapshot uses revisions again that clients have seen with other content. `bump` leaves a
//! gap that they did not reach, and compacts what is below it.
//!
//! # Left out
//! The members (a restored cluster gets new ones), and alarms, which are raised again if there is reason to.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use mvcc::{Backend, Ending, Import, ImportError, Imported};
use prost::Message;
use proto::etcd::authpb::{Role, User};
use raftstore::restore::beginning;
use raftstore::{Member, restore};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};

use crate::bolt::{BoltError, Reader};
use crate::limits;
use crate::snapshot::Lease;

/// A file with a checksum has so many bytes behind its last sector.
const CHECKSUM_BYTES: u64 = 32;
const SECTOR_BYTES: u64 = 512;
const BUFFER_BYTES: usize = 1 << 20;
const NO_KEYS: &str = "it has no keys, not even an empty bucket of them: it is no database of etcd";

/// Why a snapshot was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Io {
        /// Its name.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The content is not what was written.
    #[error("{0}: expected sha256 does not match: the file was damaged after it was written; use another backup")]
    Checksum(String),
    /// Nothing says what was written.
    #[error("{0}: snapshot missing hash; it was copied, not saved. If you trust the copy, give --skip-hash-check")]
    NoChecksum(String),
    /// It is no database.
    #[error("{file}: {source}")]
    Bolt {
        /// Its name.
        file: String,
        /// Why.
        source: BoltError,
    },
    /// It lacks what every etcd database has, or has what none has.
    #[error("{file}: {reason}")]
    Content {
        /// Its name.
        file: String,
        /// Why.
        reason: String,
    },
    /// A row cannot be taken, or the tables failed.
    #[error("{file}: {source}")]
    Import {
        /// Its name.
        file: String,
        /// Why.
        source: ImportError,
    },
    /// The membership cannot be written.
    #[error(transparent)]
    Store(#[from] raftstore::Error),
}

/// A snapshot file, checked.
pub struct Snapshot {
    name: String,
    reader: Reader,
    digest: String,
}

/// Whether a file has to have its checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Checksum {
    /// It has to.
    Needed,
    /// One that is there is checked all the same.
    Optional,
}

impl Snapshot {
    /// Opens a file and checks it against the checksum at its end.
    pub fn open(path: &Path, checksum: Checksum) -> Result<Self, RestoreError> {
        let name = path.display().to_string();
        let io = |source| RestoreError::Io {
            file: name.clone(),
            source,
        };
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let has_checksum = length % SECTOR_BYTES == CHECKSUM_BYTES;
        if !has_checksum && checksum == Checksum::Needed {
            return Err(RestoreError::NoChecksum(name));
        }
        let length = if has_checksum { length - CHECKSUM_BYTES } else { length };
        let found = sha256(&mut file, length).map_err(io)?;
        if has_checksum {
            let mut expected = [0; CHECKSUM_BYTES as usize];
            file.read_exact(&mut expected).map_err(io)?;
            if found.as_ref() != expected {
                return Err(RestoreError::Checksum(name));
            }
        }
        let digest = found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        match Reader::open(file, length) {
            Ok(reader) => Ok(Self { name, reader, digest }),
            Err(source) => Err(RestoreError::Bolt { file: name, source }),
        }
    }

    /// The SHA-256 of the content, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Fills empty tables with it, for a new cluster of these members, and moves the revision up by `bump`.
    pub fn restore<B: Backend>(&self, tables: &B, members: &[Member], bump: i64) -> Result<Imported, RestoreError> {
        let mut import = Import::into_empty(tables).map_err(self.refused())?;
        self.leases(&mut import)?;
        self.users(&mut import, members)?;
        if !self.each(b"key", |key, value| import.row(key, value).map_err(self.refused()))? {
            return Err(self.wrong(NO_KEYS));
        }
        let restore::Beginning { applied, membership } = beginning(members)?;
        let ending = Ending {
            compacted: self.compacted()?,
            bump,
            applied,
            records: &[membership],
        };
        import.finish(&ending).map_err(self.refused())
    }

    /// Walks over all of it and counts.
    pub fn content(&self) -> Result<Imported, RestoreError> {
        let mut content = Imported {
            compacted: self.compacted()?,
            ..Imported::default()
        };
        let keys = self.each(b"key", |key, _| {
            content.versions += 1;
            let revision = key.get(..8).and_then(be);
            content.revision = revision.ok_or_else(|| self.wrong("a version of a key without a revision"))?;
            Ok(())
        })?;
        if !keys {
            return Err(self.wrong(NO_KEYS));
        }
        content.revision = content.revision.max(content.compacted).max(1);
        self.each(b"lease", |_, _| {
            content.leases += 1;
            Ok(())
        })?;
        Ok(content)
    }

    fn leases<B: Backend>(&self, import: &mut Import<'_, B>) -> Result<(), RestoreError> {
        let taken = self.each(b"lease", |_, value| {
            let lease = Lease::decode(value).map_err(|error| self.wrong(format!("a lease: {error}")))?;
            let taken = import.lease(lease.id, lease.ttl, lease.remaining_ttl);
            taken.map_err(self.refused())
        });
        taken.map(drop)
    }

    fn users<B: Backend>(&self, import: &mut Import<'_, B>, members: &[Member]) -> Result<(), RestoreError> {
        let (mut enabled, mut revision) = (false, 0);
        self.each(b"auth", |key, value| {
            match key {
                b"authEnabled" => enabled = value == [1],
                b"authRevision" => revision = be(value).unwrap_or_default().cast_unsigned(),
                _ => {}
            }
            Ok(())
        })?;
        // Its secret must be the same on all members and known to nobody else: it cannot come from the file.
        if enabled && members.len() > 1 {
            return Err(self.wrong(
                "authentication is enabled in it, so it is restored to one member; then add the others (`member add`)",
            ));
        }
        self.each(b"authRoles", |_, value| {
            let role = Role::decode(value).map_err(|error| self.wrong(format!("a role: {error}")))?;
            import.role(role).map_err(self.refused())
        })?;
        self.each(b"authUsers", |_, value| {
            let user = User::decode(value).map_err(|error| self.wrong(format!("a user: {error}")))?;
            import.user(user, revision).map_err(self.refused())
        })?;
        let mut secret = vec![0; limits::TOKEN_SECRET_BYTES];
        let random = SystemRandom::new().fill(&mut secret);
        random.map_err(|_| self.wrong("this machine gives no random numbers"))?;
        import.auth(enabled, revision, secret.into()).map_err(self.refused())
    }

    /// The compacted revision. A compaction that was begun counts: who was told of it may rely on it.
    fn compacted(&self) -> Result<i64, RestoreError> {
        let mut compacted = 0;
        self.each(b"meta", |key, value| {
            if matches!(key, b"scheduledCompactRev" | b"finishedCompactRev") {
                let revision = value.get(..8).and_then(be);
                let revision = revision.ok_or_else(|| self.wrong("the compacted revision is no revision"))?;
                compacted = revision.max(compacted);
            }
            Ok(())
        })?;
        Ok(compacted)
    }

    /// Visits the rows of a bucket until one is refused. False: there is no such bucket.
    fn each(
        &self,
        bucket: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), RestoreError>,
    ) -> Result<bool, RestoreError> {
        let mut outcome = Ok(());
        let found = self.reader.each(bucket, &mut |key, value| {
            outcome = visit(key, value);
            outcome.is_ok()
        });
        outcome?;
        found.map_err(|source| RestoreError::Bolt {
            file: self.name.clone(),
            source,
        })
    }

    fn wrong(&self, reason: impl Into<String>) -> RestoreError {
        RestoreError::Content {
            file: self.name.clone(),
            reason: reason.into(),
        }
    }

    fn refused(&self) -> impl Fn(ImportError) -> RestoreError {
        |source| RestoreError::Import {
            file: self.name.clone(),
            source,
        }
    }
}

fn be(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}

fn sha256(file: &mut File, length: u64) -> io::Result<digest::Digest> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = length;
    while left > 0 {
        let part = &mut buffer[..BUFFER_BYTES.min(usize::try_from(left).unwrap_or(BUFFER_BYTES))];
        file.read_exact(part)?;
        context.update(part);
        left -= part.len() as u64;
    }
    Ok(context.finish())
}
