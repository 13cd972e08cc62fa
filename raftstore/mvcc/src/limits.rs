//! Named limits.

/// The longest time to live a lease may ask for, in seconds (etcd's).
pub const LEASE_TTL_S_MAX: i64 = 9_000_000_000;

/// Operations a transaction may carry unless configured otherwise (etcd's default).
pub const TXN_OPERATIONS_MAX: usize = 128;

/// Rows walked past one by one before a scan gives up and seeks.
pub(crate) const WALK_BEFORE_SEEK_MAX: usize = 16;

/// Entries of a leaf of the index, and children of a branch. More make a shallower tree, and a change copy more.
pub(crate) const INDEX_FANOUT: usize = 16;
