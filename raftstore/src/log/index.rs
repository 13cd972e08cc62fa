//! What the log knows in memory: for every entry where it is stored, and for the newest ones their bytes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;

use super::batch::Place;
use super::record::{Entry, EntryKind, LogId, Vote};

/// Where the payload of an entry is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// First byte of the payload.
    pub place: Place,
    /// Its length.
    pub length: u32,
    /// Its CRC-32.
    pub checksum: u32,
}

#[derive(Debug, Clone)]
struct Slot {
    id: LogId,
    kind: EntryKind,
    /// Set once the entry is durable.
    stored: Option<Stored>,
    /// Present until evicted; always present while `stored` is not.
    data: Option<Bytes>,
}

/// One entry as found in memory.
#[derive(Debug, Clone)]
pub enum Found {
    /// With its bytes.
    Cached(Entry),
    /// To be read from disk.
    OnDisk(LogId, EntryKind, Stored),
}

impl Found {
    /// The entry's id.
    pub fn id(&self) -> LogId {
        match self {
            Found::Cached(entry) => entry.id,
            Found::OnDisk(id, ..) => *id,
        }
    }
}

/// The index of the log.
#[derive(Debug, Default)]
pub struct Index {
    /// Everything up to here is gone.
    pub purged: Option<LogId>,
    /// The last vote.
    pub vote: Option<Vote>,
    /// The last known committed entry; may be beyond what is durable.
    pub committed: Option<LogId>,
    /// The token of each member that claimed its id here.
    pub claims: BTreeMap<u64, u64>,
    /// `slots[i]` is entry `first + i`.
    first: u64,
    slots: VecDeque<Slot>,
    /// Payload bytes held in `slots`.
    cached_bytes: usize,
    /// Slots before this index hold no bytes.
    cached_from: u64,
}

impl Index {
    /// The last entry, or what was purged last when there is none.
    pub fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.id).or(self.purged)
    }

    /// Index of the first entry present.
    pub fn first_index(&self) -> Option<u64> {
        (!self.slots.is_empty()).then_some(self.first)
    }

    /// The index that the next entry must have, unless the log is in its very first state.
    fn next_index(&self) -> Option<u64> {
        self.last().map(|id| id.index + 1)
    }

    /// Whether an entry with this index may follow. While replaying, a log whose older segments are gone starts anywhere.
    pub fn accepts(&self, index: u64, replaying: bool) -> bool {
        if self.slots.is_empty() && replaying {
            return true;
        }
        index == self.next_index().unwrap_or(0)
    }

    /// Adds an entry that [`Index::accepts`].
    pub fn push(&mut self, entry: Entry, stored: Option<Stored>) {
        if self.slots.is_empty() {
            self.first = entry.id.index;
            self.cached_from = entry.id.index;
        }
        assert_eq!(
            entry.id.index,
            self.first + self.slots.len() as u64,
            "the log would have a hole"
        );
        self.cached_bytes += entry.size();
        self.slots.push_back(Slot {
            id: entry.id,
            kind: entry.kind,
            stored,
            data: Some(entry.data),
        });
    }

    /// Drops the entries after `after`.
    pub fn truncate(&mut self, after: Option<LogId>) {
        let keep = after.map_or(0, |id| id.index + 1).saturating_sub(self.first);
        while self.slots.len() as u64 > keep {
            let slot = self.slots.pop_back().expect("the length was checked");
            self.forget_bytes(&slot);
        }
        self.cached_from = self.cached_from.min(self.first + self.slots.len() as u64);
    }

    /// Drops the entries up to `upto`; beyond the last entry this empties the log.
    pub fn purge(&mut self, upto: LogId) {
        if self.purged >= Some(upto) {
            return;
        }
        self.purged = Some(upto);
        while self.slots.front().is_some_and(|slot| slot.id.index <= upto.index) {
            let slot = self.slots.pop_front().expect("the front was checked");
            self.forget_bytes(&slot);
            self.first += 1;
        }
        self.cached_from = self.cached_from.max(self.first);
    }

    fn forget_bytes(&mut self, slot: &Slot) {
        if let Some(data) = &slot.data {
            self.cached_bytes -= Entry {
                id: slot.id,
                kind: slot.kind,
                data: data.clone(),
            }
            .size();
        }
    }

    /// Notes that an entry is durable. Does nothing when it was truncated or purged meanwhile.
    pub fn mark_stored(&mut self, id: LogId, stored: Stored) {
        if let Some(slot) = self.slot_mut(id.index)
            && slot.id == id
        {
            slot.stored = Some(stored);
        }
    }

    /// Lets go of the oldest durable payloads until at most `limit` bytes are held.
    pub fn evict(&mut self, limit: usize) {
        while self.cached_bytes > limit {
            let Some(slot) = self.slot_mut(self.cached_from) else {
                return;
            };
            if slot.stored.is_none() {
                return;
            }
            let (id, kind) = (slot.id, slot.kind);
            if let Some(data) = slot.data.take() {
                self.cached_bytes -= Entry { id, kind, data }.size();
            }
            self.cached_from += 1;
        }
    }

    /// Whether entry `index` is durable here (or was, and is purged).
    pub fn is_durable(&self, index: u64) -> bool {
        if self.purged.is_some_and(|purged| index <= purged.index) {
            return true;
        }
        self.slot(index).is_some_and(|slot| slot.stored.is_some())
    }

    /// The entries present in `range`, at most `limit` bytes of them but at least one.
    pub fn range(&self, range: Range<u64>, limit: usize) -> Vec<Found> {
        let start = range.start.max(self.first);
        let end = range.end.min(self.first + self.slots.len() as u64);
        let mut found = Vec::new();
        let mut bytes = 0;
        for index in start..end {
            let Some(slot) = self.slot(index) else { break };
            let (entry, size) = slot.found();
            bytes += size;
            if bytes > limit && !found.is_empty() {
                break;
            }
            found.push(entry);
        }
        found
    }

    /// The id of entry `index`.
    pub fn id(&self, index: u64) -> Option<LogId> {
        match self.purged {
            Some(purged) if purged.index == index => Some(purged),
            _ => self.slot(index).map(|slot| slot.id),
        }
    }

    /// Payload bytes of the entries from `from` up to but not including `to`.
    pub fn payload_bytes(&self, from: u64, to: u64) -> u64 {
        let skip = from.saturating_sub(self.first) as usize;
        let end = to.saturating_sub(self.first) as usize;
        self.slots
            .iter()
            .take(end)
            .skip(skip)
            .map(|slot| slot.size() as u64)
            .sum()
    }

    /// The first entry to keep so that the newest `entries` entries stay, unless they are more than `bytes` bytes.
    pub fn keep_from(&self, entries: u64, bytes: u64) -> u64 {
        let end = self.first + self.slots.len() as u64;
        let mut total = 0;
        let newest = self.slots.iter().rev().take(entries as usize);
        let kept = newest.take_while(|slot| {
            total += slot.size() as u64;
            total <= bytes
        });
        end - kept.count() as u64
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(index.checked_sub(self.first)? as usize)
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        self.slots.get_mut(index.checked_sub(self.first)? as usize)
    }
}

