//! The live keys in order: a B+ tree that shares its nodes with its clones, and knows how many keys lie below each branch.
//!
//! A clone costs a counter. A change copies what it passes of nodes that a clone still holds, a leaf and a branch a level, and
//! nothing else, so that readers keep what they look at and never block. Counting and finding the n-th key cost a descent, which
//! makes a count, and a page of a long list, independent of how long the list is.
//!
//! Leaves hold the entries alone, whose keys are their own: a copied leaf costs a counter an entry. Branches hold the shortest keys
//! that tell their children apart, which are copies: a part of an entry's bytes would keep its value alive.
//!
//! Left out: anything that walks two trees at once.

mod iter;
mod node;

#[cfg(test)]
mod tests;

use std::ops::Bound;
use std::sync::Arc;

use crate::Entry;
use crate::range::Bounds;
pub(crate) use iter::Iter;
use node::{Branch, Node};

/// The live keys in order.
#[derive(Clone, Default)]
pub(crate) struct Index {
    root: Node,
    len: usize,
}

impl Index {
    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The entry of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.root.get(key)
    }

    /// Adds an entry, and returns the one of the same key that it replaced.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let inserted = self.root.insert(entry);
        if let Some(right) = inserted.split {
            let left = std::mem::take(&mut self.root);
            self.root = Branch::root(left, right);
        }
        self.len += usize::from(inserted.replaced.is_none());
        inserted.replaced
    }

    /// Removes a key, and returns its entry.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Arc<Entry>> {
        // Looked up first: the way to a key that is not there would be copied for nothing.
        self.get(key)?;
        let removed = self.root.remove(key)?;
        self.len -= 1;
        if self.len == 0 {
            self.root = Node::default();
        }
        while let Some(only) = self.root.only_child() {
            self.root = only;
        }
        Some(removed)
    }

    /// How many keys come before `key`.
    fn rank(&self, key: &[u8]) -> usize {
        self.root.rank(key)
    }

    /// How many keys come before those that a bound lets in.
    fn begin(&self, start: Bound<&[u8]>) -> usize {
        match start {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.rank(key),
            Bound::Excluded(key) => self.rank(key) + usize::from(self.get(key).is_some()),
        }
    }

    /// The entries within bounds, which also says how many they are.
    pub(crate) fn range(&self, (start, end): Bounds<'_>) -> Iter<'_> {
        let first = self.begin(start);
        let last = match end {
            Bound::Unbounded => self.len,
            Bound::Included(key) => self.rank(key) + usize::from(self.get(key).is_some()),
            Bound::Excluded(key) => self.rank(key),
        };
        Iter::new(self, first..last.max(first))
    }

    /// Nothing of it.
    pub(crate) fn none(&self) -> Iter<'_> {
        Iter::new(self, 0..0)
    }

    /// All entries.
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter::new(self, 0..self.len)
    }

    /// The leaf that holds the key of a rank, and the key's place there. The rank is below the length.
    fn leaf_at(&self, rank: usize) -> (&[Arc<Entry>], usize) {
        self.root.leaf_at(rank)
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|entry| (&entry.key, entry)))
            .finish()
    }
}
