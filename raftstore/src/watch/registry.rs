//! Which watchers a key concerns.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use mvcc::RangeEnd;

/// Names a watcher.
pub type WatcherId = u64;

/// Watchers by what they watch: exact keys by hash, ranges by their start.
#[derive(Debug, Default)]
pub struct Registry {
    exact: HashMap<Bytes, Vec<WatcherId>>,
    ranges: BTreeMap<Bytes, Vec<(Bytes, WatcherId)>>,
}

impl Registry {
    /// Adds a watcher of `key`, or of the range from `key` when `range_end` (etcd's form) is given.
    pub fn insert(&mut self, id: WatcherId, key: Bytes, range_end: Bytes) {
        if range_end.is_empty() {
            self.exact.entry(key).or_default().push(id);
        } else {
            self.ranges.entry(key).or_default().push((range_end, id));
        }
    }

    /// Removes a watcher.
    pub fn remove(&mut self, id: WatcherId, key: &Bytes, range_end: &Bytes) {
        if range_end.is_empty() {
            if let Some(watchers) = self.exact.get_mut(key) {
                watchers.retain(|watcher| *watcher != id);
                if watchers.is_empty() {
                    self.exact.remove(key);
                }
            }
        } else if let Some(watchers) = self.ranges.get_mut(key) {
            watchers.retain(|(_, watcher)| *watcher != id);
            if watchers.is_empty() {
                self.ranges.remove(key);
            }
        }
    }

    /// Calls `found` for each watcher of `key`.
    pub fn each(&self, key: &[u8], mut found: impl FnMut(WatcherId)) {
        if let Some(watchers) = self.exact.get(key) {
            watchers.iter().copied().for_each(&mut found);
        }
        let up_to = (Bound::Unbounded, Bound::Included(key));
        for (start, watchers) in self.ranges.range::<[u8], _>(up_to) {
            for (end, id) in watchers {
                if RangeEnd::from_wire(end).contains(start, key) {
                    found(*id);
                }
            }
        }
    }
}
