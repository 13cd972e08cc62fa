//! One revision in the making: the puts and deletes of one request, in memory and as rows to be written.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use proto::{etcd::mvccpb::KeyValue, state::Version};

use crate::{
    Block, Entry, Event, Family, Lease, RangeEnd, WriteBatch,
    encoding::{self, Place},
    view::State,
};

/// Changes of one request. The state carries them at once, so that later operations see them; its revision moves only when
/// the change is [finished](Self::finish).
pub(crate) struct Change<'a> {
    pub state: &'a mut State,
    writes: &'a mut WriteBatch,
    events: Vec<Event>,
}

impl<'a> Change<'a> {
    pub(crate) fn begin(state: &'a mut State, writes: &'a mut WriteBatch) -> Self {
        Self {
            state,
            writes,
            events: Vec::new(),
        }
    }

    /// The revision that a reader inside the request sees: the next one once something was written.
    pub(crate) fn visible_revision(&self) -> i64 {
        if self.events.is_empty() {
            self.state.revision
        } else {
            self.next_revision()
        }
    }

    fn next_revision(&self) -> i64 {
        self.state.revision + 1
    }

    fn next_place(&self) -> Place {
        Place {
            revision: self.next_revision(),
            sub: self.events.len() as i64,
        }
    }

    /// Sets a key and returns what it replaced. The lease must exist or be 0.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8], lease: i64) -> Option<Arc<Entry>> {
        let place = self.next_place();
        let previous = self.state.index.get(key).cloned();
        let (create_revision, version) = match &previous {
            Some(previous) => (previous.create_revision, previous.version + 1),
            None => (place.revision, 1),
        };
        let entry = Arc::new(Entry::new(key, value, create_revision, place.revision, version, lease));
        self.move_lease(
            &entry.key,
            previous.as_ref().map_or(0, |previous| previous.lease),
            lease,
        );
        self.state.index.insert(entry.clone());
        self.write_put(&entry, place);
        self.events.push(Event::new(entry, previous.clone()));
        previous
    }

    /// Deletes the keys of a range and returns what they were, in key order.
    pub(crate) fn delete_range(&mut self, start: &[u8], end: RangeEnd<'_>) -> Vec<Arc<Entry>> {
        let doomed = self.state.find(start, end, usize::MAX).entries;
        for entry in &doomed {
            self.delete(entry);
        }
        doomed
    }

    fn delete(&mut self, entry: &Arc<Entry>) {
        let place = self.next_place();
        self.state.index.remove(&entry.key);
        self.move_lease(&entry.key, entry.lease, 0);
        let tombstone = Arc::new(Entry::tombstone(&entry.key, place.revision));
        self.write_tombstone(&tombstone, place);
        self.events.push(Event::new(tombstone, Some(entry.clone())));
    }

    fn move_lease(&mut self, key: &Bytes, from: i64, to: i64) {
        if from == to {
            return;
        }
        if let Some(lease) = self.lease_mut(from) {
            lease.keys.remove::<[u8]>(key);
        }
        if let Some(lease) = self.lease_mut(to) {
            lease.keys.insert(key.clone());
        }
    }

    fn lease_mut(&mut self, id: i64) -> Option<&mut Lease> {
        // Looked up first: `get_mut` copies the path to the key even if it is not there.
        if id == 0 || !self.state.leases.contains_key(&id) {
            return None;
        }
        self.state.leases.get_mut(&id).map(Arc::make_mut)
    }

    fn write_put(&mut self, entry: &Entry, place: Place) {
        let mut version = Version {
            mod_revision: place.revision,
            sub: place.sub,
            create_revision: entry.create_revision,
            version: entry.version,
            lease: entry.lease,
        };
        self.writes.put_with(
            Family::Rev,
            |bytes| encoding::put_rev_key(place, false, bytes),
            |bytes| bytes.extend_from_slice(entry.encoded()),
        );
        self.writes.put_with(
            Family::Latest,
            |bytes| bytes.extend_from_slice(&entry.key),
            |bytes| encoding::put(&version, bytes),
        );
        version.mod_revision = 0;
        self.write_history(&entry.key, place, &version);
    }

    fn write_tombstone(&mut self, tombstone: &Entry, place: Place) {
        let row = KeyValue {
            key: tombstone.key.clone(),
            ..KeyValue::default()
        };
        self.writes
            .put(Family::Rev, encoding::rev_key(place, true), row.encode_to_vec());
        self.writes.delete(Family::Latest, &tombstone.key);
        self.write_history(
            &tombstone.key,
            place,
            &Version {
                sub: place.sub,
                ..Version::default()
            },
        );
    }

    fn write_history(&mut self, key: &[u8], place: Place, version: &Version) {
        self.writes.put_with(
            Family::History,
            |bytes| encoding::put_history_key(key, place.revision, bytes),
            |bytes| encoding::put(version, bytes),
        );
    }

    /// Ends the revision, if anything was written.
    pub(crate) fn finish(self) -> Option<Arc<Block>> {
        if self.events.is_empty() {
            return None;
        }
        self.state.revision += 1;
        Some(Arc::new(Block {
            revision: self.state.revision,
            events: self.events,
        }))
    }
}
