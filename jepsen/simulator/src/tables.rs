//! A member's tables: the in-memory twin of the real ones, watched by the monitor, and crashed like the real ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mvcc::{Backend, Checkpoint, Direction, Family, Fault, Installer, LogId, Memory, Rows, Step, WriteBatch, WriteOp};

use crate::disk::Survivors;
use crate::monitor::Monitor;
use crate::plant::{self, Plant};

/// The row of `Meta` that carries the log id of a write.
const APPLIED_ROW: &[u8] = b"applied";

/// Of so many snapshots that come in, one is damaged before it is put in place. It has to be refused and sent again.
const DAMAGED_EVERY: u64 = 4;

/// The tables of one machine.
pub struct SimulatedTables {
    member: u64,
    memory: Memory,
    monitor: Arc<Monitor>,
    /// Snapshots that began to come in.
    incoming: AtomicU64,
}

impl SimulatedTables {
    /// Empty tables.
    pub fn new(member: u64, monitor: Arc<Monitor>) -> Self {
        Self {
            member,
            memory: Memory::new(),
            monitor,
            incoming: AtomicU64::new(0),
        }
    }

    /// A crash: what was flushed stays. The tables may have been flushing on their own just then, so more may stay too.
    pub fn crash(&self, survivors: Survivors) {
        if survivors == Survivors::All {
            // A flush in memory cannot fail.
            let _ = self.memory.flush();
        }
        self.memory.crash();
    }
}

/// The log id that a write carries.
fn applied(batch: &WriteBatch) -> Option<LogId> {
    let ids = batch.ops().filter_map(|op| match op {
        WriteOp::Put {
            family: Family::Meta,
            key: APPLIED_ROW,
            value,
        } => LogId::decode(value).ok(),
        _ => None,
    });
    ids.last()
}

/// A write that forgets the log id that it carries.
fn without_applied(batch: &WriteBatch) -> WriteBatch {
    let mut kept = WriteBatch::new();
    for op in batch.ops() {
        match op {
            WriteOp::Put { key, .. } if key == APPLIED_ROW => {}
            WriteOp::Put { family, key, value } => kept.put(family, key, value),
            WriteOp::Delete { family, key } => kept.delete(family, key),
        }
    }
    kept
}

impl Rows for SimulatedTables {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.memory.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        direction: Direction,
        from: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), Fault> {
        self.memory.scan(family, direction, from, visit)
    }
}

impl Backend for SimulatedTables {
    type Pinned = <Memory as Backend>::Pinned;

    fn pin(&self) -> Self::Pinned {
        self.memory.pin()
    }

    fn write(&self, batch: &WriteBatch) -> Result<(), Fault> {
        if let Some(id) = applied(batch) {
            self.monitor.applied(self.member, id, batch);
        }
        if plant::is(Plant::DoubleApply) {
            return self.memory.write(&without_applied(batch));
        }
        self.memory.write(batch)
    }

    fn write_pinned(&self, pinned: &Self::Pinned, batch: &WriteBatch) -> Result<(), Fault> {
        self.memory.write_pinned(pinned, batch)
    }

    fn flush(&self) -> Result<Option<LogId>, Fault> {
        self.memory.flush()
    }

    fn flushed(&self) -> Option<LogId> {
        self.memory.flushed()
    }

    fn size(&self) -> Result<u64, Fault> {
        self.memory.size()
    }

    fn checkpoint(&self) -> Result<Box<dyn Checkpoint>, Fault> {
        self.memory.checkpoint()
    }

    fn installer(&self) -> Result<Box<dyn Installer>, Fault> {
        Ok(Box::new(ObservedInstaller {
            installer: self.memory.installer()?,
            member: self.member,
            monitor: self.monitor.clone(),
            rots: self.incoming.fetch_add(1, Ordering::Relaxed) % DAMAGED_EVERY == DAMAGED_EVERY - 1,
        }))
    }
}

/// Tells the monitor when a snapshot took the tables' place.
struct ObservedInstaller {
    installer: Box<dyn Installer>,
    member: u64,
    monitor: Arc<Monitor>,
    /// A bit of what comes next flips on its way to the disk.
    rots: bool,
}

impl Installer for ObservedInstaller {
    fn received(&self) -> u64 {
        self.installer.received()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if !std::mem::take(&mut self.rots) {
            return self.installer.write(bytes);
        }
        let mut rotten = bytes.to_vec();
        if let Some(byte) = rotten.last_mut() {
            *byte ^= 1;
        }
        self.installer.write(&rotten)
    }

    fn check(&self) -> Result<Option<LogId>, Fault> {
        self.installer.check()
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        self.installer.finish()?;
        self.monitor.installed(self.member);
        Ok(())
    }
}
