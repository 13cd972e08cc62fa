//! Sets of completion indexes, as the API writes them: `1,3-5`. Pure.
//!
//! Kept as ranges: how many indexes there are is anybody's number, but a text holds only so many ranges.

use std::collections::BTreeMap;
use std::iter::once;
use std::ops::RangeInclusive;

/// A set of indexes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Indexes {
    /// First to last of each range. No two overlap or touch.
    ranges: BTreeMap<i32, i32>,
}

impl Indexes {
    /// The indexes in a text, those below `limit`. What cannot be read is left out.
    pub fn parse(text: &str, limit: i32) -> Indexes {
        let mut set = Indexes::default();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                set.insert_all(first.max(0)..=last.min(limit.saturating_sub(1)));
            }
        }
        set
    }

    pub fn insert(&mut self, index: i32) {
        self.insert_all(index..=index);
    }

    fn insert_all(&mut self, range: RangeInclusive<i32>) {
        if range.is_empty() {
            return;
        }
        let (mut first, mut last) = range.into_inner();
        // What overlaps or touches it becomes part of it.
        while let Some((from, to)) = self.ranges.range(..=last.saturating_add(1)).next_back()
            && *to >= first.saturating_sub(1)
        {
            let from = *from;
            (first, last) = (first.min(from), last.max(*to));
            self.ranges.remove(&from);
        }
        self.ranges.insert(first, last);
    }

    pub fn contains(&self, index: i32) -> bool {
        let range = self.ranges.range(..=index).next_back();
        range.is_some_and(|(_, last)| index <= *last)
    }

    /// How many there are.
    pub fn len(&self) -> i32 {
        let lengths = self.ranges.iter().map(|(first, last)| last - first + 1);
        lengths.fold(0, i32::saturating_add)
    }

    /// The indexes below `limit` that are not in the set, ascending.
    pub fn missing(&self, limit: i32) -> impl Iterator<Item = i32> {
        let from = once(0).chain(self.ranges.values().map(|last| last + 1));
        let to = self.ranges.keys().copied().chain(once(limit));
        from.zip(to).flat_map(move |(from, to)| from..to.min(limit))
    }
}

impl std::fmt::Display for Indexes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                // Two neighbours are two numbers.
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for text in ["", "0", "1,2", "1,3-5", "0-9,11"] {
            assert_eq!(Indexes::parse(text, 100).to_string(), text);
        }
        assert_eq!(Indexes::parse("1-1000000000,x,-", 3).to_string(), "1,2");
        assert_eq!(Indexes::parse("5-3,7,6,9-12,4-8", 100).to_string(), "4-12");
    }

    #[test]
    fn a_range_costs_the_same_however_long_it_is() {
        let mut set = Indexes::parse("0-1999999999", i32::MAX);
        set.insert(2_000_000_001);
        assert_eq!(set.len(), 2_000_000_001);
        assert!(set.contains(1_999_999_999) && !set.contains(2_000_000_000));
        let missing: Vec<i32> = set.missing(i32::MAX).take(2).collect();
        assert_eq!(missing, [2_000_000_000, 2_000_000_002]);
        set.insert(2_000_000_000);
        assert_eq!(set.to_string(), "0-2000000001");
        assert_eq!(set.missing(5).count(), 0);
    }

    #[test]
    fn inserting_one_by_one_is_the_same_as_all_at_once() {
        let mut set = Indexes::default();
        // 7 and 10 have no common divisor: every index below 10 once.
        for (n, index) in (0..10).map(|n| n * 7 % 10).enumerate() {
            assert!(!set.contains(index));
            set.insert(index);
            set.insert(index);
            assert_eq!(set.len() as usize, n + 1);
            assert_eq!(set.missing(10).count(), 9 - n);
        }
        assert_eq!(set.to_string(), "0-9");
    }
}
