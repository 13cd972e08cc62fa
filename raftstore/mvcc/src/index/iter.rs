//! Walking a range from both ends.

use std::iter::FusedIterator;
use std::ops::Range;
use std::sync::Arc;

use super::Index;
use crate::Entry;

/// The entries of a range of ranks. A leaf is looked up when the one before it is used up: no stack of parents is kept.
#[derive(Clone)]
pub(crate) struct Iter<'a> {
    index: &'a Index,
    left: Range<usize>,
    /// What is left of the leaf at the front, as far as it is known; it may reach beyond `left`.
    front: &'a [Arc<Entry>],
    /// The same at the back.
    back: &'a [Arc<Entry>],
}

impl<'a> Iter<'a> {
    pub(super) fn new(index: &'a Index, ranks: Range<usize>) -> Self {
        Self {
            index,
            left: ranks,
            front: &[],
            back: &[],
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Arc<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        if self.front.is_empty() {
            let (leaf, at) = self.index.leaf_at(self.left.start);
            self.front = &leaf[at..];
        }
        let (entry, rest) = self.front.split_first()?;
        self.front = rest;
        self.left.start += 1;
        Some(entry)
    }

    fn nth(&mut self, skipped: usize) -> Option<Self::Item> {
        self.left.start = self.left.start.saturating_add(skipped).min(self.left.end);
        self.front = self.front.get(skipped..).unwrap_or_default();
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.len(), Some(self.left.len()))
    }

    fn count(self) -> usize {
        self.left.len()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        if self.back.is_empty() {
            let (leaf, at) = self.index.leaf_at(self.left.end - 1);
            self.back = &leaf[..=at];
        }
        let (entry, rest) = self.back.split_last()?;
        self.back = rest;
        self.left.end -= 1;
        Some(entry)
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}
