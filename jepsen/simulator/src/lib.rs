//! The seeded simulator: real raftstore code under simulated network, disk and clock.
