//! Key ranges, and the options a range request applies to what it found.

use std::{cmp::Ordering, ops::Bound, sync::Arc};

use bytes::Bytes;
use proto::etcd::etcdserverpb::{
    RangeRequest, RangeResponse, ResponseHeader,
    range_request::{SortOrder, SortTarget},
};

use crate::{DeterministicError, Entry};

/// A range of keys as the standard library's collections take it.
pub(crate) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Where a range that begins with a key ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RangeEnd<'a> {
    /// The range is that one key.
    Single,
    /// The range ends before this key.
    Before(&'a [u8]),
    /// The range never ends.
    Unbounded,
}

impl<'a> RangeEnd<'a> {
    /// etcd's form: empty is a single key, one zero byte is everything from the key on.
    #[must_use]
    pub fn from_wire(range_end: &'a [u8]) -> Self {
        match range_end {
            [] => Self::Single,
            [0] => Self::Unbounded,
            end => Self::Before(end),
        }
    }

    /// Whether the range from `start` to this end holds `key`.
    #[must_use]
    pub fn contains(self, start: &[u8], key: &[u8]) -> bool {
        match self {
            Self::Single => key == start,
            Self::Before(end) => key >= start && key < end,
            Self::Unbounded => key >= start,
        }
    }

    /// The range as bounds, or `None` if it is empty.
    pub(crate) fn bounds(self, start: &'a [u8]) -> Option<Bounds<'a>> {
        match self {
            Self::Single => Some((Bound::Included(start), Bound::Included(start))),
            Self::Before(end) if end <= start => None,
            Self::Before(end) => Some((Bound::Included(start), Bound::Excluded(end))),
            Self::Unbounded => Some((Bound::Included(start), Bound::Unbounded)),
        }
    }
}

/// The `range_end` that makes a range of all keys starting with `prefix`, in etcd's form.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// What lies in a range, before sorting and limiting.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The first keys in key order, as many as were asked for.
    pub entries: Vec<Arc<Entry>>,
    /// All keys in the range.
    pub count: i64,
}

/// How many keys a request needs loaded: one past its limit to know whether there are more. A filter or a sort needs all
/// of them. (Like etcd, a sort target with *no order* is limited first and sorted afterwards.)
pub(crate) fn wanted(request: &RangeRequest) -> usize {
    let filtered = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ] != [0; 4];
    let by_key = request.sort_target() == SortTarget::Key;
    let sorted = match request.sort_order() {
        SortOrder::None => false,
        SortOrder::Ascend => !by_key,
        SortOrder::Descend => true,
    };
    if request.count_only {
        0
    } else if request.limit <= 0 || filtered || sorted {
        usize::MAX
    } else {
        usize::try_from(request.limit).unwrap_or(usize::MAX).saturating_add(1)
    }
}

/// Filters, sorts and limits what was found.
pub(crate) fn respond(found: Found, request: &RangeRequest, revision: i64) -> RangeResponse {
    let Found { mut entries, count } = found;
    entries.retain(|entry| passes(entry, request));
    sort(&mut entries, request.sort_target(), request.sort_order());
    let limit = usize::try_from(request.limit).unwrap_or(0);
    let more = limit > 0 && entries.len() > limit;
    if more {
        entries.truncate(limit);
    }
    let kvs = entries
        .iter()
        .map(|entry| {
            let mut kv = entry.to_kv();
            if request.keys_only {
                kv.value = Bytes::new();
            }
            kv
        })
        .collect();
    RangeResponse {
        header: header(revision),
        kvs,
        more,
        count,
    }
}

fn passes(entry: &Entry, request: &RangeRequest) -> bool {
    let within = |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(entry.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(
            entry.create_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
}

/// Sorts entries that are in key order. Equal ones stay in key order, also descending.
fn sort(entries: &mut [Arc<Entry>], target: SortTarget, order: SortOrder) {
    let compare = |a: &Entry, b: &Entry| -> Ordering {
        match target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        }
    };
    match (target, order) {
        (SortTarget::Key, SortOrder::Descend) => entries.reverse(),
        (SortTarget::Key, _) => {}
        (_, SortOrder::Descend) => entries.sort_by(|a, b| compare(b, a)),
        (_, _) => entries.sort_by(|a, b| compare(a, b)),
    }
}

/// A response header that knows the revision; the door fills in the rest.
pub(crate) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}

/// Whether a range at `revision` can be answered by a store that is at `current` and compacted at `compacted`.
pub(crate) fn check_revision(revision: i64, compacted: i64, current: i64) -> Result<(), DeterministicError> {
    if revision > current {
        Err(DeterministicError::FutureRevision { current })
    } else if revision > 0 && revision < compacted {
        Err(DeterministicError::Compacted { compacted })
    } else {
        Ok(())
    }
}
