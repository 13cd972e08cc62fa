//! What the stream consists of: records, and how they are encoded. All integers are little-endian.

use bytes::{Buf, BufMut, Bytes};

/// Term and index of an entry. Ordered by term first, as Raft orders logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// Term of the leader that proposed it.
    pub term: u64,
    /// Position, counted from 0.
    pub index: u64,
}

/// A vote: for whom in which term, and whether that member is known to have won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// Term voted in.
    pub term: u64,
    /// Member voted for.
    pub member: u64,
    /// True once a quorum granted it.
    pub committed: bool,
}

/// Which data directory a member id belongs to, as far as this member was told. The first claim stands: a member that
/// comes back under its id with another token has lost what it promised under the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The member, perhaps this one.
    pub member: u64,
    /// A random number that lives as long as that member's data directory.
    pub token: u64,
}

/// What an entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Nothing: opens a leader's term.
    Blank,
    /// A batch of requests for the state machine.
    Requests,
    /// A membership.
    Membership,
}

/// One log entry; cloning it copies no payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub id: LogId,
    /// What `data` is.
    pub kind: EntryKind,
    /// The payload.
    pub data: Bytes,
}

impl Entry {
    /// Bytes the entry is accounted with.
    pub fn size(&self) -> usize {
        self.data.len() + ENTRY_OVERHEAD_BYTES
    }
}

const ENTRY_OVERHEAD_BYTES: usize = 64;

/// One record of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An entry follows the last one.
    Entry(Entry),
    /// Entries after this one are void (`None`: all of them).
    Truncate(Option<LogId>),
    /// Entries up to this one are no longer needed.
    Purge(LogId),
    /// The member voted.
    Vote(Vote),
    /// Entries up to this one are known to be committed.
    Committed(LogId),
    /// A member's id is taken by this data directory.
    Claim(Claim),
}

const KIND_ENTRY: u8 = 1;
const KIND_TRUNCATE: u8 = 2;
const KIND_PURGE: u8 = 3;
const KIND_VOTE: u8 = 4;
const KIND_COMMITTED: u8 = 5;
const KIND_CLAIM: u8 = 6;

/// Bytes before an entry's payload: record kind, length, term, index, entry kind.
pub const ENTRY_PREFIX_BYTES: usize = 1 + 4 + 8 + 8 + 1;

impl Record {
    /// Encoded length.
    pub fn encoded_len(&self) -> usize {
        5 + match self {
            Record::Entry(entry) => 17 + entry.data.len(),
            Record::Truncate(after) => 1 + after.map_or(0, |_| 16),
            Record::Purge(_) | Record::Committed(_) | Record::Claim(_) => 16,
            Record::Vote(_) => 17,
        }
    }

    /// Appends the encoded record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let body = (self.encoded_len() - 5) as u32;
        match self {
            Record::Entry(entry) => {
                put_head(out, KIND_ENTRY, body);
                put_id(out, entry.id);
                out.put_u8(entry.kind.code());
                out.put_slice(&entry.data);
            }
            Record::Truncate(after) => {
                put_head(out, KIND_TRUNCATE, body);
                out.put_u8(u8::from(after.is_some()));
                after.iter().for_each(|id| put_id(out, *id));
            }
            Record::Purge(id) => {
                put_head(out, KIND_PURGE, body);
                put_id(out, *id);
            }
            Record::Vote(vote) => {
                put_head(out, KIND_VOTE, body);
                out.put_u64_le(vote.term);
                out.put_u64_le(vote.member);
                out.put_u8(u8::from(vote.committed));
            }
            Record::Committed(id) => {
                put_head(out, KIND_COMMITTED, body);
                put_id(out, *id);
            }
            Record::Claim(claim) => {
                put_head(out, KIND_CLAIM, body);
                out.put_u64_le(claim.member);
                out.put_u64_le(claim.token);
            }
        }
    }

    /// Takes the next record off `input`, sharing its bytes. `None` means that the bytes are not a record.
    pub fn decode(input: &mut Bytes) -> Option<Record> {
        if input.len() < 5 {
            return None;
        }
        let kind = input.get_u8();
        let length = input.get_u32_le() as usize;
        if input.len() < length {
            return None;
        }
        let mut body = input.split_to(length);
        match kind {
            KIND_ENTRY => {
                let id = get_id(&mut body)?;
                let kind = EntryKind::from_code(get_u8(&mut body)?)?;
                Some(Record::Entry(Entry { id, kind, data: body }))
            }
            KIND_TRUNCATE => match get_u8(&mut body)? {
                0 => Some(Record::Truncate(None)),
                _ => Some(Record::Truncate(Some(get_id(&mut body)?))),
            },
            KIND_PURGE => Some(Record::Purge(get_id(&mut body)?)),
            KIND_VOTE if body.len() >= 17 => Some(Record::Vote(Vote {
                term: body.get_u64_le(),
                member: body.get_u64_le(),
                committed: body.get_u8() != 0,
            })),
            KIND_COMMITTED => Some(Record::Committed(get_id(&mut body)?)),
            KIND_CLAIM if body.len() >= 16 => Some(Record::Claim(Claim {
                member: body.get_u64_le(),
                token: body.get_u64_le(),
            })),
            _ => None,
        }
    }
}

impl EntryKind {
    /// The stored code.
    pub fn code(self) -> u8 {
        match self {
            EntryKind::Blank => 0,
            EntryKind::Requests => 1,
            EntryKind::Membership => 2,
        }
    }

    /// The kind of a stored code.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(EntryKind::Blank),
            1 => Some(EntryKind::Requests),
            2 => Some(EntryKind::Membership),
            _ => None,
        }
    }
}

fn put_head(out: &mut Vec<u8>, kind: u8, body: u32) {
    out.put_u8(kind);
    out.put_u32_le(body);
}

fn put_id(out: &mut Vec<u8>, id: LogId) {
    out.put_u64_le(id.term);
    out.put_u64_le(id.index);
}

fn get_u8(body: &mut Bytes) -> Option<u8> {
    (!body.is_empty()).then(|| body.get_u8())
}

fn get_id(body: &mut Bytes) -> Option<LogId> {
    (body.len() >= 16).then(|| LogId {
        term: body.get_u64_le(),
        index: body.get_u64_le(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_survives_its_encoding() {
        let id = LogId { term: 3, index: 9 };
        let records = [
            Record::Entry(Entry {
                id,
                kind: EntryKind::Requests,
                data: Bytes::from_static(b"payload"),
            }),
            Record::Entry(Entry {
                id,
                kind: EntryKind::Blank,
                data: Bytes::new(),
            }),
            Record::Truncate(None),
            Record::Truncate(Some(id)),
            Record::Purge(id),
            Record::Vote(Vote {
                term: 7,
                member: 2,
                committed: true,
            }),
            Record::Committed(id),
            Record::Claim(Claim { member: 7, token: 8 }),
        ];
        let mut encoded = Vec::new();
        for record in &records {
            let before = encoded.len();
            record.encode(&mut encoded);
            assert_eq!(encoded.len() - before, record.encoded_len());
        }
        let mut input = Bytes::from(encoded);
        for record in &records {
            assert_eq!(Record::decode(&mut input).as_ref(), Some(record));
        }
        assert!(input.is_empty());
    }

    #[test]
    fn a_cut_record_is_not_a_record() {
        let mut encoded = Vec::new();
        Record::Purge(LogId { term: 1, index: 1 }).encode(&mut encoded);
        for length in 0..encoded.len() {
            assert_eq!(Record::decode(&mut Bytes::copy_from_slice(&encoded[..length])), None);
        }
    }
}
