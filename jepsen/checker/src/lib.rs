//! Pure checkers of histories against the promises of the store and the cluster.
//!
//! # Theory
//! A test drives a system through many processes and writes down what each of them asked and was told: a [`History`].
//! A checker reads that history and nothing else, and says whether any system that keeps the promise could have
//! answered so. It knows no network, no clock and no file, so it serves the simulator and the black-box harness alike, and
//! a verdict can be had again from a stored history at any time.
//!
//! An operation has one of three ends. *Ok*: it took effect between its invocation and its completion. *Fail*: it did not
//! and will never take effect. *Info*: nobody knows; it may take effect at any time after its invocation, or never.
//! Whoever records must say *info* whenever in doubt: a timeout, a broken connection, an error whose origin is not known.
//!
//! # Promises
//! - A verdict is [`Validity::Valid`] only if the whole search was done, [`Validity::Invalid`] only with an anomaly that a
//!   person can follow, and [`Validity::Unknown`] whenever a bound stopped the search.
//! - Bounds are steps and bytes, never seconds: the same history always has the same verdict.
//!
//! # Left out
//! Recording, clocks, and the faults themselves: those are the harnesses'.

pub mod cluster;
pub mod counter;
pub mod cycle;
pub mod election;
mod error;
pub mod history;
pub mod lease;
pub mod limits;
pub mod linear;
pub mod lock;
mod revisions;
pub mod set;
mod verdict;
pub mod watch;

pub use error::Error;
pub use history::{Event, History, Operation, Outcome, What};
pub use verdict::{Anomaly, Validity, Verdict};
