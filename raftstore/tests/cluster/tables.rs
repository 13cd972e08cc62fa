//! Tables in memory whose copies can be damaged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use mvcc::{Backend, Checkpoint, Direction, Family, Fault, Installer, LogId, Memory, Rows, Step, WriteBatch};

#[derive(Default)]
pub struct Tables {
    pub memory: Memory,
    /// Every copy that is made from now on is damaged, as its check and whoever receives it can notice.
    pub damaged: AtomicBool,
    /// One was.
    pub refused: Arc<AtomicBool>,
}

impl Rows for Tables {
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

impl Backend for Tables {
    type Pinned = <Memory as Backend>::Pinned;

    fn pin(&self) -> Self::Pinned {
        self.memory.pin()
    }

    fn write(&self, batch: &WriteBatch) -> Result<(), Fault> {
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
        Ok(Box::new(Copy {
            copy: self.memory.checkpoint()?,
            damaged: self.damaged.load(Ordering::Relaxed),
            refused: self.refused.clone(),
        }))
    }

    fn installer(&self) -> Result<Box<dyn Installer>, Fault> {
        self.memory.installer()
    }
}

struct Copy {
    copy: Box<dyn Checkpoint>,
    damaged: bool,
    refused: Arc<AtomicBool>,
}

impl Checkpoint for Copy {
    fn applied(&self) -> Option<LogId> {
        self.copy.applied()
    }

    fn record(&self, name: &str) -> Option<Bytes> {
        self.copy.record(name)
    }

    fn len(&self) -> u64 {
        self.copy.len()
    }

    fn check(&self) -> Result<(), Fault> {
        if self.damaged {
            self.refused.store(true, Ordering::Relaxed);
            return Err(Fault::tables("cannot read", "a copy", "a block has another checksum"));
        }
        self.copy.check()
    }

    fn read_at(&self, offset: u64, max: usize) -> Result<Bytes, Fault> {
        let piece = self.copy.read_at(offset, max)?;
        let mut piece = piece.to_vec();
        if let Some(last) = piece.last_mut().filter(|_| self.damaged) {
            *last ^= 1;
        }
        Ok(piece.into())
    }
}
