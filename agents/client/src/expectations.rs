//! What a controller has done but not yet seen.
//!
//! **Theory.** A controller that creates three Pods and looks into its cache at once sees none of them, and would
//! create three more. So it writes down what it expects to see, and does nothing for that owner until it has.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use parking_lot::Mutex;

use crate::{Key, limits};

#[derive(Default)]
struct Expected {
    creations: usize,
    /// By key and uid, so that a deletion seen twice counts once.
    deletions: HashSet<(Key, String)>,
    since: Option<Instant>,
}

/// Expectations of all owners of one controller.
#[derive(Default)]
pub struct Expectations {
    owners: Mutex<HashMap<Key, Expected>>,
}

impl Expectations {
    /// `owner` is about to create `count` objects.
    pub fn expect_creations(&self, owner: &Key, count: usize) {
        let mut owners = self.owners.lock();
        let expected = owners.entry(owner.clone()).or_default();
        expected.creations += count;
        expected.since = Some(Instant::now());
    }

    /// `owner` is about to delete these objects (key and uid).
    pub fn expect_deletions(&self, owner: &Key, objects: impl IntoIterator<Item = (Key, String)>) {
        let mut owners = self.owners.lock();
        let expected = owners.entry(owner.clone()).or_default();
        expected.deletions.extend(objects);
        expected.since = Some(Instant::now());
    }

    /// A creation was seen, or has failed.
    pub fn creation_observed(&self, owner: &Key) {
        self.creations_observed(owner, 1);
    }

    /// Several creations were seen, or will not be tried.
    pub fn creations_observed(&self, owner: &Key, count: usize) {
        if let Some(expected) = self.owners.lock().get_mut(owner) {
            expected.creations = expected.creations.saturating_sub(count);
        }
    }

    /// A deletion was seen (the object is gone or going), or has failed.
    pub fn deletion_observed(&self, owner: &Key, object: &Key, uid: &str) {
        if let Some(expected) = self.owners.lock().get_mut(owner) {
            expected.deletions.remove(&(object.clone(), uid.to_owned()));
        }
    }

    /// Whether the cache shows everything `owner` did, or it has been waited for long enough.
    pub fn satisfied(&self, owner: &Key) -> bool {
        self.satisfied_at(owner, Instant::now())
    }

    fn satisfied_at(&self, owner: &Key, now: Instant) -> bool {
        let mut owners = self.owners.lock();
        let Some(expected) = owners.get(owner) else { return true };
        let seen = expected.creations == 0 && expected.deletions.is_empty();
        let late = expected
            .since
            .is_some_and(|s| now.saturating_duration_since(s) > limits::EXPECTATION_TIMEOUT);
        if seen || late {
            owners.remove(owner);
        }
        seen || late
    }

    /// `owner` is gone.
    pub fn forget(&self, owner: &Key) {
        self.owners.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn satisfied_once_everything_is_seen() {
        let (expectations, owner) = (Expectations::default(), Key::new("ns", "rs"));
        assert!(expectations.satisfied(&owner));
        expectations.expect_creations(&owner, 2);
        expectations.creation_observed(&owner);
        assert!(!expectations.satisfied(&owner));
        expectations.creation_observed(&owner);
        assert!(expectations.satisfied(&owner));
    }

    #[test]
    fn a_deletion_seen_twice_counts_once() {
        let (expectations, owner) = (Expectations::default(), Key::new("ns", "rs"));
        let (a, b) = (Key::new("ns", "a"), Key::new("ns", "b"));
        expectations.expect_deletions(&owner, [(a.clone(), "1".to_owned()), (b.clone(), "2".to_owned())]);
        expectations.deletion_observed(&owner, &a, "1");
        expectations.deletion_observed(&owner, &a, "1");
        assert!(!expectations.satisfied(&owner));
        expectations.deletion_observed(&owner, &b, "2");
        assert!(expectations.satisfied(&owner));
    }

    #[test]
    fn an_event_that_never_comes_is_given_up() {
        let (expectations, owner) = (Expectations::default(), Key::new("ns", "rs"));
        expectations.expect_creations(&owner, 1);
        let late = Instant::now() + limits::EXPECTATION_TIMEOUT * 2;
        assert!(expectations.satisfied_at(&owner, late));
    }
}
