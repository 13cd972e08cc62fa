//! Faults that are built in on purpose, for tests that must find them. Compiled only with the feature `planted`, and even
//! then harmless until one is switched on.

use std::cell::Cell;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// A leader answers reads without asking its quorum, so one that was deposed meanwhile answers with the past.
    StaleRead,
    /// A watcher that lags a little silently loses events.
    WatchGap,
    /// A leader that lapsed keeps its lease timers and has leases revoked through its successor.
    DeposedRevoke,
    /// A lease is said to be gone as soon as its revocation is proposed.
    HastyExpiry,
}

thread_local! {
    static PLANTED: Cell<Option<Planted>> = const { Cell::new(None) };
}

/// Switches a fault on, for all that runs on this thread, or all of them off.
pub fn set(planted: Option<Planted>) {
    PLANTED.set(planted);
}

/// Whether a fault is on.
pub(crate) fn is(planted: Planted) -> bool {
    PLANTED.get() == Some(planted)
}
