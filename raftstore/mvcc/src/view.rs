//! The latest state, immutable and shared.

use std::sync::Arc;

use imbl::OrdMap;
use proto::{
    etcd::etcdserverpb::{AlarmMember, AlarmType, RangeRequest, RangeResponse},
    raft::Identity,
};

use crate::{
    Auth, Caller, Entry, Lease, LogId, RangeEnd,
    index::Index,
    range::{self, Found},
};

/// The revision of a store nobody has written to (etcd's).
pub(crate) const FIRST_REVISION: i64 = 1;

/// Everything the machine holds in memory. Cloning shares all of it.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub applied: Option<LogId>,
    pub revision: i64,
    /// Revisions below this one are gone; 0 before the first compaction. Never above `revision`.
    pub compacted: i64,
    /// Exactly the live keys.
    pub index: Index,
    pub leases: OrdMap<i64, Arc<Lease>>,
    pub alarms: Arc<Vec<AlarmMember>>,
    pub auth: Arc<Auth>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            applied: None,
            revision: FIRST_REVISION,
            compacted: 0,
            index: Index::default(),
            leases: OrdMap::new(),
            alarms: Arc::default(),
            auth: Arc::default(),
        }
    }
}

impl State {
    /// The live keys of a range, which also says how many they are.
    pub(crate) fn iter(
        &self,
        start: &[u8],
        end: RangeEnd<'_>,
    ) -> impl DoubleEndedIterator<Item = &Arc<Entry>> + ExactSizeIterator + use<'_> {
        match end.bounds(start) {
            Some(bounds) => self.index.range(bounds),
            None => self.index.none(),
        }
    }

    pub(crate) fn find(&self, start: &[u8], end: RangeEnd<'_>, wanted: usize) -> Found {
        if end == RangeEnd::Single {
            let entry = self.index.get(start);
            return Found {
                count: i64::from(entry.is_some()),
                entries: entry.filter(|_| wanted > 0).cloned().into_iter().collect(),
            };
        }
        let entries = self.iter(start, end);
        Found {
            count: entries.len() as i64,
            entries: entries.take(wanted).cloned().collect(),
        }
    }

    pub(crate) fn has_alarm(&self, alarm: AlarmType) -> bool {
        self.alarms.iter().any(|raised| raised.alarm() == alarm)
    }
}

/// The latest state as of one revision. A clone costs a counter; holding one never blocks apply.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) state: Arc<State>,
}

impl View {
    /// The view of a store nobody has written to.
    #[must_use]
    pub fn empty() -> Self {
        Self { state: Arc::default() }
    }

    /// The last log entry this view reflects.
    #[must_use]
    pub fn applied(&self) -> Option<LogId> {
        self.state.applied
    }

    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.state.revision
    }

    /// The compacted revision: reads and watches below it are refused. 0 if there was no compaction.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        self.state.compacted
    }

    /// The live version of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.state.index.get(key)
    }

    /// The live keys from `start` to `end`, in key order.
    pub fn range(
        &self,
        start: &[u8],
        end: RangeEnd<'_>,
    ) -> impl DoubleEndedIterator<Item = &Arc<Entry>> + ExactSizeIterator + use<'_> {
        self.state.iter(start, end)
    }

    /// How many live keys lie between `start` and `end`, however many: O(log n).
    #[must_use]
    pub fn count(&self, start: &[u8], end: RangeEnd<'_>) -> usize {
        self.state.iter(start, end).len()
    }

    /// All live keys.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.state.index.len()
    }

    /// Answers a range request at this view's revision; its own `revision` is not looked at.
    #[must_use]
    pub fn respond(&self, request: &RangeRequest) -> RangeResponse {
        let end = RangeEnd::from_wire(&request.range_end);
        let found = self.state.find(&request.key, end, range::wanted(request));
        range::respond(found, request, self.state.revision)
    }

    /// A lease.
    #[must_use]
    pub fn lease(&self, id: i64) -> Option<&Arc<Lease>> {
        self.state.leases.get(&id)
    }

    /// All leases, by id.
    pub fn leases(&self) -> impl Iterator<Item = &Arc<Lease>> {
        self.state.leases.values()
    }

    /// Users, roles and whether they matter.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.state.auth
    }

    /// Judges what somebody asks for; without an identity everything is allowed.
    #[must_use]
    pub fn caller<'a>(&'a self, identity: Option<&'a Identity>) -> Caller<'a> {
        Caller::new(&self.state, identity)
    }

    /// Raised alarms.
    #[must_use]
    pub fn alarms(&self) -> &[AlarmMember] {
        &self.state.alarms
    }
}
