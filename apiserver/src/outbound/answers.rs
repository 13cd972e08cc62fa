//! What services beside the cluster answered a moment ago, kept for as long as the configuration says. Bounded: a flood of questions
//! costs answers that would be asked for again, never memory.

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A question, as its digest: what is kept here cannot be read back.
pub(crate) type Key = [u8; 32];

/// See the module.
pub(crate) struct Answers<V> {
    /// Never more than `max`.
    kept: Mutex<HashMap<Key, (Instant, V)>>,
    lifetime: Duration,
    max: usize,
}

/// The key of a question in parts. Each part's length goes in too, so that no two questions look alike.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part);
    }
    let mut key = Key::default();
    key.copy_from_slice(digest(&SHA256, &bytes).as_ref());
    key
}

impl<V: Clone> Answers<V> {
    /// Keeps at most `max` answers for `lifetime` each; none if that is zero.
    pub(crate) fn new(lifetime: Duration, max: usize) -> Answers<V> {
        Answers {
            kept: Mutex::default(),
            lifetime,
            max,
        }
    }

    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<V> {
        let kept = self.kept.lock();
        let (since, value) = kept.get(key)?;
        (now.saturating_duration_since(*since) < self.lifetime).then(|| value.clone())
    }

    pub(crate) fn put(&self, key: Key, value: V, now: Instant) {
        if self.lifetime.is_zero() || self.max == 0 {
            return;
        }
        let mut kept = self.kept.lock();
        if kept.len() >= self.max {
            kept.retain(|_, (since, _)| now.saturating_duration_since(*since) < self.lifetime);
        }
        if kept.len() >= self.max {
            kept.clear();
        }
        kept.insert(key, (now, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_for_its_time_and_no_longer() {
        let answers = Answers::new(Duration::from_secs(10), 4);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        answers.put(key([&b"a"[..]]), 1, start);
        assert_eq!(answers.get(&key([&b"a"[..]]), at(9)), Some(1));
        assert_eq!(answers.get(&key([&b"a"[..]]), at(10)), None);
        assert_eq!(answers.get(&key([&b"b"[..]]), at(1)), None);
        let none = Answers::new(Duration::ZERO, 4);
        none.put(key([&b"a"[..]]), 1, start);
        assert_eq!(none.get(&key([&b"a"[..]]), start), None);
    }

    #[test]
    fn a_flood_never_keeps_more_than_the_bound() {
        let answers = Answers::new(Duration::from_secs(10), 4);
        for number in 0..100_u32 {
            answers.put(key([&number.to_be_bytes()[..]]), number, Instant::now());
            assert!(answers.kept.lock().len() <= 4);
        }
    }

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(key([&b"ab"[..], b"c"]), key([&b"a"[..], b"bc"]));
        assert_ne!(key([&b"ab"[..]]), key([&b"ab"[..], b""]));
    }
}
