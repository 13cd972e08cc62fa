//! The in-memory twin of the tables: the same contract, for tests and simulations.
//!
//! It keeps what is flushed apart from what is written, so that a crash loses what a crash may lose. Its tables are
//! persistent maps: pins and checkpoints are copies that cost nothing.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use imbl::OrdMap;
use parking_lot::RwLock;

use crate::{
    Backend, Checkpoint, Direction, FAMILIES, Family, Fault, Installer, LogId, Rows, Step, WriteBatch, WriteOp,
    crc32c::Crc32c,
    encoding::{self, record_key},
};

/// Opens a checkpoint's stream.
const MAGIC: &[u8; 8] = b"mvcmem02";
/// Magic and a checksum of all that follows.
const HEADER_LEN: usize = MAGIC.len() + 4;

/// All tables, at one moment.
#[derive(Clone, Debug, Default)]
struct Tables([OrdMap<Bytes, Bytes>; FAMILIES.len()]);

impl Tables {
    fn table(&self, family: Family) -> &OrdMap<Bytes, Bytes> {
        &self.0[family as usize]
    }

    fn apply(&mut self, batch: &WriteBatch) {
        for op in batch.ops() {
            match op {
                WriteOp::Put { family, key, value } => {
                    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                    self.0[family as usize].insert(key, value);
                }
                WriteOp::Delete { family, key } => {
                    self.0[family as usize].remove::<[u8]>(key);
                }
            }
        }
    }

    fn applied(&self) -> Result<Option<LogId>, Fault> {
        let stored = self.table(Family::Meta).get(encoding::APPLIED);
        let decoded = stored.map(|stored| LogId::decode(stored)).transpose();
        decoded.map_err(|error| Fault::corrupt(Family::Meta, encoding::APPLIED, error.to_string()))
    }
}

#[derive(Debug, Default)]
struct Inner {
    written: Tables,
    /// A prefix of what was written.
    flushed: Tables,
    /// Counts installs.
    generation: u64,
}

/// Tables in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    inner: Arc<RwLock<Inner>>,
}

impl Memory {
    /// Empty tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was not flushed, as a crash may. Whoever cached anything of it must load it again.
    pub fn crash(&self) {
        let mut inner = self.inner.write();
        inner.written = inner.flushed.clone();
    }
}

/// The tables at the moment they were pinned.
#[derive(Clone, Debug)]
pub struct MemoryPinned {
    tables: Tables,
    generation: u64,
}

impl Rows for MemoryPinned {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.tables.table(family).get(key).cloned())
    }

    fn scan(
        &self,
        family: Family,
        direction: Direction,
        from: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), Fault> {
        let table = self.tables.table(family);
        let mut from = from.map(<[u8]>::to_vec);
        while let Some(seek) = scan_run(table, direction, from.as_deref(), visit) {
            from = Some(seek);
        }
        Ok(())
    }
}

/// Visits rows one by one and returns where to seek, or nothing at the end.
fn scan_run(
    table: &OrdMap<Bytes, Bytes>,
    direction: Direction,
    from: Option<&[u8]>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> Step,
) -> Option<Vec<u8>> {
    let at = from.map_or(Bound::Unbounded, Bound::Included);
    let mut rows = match direction {
        Direction::Forward => table.range::<_, [u8]>((at, Bound::Unbounded)),
        Direction::Backward => table.range::<_, [u8]>((Bound::Unbounded, at)),
    };
    loop {
        let (key, value) = match direction {
            Direction::Forward => rows.next()?,
            Direction::Backward => rows.next_back()?,
        };
        match visit(key, value) {
            Step::Next => {}
            Step::Seek(to) => return Some(to),
            Step::Stop => return None,
        }
    }
}

impl Rows for Memory {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.inner.read().written.table(family).get(key).cloned())
    }

    fn scan(
        &self,
        family: Family,
        direction: Direction,
        from: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), Fault> {
        self.pin().scan(family, direction, from, visit)
    }
}

impl Backend for Memory {
    type Pinned = MemoryPinned;

    fn pin(&self) -> MemoryPinned {
        let inner = self.inner.read();
        MemoryPinned {
            tables: inner.written.clone(),
            generation: inner.generation,
        }
    }

    fn write(&self, batch: &WriteBatch) -> Result<(), Fault> {
        self.inner.write().written.apply(batch);
        Ok(())
    }

    fn write_pinned(&self, pinned: &MemoryPinned, batch: &WriteBatch) -> Result<(), Fault> {
        let mut inner = self.inner.write();
        if inner.generation == pinned.generation {
            inner.written.apply(batch);
        }
        Ok(())
    }

    fn flush(&self) -> Result<Option<LogId>, Fault> {
        let mut inner = self.inner.write();
        inner.flushed = inner.written.clone();
        inner.flushed.applied()
    }

    fn flushed(&self) -> Option<LogId> {
        self.inner.read().flushed.applied().ok().flatten()
    }

