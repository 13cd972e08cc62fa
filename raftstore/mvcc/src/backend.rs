//! The tables the machine lives in, as a trait.
//!
//! Contract of an implementation (exercised by [`contract`](crate::contract)): a write batch is atomic, also across a
//! crash; writes become readable in order; nothing is durable until flushed, and a flush makes a *prefix* of the writes
//! durable. A backend may lose unflushed writes in a crash: the log replays them.

use bytes::Bytes;
use prost::Message;

use crate::Fault;

/// A place in the Raft log.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LogId {
    pub term: u64,
    pub index: u64,
}

impl LogId {
    /// The stored form.
    #[must_use]
    pub fn encode(self) -> Bytes {
        proto::state::Applied {
            term: self.term,
            index: self.index,
        }
        .encode_to_vec()
        .into()
    }

    /// The inverse of [`encode`](Self::encode).
    pub fn decode(stored: &[u8]) -> Result<Self, prost::DecodeError> {
        let applied = proto::state::Applied::decode(stored)?;
        Ok(Self {
            term: applied.term,
            index: applied.index,
        })
    }
}

/// A table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    Rev,
    Latest,
    History,
    Lease,
    Auth,
    Meta,
}

/// Every table; the position of each is its discriminant.
pub const FAMILIES: [Family; 6] = [
    Family::Rev,
    Family::Latest,
    Family::History,
    Family::Lease,
    Family::Auth,
    Family::Meta,
];

impl Family {
    /// The name in storage.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rev => "rev",
            Self::Latest => "latest",
            Self::History => "history",
            Self::Lease => "lease",
            Self::Auth => "auth",
            Self::Meta => "meta",
        }
    }
}

/// One change of one row.
#[derive(Clone, Copy, Debug)]
pub enum WriteOp<'a> {
    Put {
        family: Family,
        key: &'a [u8],
        value: &'a [u8],
    },
    Delete {
        family: Family,
        key: &'a [u8],
    },
}

/// Changes that happen together or not at all, later ones over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    /// Keys and values, one behind the other: no allocation a row.
    bytes: Vec<u8>,
    ops: Vec<Op>,
}

/// A change whose bytes begin where those of the one before end.
#[derive(Clone, Copy, Debug)]
struct Op {
    family: Family,
    key_end: usize,
    /// Where the value ends; nothing if the row is removed.
    value_end: Option<usize>,
}

impl WriteBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a row.
    pub fn put(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.put_with(
            family,
            |bytes| bytes.extend_from_slice(key.as_ref()),
            |bytes| bytes.extend_from_slice(value.as_ref()),
        );
    }

    /// Sets a row whose key and value are appended to the bytes that are given.
    pub(crate) fn put_with(
        &mut self,
        family: Family,
        key: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        key(&mut self.bytes);
        let key_end = self.bytes.len();
        value(&mut self.bytes);
        self.ops.push(Op {
            family,
            key_end,
            value_end: Some(self.bytes.len()),
        });
    }

    /// Removes a row; it need not exist.
    pub fn delete(&mut self, family: Family, key: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(key.as_ref());
        self.ops.push(Op {
            family,
            key_end: self.bytes.len(),
            value_end: None,
        });
    }

    /// The changes, in order.
    pub fn ops(&self) -> impl Iterator<Item = WriteOp<'_>> {
        self.ops.iter().scan(0, |start, op| {
            let Op {
                family,
                key_end,
                value_end,
            } = *op;
            let key = &self.bytes[*start..key_end];
            *start = value_end.unwrap_or(key_end);
            Some(match value_end {
                Some(end) => WriteOp::Put {
                    family,
                    key,
                    value: &self.bytes[key_end..end],
                },
                None => WriteOp::Delete { family, key },
            })
        })
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    Forward,
    Backward,
}

/// What a scan does after a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    Next,
    /// Go on at the first row at or after this key (backward: at or before).
    Seek(Vec<u8>),
    Stop,
}

/// Reading tables.
pub trait Rows {
    /// One row's value.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fault>;

    /// Visits rows in key order from the first one at or after `from` (backward: at or before); without `from`, from the
    /// table's end. One scan sees one state of the table.
    fn scan(
        &self,
        family: Family,
        direction: Direction,
        from: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), Fault>;
}

/// The tables of one state machine. One writer at a time, any number of readers.
pub trait Backend: Rows + Send + Sync + 'static {
    /// A handle that an install does not pull away.
    type Pinned: Rows + Send + Sync + 'static;

    /// Reads through the result keep seeing the tables that are current now, even once a snapshot has replaced them. It
    /// is not a snapshot itself: later writes to the same tables may show.
    fn pin(&self) -> Self::Pinned;

    /// Writes atomically and in order. Not durable by itself.
    fn write(&self, batch: &WriteBatch) -> Result<(), Fault>;

    /// As [`write`](Self::write), but to the tables that `pinned` sees: if they have been replaced meanwhile, the present
    /// ones are not touched.
    fn write_pinned(&self, pinned: &Self::Pinned, batch: &WriteBatch) -> Result<(), Fault>;

    /// Makes everything written so far durable and returns the log id it reaches.
    fn flush(&self) -> Result<Option<LogId>, Fault>;

    /// A log id known to be durable: of the last explicit flush, or of what was found at the start.
    fn flushed(&self) -> Option<LogId>;

    /// Bytes the tables take, roughly.
    fn size(&self) -> Result<u64, Fault>;

    /// A frozen copy of the tables, durable state only: flush first. Lives until dropped, whatever is written meanwhile.
    fn checkpoint(&self) -> Result<Box<dyn Checkpoint>, Fault>;

    /// Starts receiving a checkpoint's byte stream. The tables stay as they are until [`Installer::finish`]; afterwards
    /// whoever cached anything of them must load it again ([`Machine::reload`](crate::Machine::reload)).
    fn installer(&self) -> Result<Box<dyn Installer>, Fault>;
}

/// A frozen copy of the tables as a stream of bytes that only the same kind of backend can read.
pub trait Checkpoint: Send + Sync {
    /// The log id it holds, read from the copy itself.
    fn applied(&self) -> Option<LogId>;

    /// One of the caller's records, as given to [`Machine::advance`](crate::Machine::advance).
    fn record(&self, name: &str) -> Option<Bytes>;

    /// Length of the stream.
    fn len(&self) -> u64;

    /// Whether the stream is empty; it never is.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads all of the copy and checks every checksum it has. To be done before it is sent: whoever installed a damaged copy
    /// would be damaged, too, and with it the majority lost that one damaged member leaves.
    fn check(&self) -> Result<(), Fault>;

    /// At most `max` bytes of the stream from `offset`, fewer only at a boundary inside; none only at the end.
    fn read_at(&self, offset: u64, max: usize) -> Result<Bytes, Fault>;
}

/// A checkpoint being received. Dropped before it is finished, it leaves nothing behind.
pub trait Installer: Send {
    /// Bytes received so far: where a broken transfer resumes.
    fn received(&self) -> u64;

    /// Takes the next bytes of the stream.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    /// Reads all that was received back from where it was put and checks every checksum it has. Returns the log id that it
    /// holds. The tables stay as they are, whatever it finds: a damaged stream can be dropped and sent again.
    fn check(&self) -> Result<Option<LogId>, Fault>;

    /// Checks that the stream is whole and durably replaces the tables by it.
    fn finish(self: Box<Self>) -> Result<(), Fault>;
}
