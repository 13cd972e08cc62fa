//! What a member counts and measures of itself. Read by whoever shows it; nothing here decides anything.
//!
//! Left out: names and text forms, which are the door's; what can be read off the state when asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Adds some.
    pub fn add(&self, some: u64) {
        self.0.fetch_add(some, Ordering::Relaxed);
    }

    /// Takes some back, of what is a level and not a count.
    pub fn sub(&self, some: u64) {
        self.0.fetch_sub(some, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Buckets of a histogram: how many, and the upper bound of the first in seconds; each bound is twice the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Buckets {
    /// The first bound.
    pub first_s: f64,
    /// How many have a bound.
    pub count: usize,
}

impl Buckets {
    /// The bounds in seconds, ascending.
    pub fn bounds(self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.first_s), |bound| Some(bound * 2.0)).take(self.count)
    }

    /// The bucket of a value; `count` is the one without a bound.
    fn place(self, seconds: f64) -> usize {
        self.bounds().take_while(|bound| seconds > *bound).count()
    }
}

/// How long something took, in buckets.
#[derive(Debug)]
pub struct Histogram {
    buckets: Buckets,
    /// One more than there are bounds.
    counts: Vec<AtomicU64>,
    sum_ns: AtomicU64,
}

/// What a histogram held at some time.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Upper bounds in seconds and how many values were at most that; the last is infinite.
    pub cumulative: Vec<(f64, u64)>,
    /// The sum of all values in seconds.
    pub sum_s: f64,
}

impl Histogram {
    /// An empty one.
    pub fn new(buckets: Buckets) -> Self {
        let mut counts = Vec::new();
        counts.resize_with(buckets.count + 1, AtomicU64::default);
        Self {
            buckets,
            counts,
            sum_ns: AtomicU64::default(),
        }
    }

    /// Notes a duration.
    pub fn observe(&self, took: Duration) {
        let place = self.buckets.place(took.as_secs_f64());
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Runs something and notes how long it took.
    pub fn time<T>(&self, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = run();
        self.observe(start.elapsed());
        done
    }

    /// What was noted so far.
    pub fn read(&self) -> Measured {
        let bounds = self.buckets.bounds().chain([f64::INFINITY]);
        let mut sum = 0;
        let cumulative = bounds.zip(&self.counts).map(|(bound, count)| {
            sum += count.load(Ordering::Relaxed);
            (bound, sum)
        });
        Measured {
            cumulative: cumulative.collect(),
            sum_s: self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }
}

/// etcd's buckets for disks.
pub const DISK: Buckets = Buckets {
    first_s: 0.001,
    count: 14,
};
/// etcd's buckets for applying.
pub const APPLY: Buckets = Buckets {
    first_s: 0.0001,
    count: 20,
};
/// etcd's buckets for the network.
pub const NETWORK: Buckets = Buckets {
    first_s: 0.0001,
    count: 16,
};

/// Everything that a member counts.
#[derive(Debug)]
pub struct Metrics {
    /// Syncs of the log.
    pub log_sync: Histogram,
    /// Bytes written to the log.
    pub log_bytes: Counter,
    /// Applying an entry and writing its effects to the tables.
    pub apply: Histogram,
    /// Making the tables durable.
    pub flush: Histogram,
    /// Ranges that were answered.
    pub ranges: Counter,
    /// Keys that were put.
    pub puts: Counter,
    /// Bytes of keys and values that were put.
    pub put_bytes: Counter,
    /// Keys that were deleted.
    pub deletes: Counter,
    /// Transactions that were applied.
    pub txns: Counter,
    /// Leases that were granted.
    pub leases_granted: Counter,
    /// Leases that ended, because they were revoked or because their time was over.
    pub leases_revoked: Counter,
    /// Leases that were extended here.
    pub leases_renewed: Counter,
    /// Times that another leader was seen.
    pub leader_changes: Counter,
    /// Requests proposed and not yet answered: a level.
    pub proposals_pending: Counter,
    /// Requests that could not be proposed or were lost.
    pub proposals_failed: Counter,
    /// Between an append and its answer, by peer.
    round_trips: Mutex<BTreeMap<u64, Arc<Histogram>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            log_sync: Histogram::new(DISK),
            log_bytes: Counter::default(),
            apply: Histogram::new(APPLY),
            flush: Histogram::new(DISK),
            ranges: Counter::default(),
            puts: Counter::default(),
            put_bytes: Counter::default(),
            deletes: Counter::default(),
            txns: Counter::default(),
            leases_granted: Counter::default(),
            leases_revoked: Counter::default(),
            leases_renewed: Counter::default(),
            leader_changes: Counter::default(),
            proposals_pending: Counter::default(),
            proposals_failed: Counter::default(),
            round_trips: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Round trips to a peer.
    pub fn round_trip(&self, peer: u64) -> Arc<Histogram> {
        let mut peers = self.round_trips.lock();
        peers
            .entry(peer)
            .or_insert_with(|| Arc::new(Histogram::new(NETWORK)))
            .clone()
    }

    /// Round trips to every peer that was ever called.
    pub fn round_trips(&self) -> Vec<(u64, Measured)> {
        let peers = self.round_trips.lock();
        peers
            .iter()
            .map(|(peer, histogram)| (*peer, histogram.read()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_its_bucket_and_all_above() {
        let histogram = Histogram::new(Buckets { first_s: 0.5, count: 2 });
        for milliseconds in [1, 500, 501, 1_000, 5_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let measured = histogram.read();
        assert_eq!(measured.cumulative, [(0.5, 2), (1.0, 4), (f64::INFINITY, 5)]);
        assert!((measured.sum_s - 7.002).abs() < 1e-9, "{measured:?}");
    }
}
