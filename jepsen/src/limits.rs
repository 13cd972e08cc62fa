//! How long the harness waits for anything, and how much it keeps.

use std::time::Duration;

/// After this a client gives an operation up; its outcome is then unknown.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);
/// To open a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// For all members to answer, at the start and after the faults are healed.
pub const HEALTHY_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a cluster that is not yet healthy is asked again.
pub const HEALTHY_POLL: Duration = Duration::from_millis(200);
/// For a member to stop in order before it is killed.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// For watchers to reach the last revision.
pub const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// A final read is tried this often before it is given up.
pub const FINAL_READS: usize = 20;
/// Quiet time between two faults, and how long a fault lasts, in milliseconds.
pub const QUIET_MS: std::ops::Range<u64> = 2_000..6_000;
pub const FAULT_MS: std::ops::Range<u64> = 3_000..10_000;
/// What a step of the schedule takes on average: both, and what it takes to make and mend a fault. Where a round of all faults
/// does not fit into a test, the first two are shortened.
pub const STEP: Duration = Duration::from_secs(14);
/// For a fault to be made, whatever it waits for: some write for 90 s first.
pub const BEGIN_TIMEOUT: Duration = Duration::from_secs(150);
/// Operations drawn on the timeline and points in a plot; of longer tests, every n-th.
pub const TIMELINE_OPERATIONS: usize = 6_000;
pub const PLOT_POINTS: usize = 8_000;
/// Size of each member's file system when disks are part of the test.
pub const DISK_BYTES: u64 = 1 << 30;
/// Operations a second of all clients that a test can be asked for.
pub const RATE: std::ops::RangeInclusive<f64> = 0.01..=100_000.0;
/// Clients, seconds of a test, and minutes of a suite that can be asked for.
pub const CLIENTS_MAX: u64 = 10_000;
pub const TEST_SECONDS_MAX: u64 = 86_400;
pub const SUITE_MINUTES_MAX: u64 = 100_000;
/// Tests that could not be made, one after the other, after which a suite gives up.
pub const UNMADE_TESTS_MAX: usize = 3;
