//! What the clients do, and which promises their history is judged by. One file each.

mod append;
mod election;
mod kube;
mod lease;
mod lock;
mod pods;
mod register;
mod set;
mod txn;
mod watch;
mod wr;

use std::fmt::Debug;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use checker::{History, Verdict};
use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use append::Append;
pub(crate) use election::Election;
pub(crate) use kube::Kube;
pub(crate) use lease::Lease;
pub(crate) use lock::Lock;
pub(crate) use pods::Pods;
pub(crate) use register::Register;
pub(crate) use set::Set;
pub(crate) use txn::Txn;
pub(crate) use watch::Watch;
pub(crate) use wr::Wr;

use crate::worker::Worker;

/// What a call or a return must be.
pub(crate) trait Value: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}

pub(crate) trait Workload: Default + Send + Sync + 'static {
    type Call: Value;
    type Return: Value;

    /// One worker's operations, until [`Worker::next`] says that the time is over.
    fn work(&self, worker: Worker<Self::Call, Self::Return>) -> impl Future<Output = ()> + Send;

    /// After the faults are healed, with one worker for each member: the last reads.
    fn finish(&self, worker: Worker<Self::Call, Self::Return>) -> impl Future<Output = ()> + Send;

    /// `calm_from_ns`: from when on nothing was broken and all members answered; `None` if that time never came.
    ///
    /// # Errors
    /// The history is no history.
    fn check(
        &self,
        history: &History<Self::Call, Self::Return>,
        calm_from_ns: Option<u64>,
    ) -> Result<Vec<Verdict>, checker::Error>;

    /// Writes what is not in the history but needed to judge it.
    fn save(&self, _directory: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    /// Reads what [`Workload::save`] wrote.
    fn load(&self, _directory: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    /// Workers go on until the last reads have been made.
    const WORKS_TO_THE_END: bool = false;

    /// Whether it has reads that `--stale-reads` makes from one member's own state.
    const READS_STALE: bool = false;

    /// With fewer clients nothing would be tried.
    const CLIENTS_MIN: usize = 1;

    /// Whether it needs the Kubernetes API.
    fn needs_api() -> bool {
        false
    }
}

/// Reads what [`Workload::save`] wrote as JSON.
pub(crate) fn read_json<T: DeserializeOwned>(directory: &Path, name: &str) -> anyhow::Result<T> {
    let path = directory.join(name);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not valid", path.display()))
}

/// Keys that are used for a while and then left for new ones, so that no key's history grows too long to judge.
pub(crate) struct Keys {
    operations: AtomicU64,
    at_once: u64,
    operations_each: u64,
}

impl Keys {
    pub(crate) const fn new(at_once: u64, operations_each: u64) -> Keys {
        Keys {
            operations: AtomicU64::new(0),
            at_once,
            operations_each,
        }
    }

    /// The first of the keys that are now in use; counts an operation.
    pub(crate) fn base(&self) -> u64 {
        let count = self.operations.fetch_add(1, Ordering::Relaxed);
        count / (self.at_once * self.operations_each) * self.at_once
    }

    pub(crate) fn next(&self, random: &mut StdRng) -> u64 {
        self.base() + random.random_range(0..self.at_once)
    }

    /// All keys that were ever in use.
    pub(crate) fn all(&self) -> std::ops::Range<u64> {
        let count = self.operations.load(Ordering::Relaxed);
        0..(count / (self.at_once * self.operations_each) + 1) * self.at_once
    }
}