    fn size(&self) -> Result<u64, Fault> {
        let tables = self.pin().tables;
        let rows = tables.0.iter().flat_map(OrdMap::iter);
        Ok(rows.map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }

    fn checkpoint(&self) -> Result<Box<dyn Checkpoint>, Fault> {
        let tables = self.inner.read().flushed.clone();
        let stream = serialize(&tables);
        let applied = tables.applied()?;
        let meta = tables
            .table(Family::Meta)
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(Box::new(MemoryCheckpoint { applied, meta, stream }))
    }

    fn installer(&self) -> Result<Box<dyn Installer>, Fault> {
        Ok(Box::new(MemoryInstaller {
            target: self.clone(),
            received: BytesMut::new(),
        }))
    }
}

struct MemoryCheckpoint {
    applied: Option<LogId>,
    meta: BTreeMap<Bytes, Bytes>,
    stream: Bytes,
}

impl Checkpoint for MemoryCheckpoint {
    fn applied(&self) -> Option<LogId> {
        self.applied
    }

    fn record(&self, name: &str) -> Option<Bytes> {
        self.meta.get(&record_key(name)).cloned()
    }

    fn len(&self) -> u64 {
        self.stream.len() as u64
    }

    fn check(&self) -> Result<(), Fault> {
        // Memory is not damaged.
        Ok(())
    }

    fn read_at(&self, offset: u64, max: usize) -> Result<Bytes, Fault> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.stream.len());
        let end = start.saturating_add(max).min(self.stream.len());
        Ok(self.stream.slice(start..end))
    }
}

struct MemoryInstaller {
    target: Memory,
    received: BytesMut,
}

impl Installer for MemoryInstaller {
    fn received(&self) -> u64 {
        self.received.len() as u64
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.received.extend_from_slice(bytes);
        Ok(())
    }

    fn check(&self) -> Result<Option<LogId>, Fault> {
        deserialize(Bytes::copy_from_slice(&self.received))?.applied()
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        let tables = deserialize(self.received.freeze())?;
        let mut inner = self.target.inner.write();
        inner.written = tables.clone();
        inner.flushed = tables;
        inner.generation += 1;
        Ok(())
    }
}

/// Magic, checksum, number of rows, then of each row: table, lengths, key, value.
fn serialize(tables: &Tables) -> Bytes {
    let rows: usize = tables.0.iter().map(OrdMap::len).sum();
    let mut stream = BytesMut::new();
    stream.put_slice(MAGIC);
    stream.put_u32(0);
    stream.put_u64(rows as u64);
    for family in FAMILIES {
        for (key, value) in tables.table(family) {
            stream.put_u8(family as u8);
            stream.put_u64(key.len() as u64);
            stream.put_u64(value.len() as u64);
            stream.put_slice(key);
            stream.put_slice(value);
        }
    }
    let sum = checksum(&stream[HEADER_LEN..]);
    stream[MAGIC.len()..HEADER_LEN].copy_from_slice(&sum.to_be_bytes());
    stream.freeze()
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = Crc32c::new();
    sum.update(bytes);
    sum.sum()
}

fn deserialize(stream: Bytes) -> Result<Tables, Fault> {
    let total = stream.len();
    let mut rest = stream;
    let malformed = |rest: &Bytes, reason: &str| Fault::MalformedSnapshot {
        offset: (total - rest.len()) as u64,
        reason: reason.to_owned(),
    };
    if rest.len() < HEADER_LEN || !rest.starts_with(MAGIC) {
        return Err(malformed(&rest, "not a checkpoint of the in-memory tables"));
    }
    rest.advance(MAGIC.len());
    if rest.get_u32() != checksum(&rest) {
        return Err(malformed(&rest, "its checksum is not that of what follows"));
    }
    let rows = rest.try_get_u64().map_err(|_| malformed(&rest, "it is cut short"))?;
    let mut tables = Tables::default();
    for _ in 0..rows {
        let (family, key, value) = take_row(&mut rest).ok_or_else(|| malformed(&rest, "a row is cut short"))?;
        tables.0[family as usize].insert(key, value);
    }
    if rest.is_empty() {
        Ok(tables)
    } else {
        Err(malformed(&rest, "bytes after the last row"))
    }
}

fn take_row(rest: &mut Bytes) -> Option<(Family, Bytes, Bytes)> {
    const ROW_HEADER_LEN: usize = 17;
    if rest.len() < ROW_HEADER_LEN {
        return None;
    }
    let family = *FAMILIES.get(usize::from(rest.get_u8()))?;
    let key_len = usize::try_from(rest.get_u64()).ok()?;
    let value_len = usize::try_from(rest.get_u64()).ok()?;
    if rest.len() < key_len.checked_add(value_len)? {
        return None;
    }
    Some((family, rest.split_to(key_len), rest.split_to(value_len)))
}
