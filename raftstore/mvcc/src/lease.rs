//! Leases as the machine knows them: no time passes here.

use bytes::Bytes;
use imbl::OrdSet;

/// A lease and the keys that go with it.
#[derive(Clone, Debug)]
pub struct Lease {
    pub id: i64,
    /// Granted time to live in seconds; at least 1.
    pub ttl_s: i64,
    /// What was left at the last checkpoint in seconds; 0 if there was none.
    pub remaining_ttl_s: i64,
    /// The attached keys: exactly the live keys whose entry names this lease.
    pub keys: OrdSet<Bytes>,
}

impl Lease {
    pub(crate) fn to_record(&self) -> proto::state::Lease {
        proto::state::Lease {
            ttl_s: self.ttl_s,
            remaining_ttl_s: self.remaining_ttl_s,
        }
    }

    /// What a new leader's timer starts from: the last checkpoint, or the whole.
    #[must_use]
    pub fn effective_ttl_s(&self) -> i64 {
        if self.remaining_ttl_s > 0 {
            self.remaining_ttl_s
        } else {
            self.ttl_s
        }
    }
}

/// What an entry did to leases, for whoever keeps their timers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeaseChange {
    Granted { id: i64, ttl_s: i64 },
    Revoked { id: i64 },
    Checkpointed { id: i64, remaining_ttl_s: i64 },
}