impl Slot {
    fn size(&self) -> usize {
        match (&self.data, self.stored) {
            (Some(data), _) => data.len(),
            (None, Some(stored)) => stored.length as usize,
            (None, None) => 0,
        }
    }

    fn found(&self) -> (Found, usize) {
        match (&self.data, self.stored) {
            (Some(data), _) => {
                let entry = Entry {
                    id: self.id,
                    kind: self.kind,
                    data: data.clone(),
                };
                let size = entry.size();
                (Found::Cached(entry), size)
            }
            (None, Some(stored)) => (Found::OnDisk(self.id, self.kind, stored), stored.length as usize),
            (None, None) => unreachable!("an entry is evicted only once it is stored"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, bytes: usize) -> Entry {
        Entry {
            id: LogId { term: 1, index },
            kind: EntryKind::Requests,
            data: Bytes::from(vec![7; bytes]),
        }
    }

    fn stored() -> Stored {
        Stored {
            place: Place::default(),
            length: 100,
            checksum: 0,
        }
    }

    #[test]
    fn eviction_never_touches_what_is_not_durable() {
        let mut index = Index::default();
        for i in 0..4 {
            index.push(entry(i, 100), None);
        }
        index.mark_stored(LogId { term: 1, index: 0 }, stored());
        index.evict(0);
        assert!(matches!(index.range(0..1, usize::MAX)[0], Found::OnDisk(..)));
        assert!(matches!(index.range(1..2, usize::MAX)[0], Found::Cached(_)));
        assert!(index.is_durable(0) && !index.is_durable(1));
    }

    #[test]
    fn purging_past_the_end_empties_the_log_and_the_next_entry_follows() {
        let mut index = Index::default();
        index.push(entry(0, 1), None);
        index.purge(LogId { term: 2, index: 10 });
        assert_eq!(index.last(), Some(LogId { term: 2, index: 10 }));
        assert!(index.accepts(11, false) && !index.accepts(1, false));
        index.push(entry(11, 1), None);
        assert_eq!(index.first_index(), Some(11));
        assert_eq!(index.cached_bytes, entry(11, 1).size());
    }

    #[test]
    fn a_truncated_entry_is_no_longer_durable() {
        let mut index = Index::default();
        index.push(entry(0, 1), Some(stored()));
        index.push(entry(1, 1), Some(stored()));
        index.truncate(Some(LogId { term: 1, index: 0 }));
        index.push(
            Entry {
                id: LogId { term: 2, index: 1 },
                ..entry(1, 1)
            },
            None,
        );
        assert!(!index.is_durable(1));
        index.mark_stored(LogId { term: 1, index: 1 }, stored());
        assert!(
            !index.is_durable(1),
            "a late mark of the old entry must not count for the new one"
        );
    }

    #[test]
    fn a_range_is_bounded_by_bytes_but_never_empty() {
        let mut index = Index::default();
        for i in 0..4 {
            index.push(entry(i, 1000), None);
        }
        assert_eq!(index.range(0..4, 1).len(), 1);
        assert_eq!(index.range(0..4, 2200).len(), 2);
        assert_eq!(index.range(2..9, usize::MAX).len(), 2);
    }
}
