//! Bounds of the scheduler, and kube-scheduler's own values where it has them.

use std::time::Duration;

/// The wait after a first failure; it doubles with each.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest wait after a failure.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// An unschedulable Pod is tried again after this long, whatever happened.
pub const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(5 * 60);
/// Bindings under way at once; a cycle waits for one of them to end beyond that.
pub const BINDINGS_MAX: usize = 64;
/// The best score a plugin gives a node.
pub const SCORE_MAX: i64 = 100;
