use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::Index;
use crate::Entry;
use crate::limits::INDEX_FANOUT;

type Model = BTreeMap<Vec<u8>, i64>;

/// Numbers that look random and are the same everywhere (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Keys that share beginnings, are beginnings of each other, and sometimes are empty.
    fn key(&mut self, keys: u64) -> Vec<u8> {
        let number = self.below(keys);
        match number % 7 {
            0 => vec![b'a'; (number / 7) as usize % 40],
            1 => number.to_be_bytes()[6..].to_vec(),
            _ => format!("/registry/pods/{}/{number}", number % 3).into_bytes(),
        }
    }
}

fn entry(key: &[u8], revision: i64) -> Arc<Entry> {
    Arc::new(Entry::new(key, b"value", 1, revision, 1, 0))
}

fn seen(index: &Index, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Vec<(Vec<u8>, i64)> {
    let entries = index.range(bounds);
    let told = entries.len();
    let seen: Vec<_> = entries.map(|entry| (entry.key.to_vec(), entry.mod_revision)).collect();
    assert_eq!(told, seen.len(), "a range says how long it is");
    seen
}

fn known(model: &Model, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Vec<(Vec<u8>, i64)> {
    let keys = model
        .iter()
        .filter(|(key, _)| RangeBounds::<[u8]>::contains(&bounds, &key[..]));
    keys.map(|(key, revision)| (key.clone(), *revision)).collect()
}

fn same(index: &Index, model: &Model) {
    index.root.check(&[], None);
    assert_eq!(index.len(), model.len());
    let everything = (Bound::Unbounded, Bound::Unbounded);
    assert_eq!(seen(index, everything), known(model, everything));
}

#[test]
fn it_holds_what_a_map_holds_whatever_is_done_to_it() {
    for (seed, keys, steps) in [(1, 60, 4_000), (2, 3_000, 30_000), (3, 20_000, 40_000)] {
        let mut numbers = Numbers(seed);
        let (mut index, mut model) = (Index::default(), Model::new());
        let mut snapshots: Vec<(Index, Model)> = Vec::new();
        for step in 0..steps {
            let key = numbers.key(keys);
            // Grows first, then shrinks to nothing, then grows again.
            let removes = [2, 9, 3][(3 * step / steps) as usize];
            if numbers.below(10) < removes {
                let removed = index.remove(&key).map(|entry| entry.mod_revision);
                assert_eq!(removed, model.remove(&key));
            } else {
                let replaced = index.insert(entry(&key, step)).map(|entry| entry.mod_revision);
                assert_eq!(replaced, model.insert(key, step));
            }
            let key = numbers.key(keys);
            assert_eq!(
                index.get(&key).map(|entry| entry.mod_revision),
                model.get(&key).copied()
            );
            if step % (steps / 40) == 0 {
                same(&index, &model);
                snapshots.push((index.clone(), model.clone()));
            }
        }
        for (index, model) in snapshots {
            same(&index, &model);
        }
    }
}

#[test]
fn ranges_are_walked_from_both_ends_and_know_their_length() {
    let mut numbers = Numbers(4);
    let (mut index, mut model) = (Index::default(), Model::new());
    for revision in 0..2_000 {
        let key = numbers.key(1_500);
        index.insert(entry(&key, revision));
        model.insert(key, revision);
    }
    for _ in 0..500 {
        let mut pair = [numbers.key(2_000), numbers.key(2_000)];
        pair.sort_unstable();
        let (start, end) = (&pair[0][..], &pair[1][..]);
        for bounds in [
            (Bound::Included(start), Bound::Excluded(end)),
            (Bound::Included(start), Bound::Included(end)),
            (Bound::Excluded(start), Bound::Unbounded),
            (Bound::Included(end), Bound::Excluded(start)),
        ] {
            let mut expected = known(&model, bounds);
            assert_eq!(seen(&index, bounds), expected);
            let back: Vec<_> = index.range(bounds).rev().map(|entry| entry.mod_revision).collect();
            assert!(back.iter().rev().eq(expected.iter().map(|(_, revision)| revision)));
            let mut walk = index.range(bounds);
            while !expected.is_empty() {
                let next = match numbers.below(3) {
                    0 => (walk.next(), expected.remove(0)),
                    1 => (walk.next_back(), expected.pop().expect("not empty")),
                    _ => {
                        let skipped = numbers.below(40) as usize;
                        let Some(next) = walk.nth(skipped) else {
                            assert!(expected.len() <= skipped);
                            break;
                        };
                        expected.drain(..skipped);
                        (Some(next), expected.remove(0))
                    }
                };
                assert_eq!(next.0.map(|entry| entry.mod_revision), Some(next.1.1));
            }
            assert!(walk.next().is_none() && walk.next_back().is_none());
        }
    }
}

#[test]
fn keys_that_come_in_order_fill_their_leaves() {
    let mut index = Index::default();
    for number in 0..10_000_u32 {
        index.insert(entry(&number.to_be_bytes(), 1));
    }
    let leaves = index.root.leaves();
    assert!(leaves[..leaves.len() - 1].iter().all(|keys| *keys == INDEX_FANOUT));
    let depth = index.root.check(&[], None) as u32;
    assert!(INDEX_FANOUT.pow(depth - 1) < 10_000, "no deeper than it has to be");
}

#[test]
fn what_shrinks_gives_its_room_back() {
    let mut index = Index::default();
    let keys: Vec<[u8; 4]> = (0..10_000_u32).map(u32::to_be_bytes).collect();
    for key in &keys {
        index.insert(entry(key, 1));
    }
    for key in keys
        .iter()
        .enumerate()
        .filter(|(at, _)| at % 50 != 0)
        .map(|(_, key)| key)
    {
        index.remove(key);
    }
    let leaves = index.root.leaves();
    assert!(
        leaves.len() <= 2 * index.len() / (INDEX_FANOUT * 3 / 4) + 1,
        "{leaves:?}"
    );
    for key in &keys {
        index.remove(key);
    }
    assert_eq!(index.root.leaves(), [0]);
    assert!(index.get(&keys[0]).is_none() && index.iter().next().is_none());
}

#[test]
fn a_change_leaves_what_it_does_not_pass_shared() {
    let mut index = Index::default();
    for number in 0..1_000_u32 {
        index.insert(entry(&number.to_be_bytes(), 1));
    }
    let held = index.clone();
    index.insert(entry(&500_u32.to_be_bytes(), 2));
    let moved = (0..1_000).filter(|&rank| {
        let (before, after) = (held.leaf_at(rank).0, index.leaf_at(rank).0);
        !std::ptr::eq(before, after)
    });
    assert_eq!(moved.count(), INDEX_FANOUT, "one leaf was copied");
    assert_eq!(
        held.get(&500_u32.to_be_bytes()).map(|entry| entry.mod_revision),
        Some(1)
    );
}

/// Whole nodes go and come back, so that neighbours are joined that did not begin side by side: what either knew of its keys'
/// beginnings does not hold for both.
#[test]
fn stretches_that_go_and_come_back_leave_a_sound_tree() {
    let key = |number: u64| {
        let (group, place) = (number / 20, number % 20);
        let (first, second) = (b'a' + (group / 16) as u8, b'a' + (group % 16) as u8);
        format!("/{}{}/kept-together-{place:02}", first as char, second as char).into_bytes()
    };
    let keys = 20 * 16 * 16;
    for seed in 0..12 {
        let mut numbers = Numbers(100 + seed);
        let (mut index, mut model) = (Index::default(), Model::new());
        for step in 0..400 {
            let first = numbers.below(keys);
            let length = 1 + [8, 60, 900][numbers.below(3) as usize];
            let stretch = first..(first + numbers.below(length) + 1).min(keys);
            // A part of them, so that small nodes are left.
            let every = 1 + numbers.below(3);
            let removes = numbers.below(2) == 0;
            for number in stretch.filter(|number| number % every == 0) {
                let key = key(number);
                if removes {
                    let removed = index.remove(&key).map(|entry| entry.mod_revision);
                    assert_eq!(removed, model.remove(&key));
                } else {
                    index.insert(entry(&key, step));
                    model.insert(key, step);
                }
            }
            same(&index, &model);
        }
        for number in 0..keys {
            let key = key(number);
            let found = index.get(&key).map(|entry| entry.mod_revision);
            assert_eq!(found, model.get(&key).copied());
        }
    }
}
