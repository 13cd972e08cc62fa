//! Faults that are built in on purpose: a simulator that does not find them would not find their like either.

/// A fault to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A disk says that it synced, and did not.
    LostSync,
    /// The tables lose the log id of what they hold, so that a restart applies it again.
    DoubleApply,
    /// A deposed leader answers reads.
    #[cfg(feature = "planted")]
    StaleRead,
    /// A watcher that lags loses events.
    #[cfg(feature = "planted")]
    WatchGap,
    /// A leader that lapsed goes on revoking leases.
    #[cfg(feature = "planted")]
    DeposedRevoke,
    /// A lease is said to be gone as soon as its revocation is proposed.
    #[cfg(feature = "planted")]
    HastyExpiry,
    /// A deposed scheduler's writes do not need its fence.
    #[cfg(feature = "planted")]
    UnfencedScheduler,
}

impl Plant {
    /// Whether it is built into the store itself, which takes the feature `planted`.
    pub fn is_in_the_store(self) -> bool {
        !matches!(self, Plant::LostSync | Plant::DoubleApply)
    }
}

/// What is known of a fault.
pub struct Planted {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The fault.
    pub plant: Plant,
    /// Within how many seeds from 0 on it has to be found.
    pub within: u64,
    /// The invariant that it breaks, and that has to say so. Others may break, too.
    pub breaks: &'static str,
}

const fn planted(name: &'static str, plant: Plant, within: u64, breaks: &'static str) -> Planted {
    Planted {
        name,
        plant,
        within,
        breaks,
    }
}

/// Every one. Those of the store itself are there only with the feature `planted`.
pub const ALL: &[Planted] = &[
    planted("lost-sync", Plant::LostSync, 40, "sound_members_run"),
    planted("double-apply", Plant::DoubleApply, 40, "replicas_agree"),
    #[cfg(feature = "planted")]
    planted("stale-read", Plant::StaleRead, 1_000, "nothing_is_stale"),
    #[cfg(feature = "planted")]
    planted("watch-gap", Plant::WatchGap, 100, "watchers_see_everything_once"),
    #[cfg(feature = "planted")]
    planted("deposed-revoke", Plant::DeposedRevoke, 200, "leases_live_their_time"),
    #[cfg(feature = "planted")]
    planted("hasty-expiry", Plant::HastyExpiry, 1_000, "leases_live_their_time"),
    #[cfg(feature = "planted")]
    planted(
        "unfenced-scheduler",
        Plant::UnfencedScheduler,
        400,
        "nodes_are_not_overcommitted",
    ),
];

std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Plant>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault for the runs of this thread.
pub fn set(plant: Option<Plant>) {
    PLANTED.set(plant);
    #[cfg(feature = "planted")]
    raftstore::planted::set(plant.and_then(|plant| match plant {
        Plant::StaleRead => Some(raftstore::planted::Planted::StaleRead),
        Plant::WatchGap => Some(raftstore::planted::Planted::WatchGap),
        Plant::DeposedRevoke => Some(raftstore::planted::Planted::DeposedRevoke),
        Plant::HastyExpiry => Some(raftstore::planted::Planted::HastyExpiry),
        Plant::LostSync | Plant::DoubleApply | Plant::UnfencedScheduler => None,
    }));
    #[cfg(feature = "planted")]
    storage::planted::set_unfenced(plant == Some(Plant::UnfencedScheduler));
}

/// Whether the planted fault shows in runs with many leases only.
pub fn needs_leases() -> bool {
    #[cfg(feature = "planted")]
    return is(Plant::HastyExpiry);
    #[cfg(not(feature = "planted"))]
    false
}

/// Whether the planted fault shows in runs with schedulers only.
pub fn needs_schedulers() -> bool {
    #[cfg(feature = "planted")]
    return is(Plant::UnfencedScheduler);
    #[cfg(not(feature = "planted"))]
    false
}

/// Whether a fault is planted.
pub fn is(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}
