//! The black-box fault harness: real members, faults on a schedule, checked histories.
