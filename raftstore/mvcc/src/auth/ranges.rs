//! Ranges of keys, merged.

use bytes::Bytes;
use proto::etcd::authpb::Permission;

use crate::RangeEnd;

/// A set of keys as ranges that neither overlap nor touch, ascending.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Ranges(Vec<Range>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Range {
    start: Bytes,
    /// The first key behind it; `None` if there is none.
    end: Option<Bytes>,
}

impl Range {
    fn of(permission: &Permission) -> Option<Self> {
        let start = permission.key.clone();
        let end = match RangeEnd::from_wire(&permission.range_end) {
            RangeEnd::Single => Some(after(&start)),
            RangeEnd::Before(end) if end <= &start[..] => return None,
            RangeEnd::Before(_) => Some(permission.range_end.clone()),
            RangeEnd::Unbounded => None,
        };
        Some(Self { start, end })
    }

    fn reaches(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_none_or(|end| key <= &end[..])
    }

    fn holds(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_none_or(|end| key < &end[..])
    }
}

/// The key right behind a key.
fn after(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}

impl Ranges {
    /// What some permissions cover together.
    pub(super) fn of<'a>(permissions: impl Iterator<Item = &'a Permission>) -> Self {
        let mut ranges: Vec<Range> = permissions.filter_map(Range::of).collect();
        ranges.sort_by(|one, other| one.start.cmp(&other.start));
        let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if last.reaches(&range.start) => {
                    let further = match (&last.end, &range.end) {
                        (Some(end), Some(other)) => other > end,
                        (Some(_), None) => true,
                        (None, _) => false,
                    };
                    if further {
                        last.end = range.end;
                    }
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// Whether all keys of a range are in the set. Of an empty range the start has to be.
    pub(super) fn cover(&self, start: &[u8], end: RangeEnd<'_>) -> bool {
        let behind = self.0.partition_point(|range| &range.start[..] <= start);
        let Some(range) = behind.checked_sub(1).map(|at| &self.0[at]) else {
            return false;
        };
        range.holds(start)
            && match end {
                RangeEnd::Single => true,
                RangeEnd::Before(end) => range.reaches(end),
                RangeEnd::Unbounded => range.end.is_none(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(all: &[(&'static str, &'static str)]) -> Ranges {
        let permissions: Vec<Permission> = all
            .iter()
            .map(|(key, range_end)| Permission {
                perm_type: 0,
                key: Bytes::from_static(key.as_bytes()),
                range_end: Bytes::from_static(range_end.as_bytes()),
            })
            .collect();
        Ranges::of(permissions.iter())
    }

    fn covers(set: &Ranges, key: &str, end: &str) -> bool {
        set.cover(key.as_bytes(), RangeEnd::from_wire(end.as_bytes()))
    }

    #[test]
    fn ranges_that_touch_cover_what_lies_across_them_and_gaps_do_not() {
        let set = ranges(&[("m", "p"), ("a", "c"), ("c", "f"), ("b", "d"), ("x", "")]);
        for (key, end) in [
            ("a", ""),
            ("a", "f"),
            ("b", "e"),
            ("e\0\0", ""),
            ("m", "p"),
            ("x", ""),
            ("x", "x\0"),
        ] {
            assert!(covers(&set, key, end), "{key}..{end}");
        }
        for (key, end) in [
            ("f", ""),
            ("a", "g"),
            ("a", "p"),
            ("l", "n"),
            ("p", ""),
            ("x", "y"),
            ("x\0", ""),
            ("m", "\0"),
            ("`", "b"),
        ] {
            assert!(!covers(&set, key, end), "{key}..{end}");
        }
    }

    #[test]
    fn from_a_key_on_means_without_end() {
        let set = ranges(&[("k", "\0"), ("p", "z"), ("a", "")]);
        assert!(covers(&set, "k", "\0") && covers(&set, "zzz", "") && covers(&set, "l", "\u{7f}"));
        assert!(!covers(&set, "j", "\0") && !covers(&set, "a", "b"));
        assert!(covers(&ranges(&[("\0", "\0")]), "\0", "\0"), "everything");
        assert!(!covers(&Ranges::default(), "a", ""));
    }

    #[test]
    fn a_range_that_ends_before_it_starts_gives_nothing() {
        assert_eq!(ranges(&[("c", "a"), ("c", "c")]), Ranges::default());
    }
}
