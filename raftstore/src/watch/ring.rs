//! The newest blocks, bounded by bytes and count.

use std::collections::VecDeque;
use std::sync::Arc;

use mvcc::Block;

/// Consecutive revisions, the newest ones.
#[derive(Debug)]
pub struct Ring {
    blocks: VecDeque<(Arc<Block>, usize)>,
    bytes: usize,
    bytes_max: usize,
    blocks_max: usize,
}

impl Ring {
    /// An empty ring.
    pub fn new(bytes_max: usize, blocks_max: usize) -> Self {
        Self {
            blocks: VecDeque::new(),
            bytes: 0,
            bytes_max,
            blocks_max,
        }
    }

    /// Adds the next revision. A gap (after a snapshot) forgets everything before.
    pub fn push(&mut self, block: Arc<Block>) {
        if self
            .blocks
            .back()
            .is_some_and(|(last, _)| last.revision + 1 != block.revision)
        {
            self.clear();
        }
        let bytes = block_bytes(&block);
        self.bytes += bytes;
        self.blocks.push_back((block, bytes));
        while self.bytes > self.bytes_max || self.blocks.len() > self.blocks_max {
            let Some((_, bytes)) = self.blocks.pop_front() else {
                break;
            };
            self.bytes -= bytes;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.bytes = 0;
    }

    /// The block of a revision.
    pub fn get(&self, revision: i64) -> Option<&Arc<Block>> {
        let offset = usize::try_from(revision - self.first()?).ok()?;
        self.blocks.get(offset).map(|(block, _)| block)
    }

    /// The oldest revision present.
    pub fn first(&self) -> Option<i64> {
        self.blocks.front().map(|(block, _)| block.revision)
    }

    /// At most `limit` blocks from `revision` on; `None` if that revision is no longer here.
    pub fn from(&self, revision: i64, limit: usize) -> Option<Vec<Arc<Block>>> {
        let offset = usize::try_from(revision - self.first()?).ok()?;
        Some(
            self.blocks
                .iter()
                .skip(offset)
                .take(limit)
                .map(|(block, _)| block.clone())
                .collect(),
        )
    }
}

/// What a block keeps alive. Previous versions count too: the ring may be all that holds them.
fn block_bytes(block: &Block) -> usize {
    let of_event = |event: &mvcc::Event| {
        let prev = event.prev.as_ref().map_or(0, |prev| prev.encoded().len());
        event.entry.encoded().len() + prev + EVENT_OVERHEAD_BYTES
    };
    block.events.iter().map(of_event).sum::<usize>() + EVENT_OVERHEAD_BYTES
}

const EVENT_OVERHEAD_BYTES: usize = 128;
