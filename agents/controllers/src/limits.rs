//! Every bound of the controllers, by name.

use std::time::Duration;

/// Objects of one controller worked on at a time.
pub const WORKERS: usize = 5;

/// Pods one ReplicaSet creates or deletes in one look.
pub const REPLICAS_BURST: usize = 500;

/// The first batch of creations; every successful one doubles the next.
pub const SLOW_START_BATCH: usize = 1;

/// How old a failed Pod of a DaemonSet must be before another is made in its place.
pub const DAEMON_FAILED_WAIT: Duration = Duration::from_secs(15);

/// How long a Job waits after its first failed Pod before it makes another; it doubles with each.
pub const JOB_BACKOFF_MIN: Duration = Duration::from_secs(10);

/// The longest a Job waits after a failed Pod.
pub const JOB_BACKOFF_MAX: Duration = Duration::from_secs(600);

/// How long an allowed eviction is waited for before it is taken not to come.
pub const DISRUPTION_TIMEOUT: Duration = Duration::from_secs(120);

/// Deletions on their way at a time.
pub const DELETES_IN_FLIGHT_MAX: usize = 32;

/// Endpoints in one slice.
pub const ENDPOINTS_PER_SLICE_MAX: usize = 100;

/// Addresses in one Endpoints object.
pub const ENDPOINTS_ADDRESSES_MAX: usize = 1000;

/// How often a deleted namespace that still has content is looked at.
pub const NAMESPACE_RETRY: Duration = Duration::from_secs(2);

/// How often the garbage collector looks for resources that have come or gone.
pub const DISCOVERY_INTERVAL: Duration = Duration::from_secs(30);

/// How often nodes are looked at.
pub const NODE_MONITOR_INTERVAL: Duration = Duration::from_secs(5);

/// How long a node may be silent before it counts as unreachable.
pub const NODE_GRACE: Duration = Duration::from_secs(50);

/// How long a new node may take to say something at all.
pub const NODE_STARTUP_GRACE: Duration = Duration::from_secs(60);

/// How long at most until a Pod that may stay for a while is looked at again: users may ask for longer than a clock can
/// count.
pub const EVICTION_LOOK: Duration = Duration::from_secs(3600);

/// How often Pods nobody will end are looked for.
pub const POD_GC_INTERVAL: Duration = Duration::from_secs(20);

/// How long a Pod's node must have been gone before the Pod is deleted.
pub const POD_GC_QUARANTINE: Duration = Duration::from_secs(40);

/// Ended Pods that may remain; the oldest beyond go.
pub const TERMINATED_PODS_MAX: usize = 12_500;

/// How often a request for a certificate that nobody may approve is looked at: the right may yet be granted.
pub const APPROVAL_RETRY: Duration = Duration::from_secs(30);

/// How often a certificate that cannot be signed is tried again.
pub const SIGNING_RETRY: Duration = Duration::from_secs(60);

/// The shortest certificate, twice what it is dated back.
pub const CERTIFICATE_MIN: Duration = Duration::from_secs(600);

/// How long a request for a certificate stays once it is approved, denied or failed.
pub const REQUEST_DECIDED_MAX: Duration = Duration::from_secs(3600);

/// How long at most until something that ends some day is looked at again: its end may be further off than a clock can count.
pub const LOOK_MAX: Duration = Duration::from_secs(3600);

/// How long a request for a certificate may wait for a decision.
pub const REQUEST_PENDING_MAX: Duration = Duration::from_secs(24 * 3600);

const _: () = assert!(NODE_MONITOR_INTERVAL.as_secs() * 4 < NODE_GRACE.as_secs());
const _: () = assert!(SLOW_START_BATCH <= REPLICAS_BURST);
