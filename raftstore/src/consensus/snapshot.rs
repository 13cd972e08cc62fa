//! What openraft hands around as a snapshot: never its bytes, always a handle to them.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use mvcc::{Backend, Checkpoint, Fault, Installer};
use openraft::{AsyncRuntime, RaftSnapshotBuilder, Snapshot, SnapshotMeta};
use tokio::sync::watch;

use super::codec::{decode_membership, to_log_id};
use super::types::{StoredMembershipOf, Types};
use crate::log::{Disk, Log, LogId};
use crate::metrics::Metrics;

/// The name under which the membership is kept beside the tables.
pub const MEMBERSHIP_RECORD: &str = "membership";

/// A snapshot's content.
pub enum SnapshotData {
    /// The tables as they are: nothing to send, nothing to install. Says only that the log below may go.
    InPlace,
    /// A frozen copy to be sent to a peer.
    Outgoing(Arc<dyn Checkpoint>),
    /// A copy received from a peer, to be put in the place of the tables.
    Incoming(Box<dyn Installer>),
}

impl fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SnapshotData::InPlace => "InPlace",
            SnapshotData::Outgoing(_) => "Outgoing",
            SnapshotData::Incoming(_) => "Incoming",
        })
    }
}

/// A snapshot of this store.
pub type SnapshotOf =
    Snapshot<openraft::vote::leader_id_std::CommittedLeaderId<u64>, u64, super::types::Peer, SnapshotData>;

/// Builds snapshots: a flush of the tables.
pub struct Builder<D: Disk, B: Backend> {
    pub(super) log: Log<D>,
    pub(super) backend: Arc<B>,
    pub(super) membership: StoredMembershipOf,
    pub(super) metrics: Arc<Metrics>,
}

impl<R: AsyncRuntime, D: Disk, B: Backend> RaftSnapshotBuilder<Types<R>> for Builder<D, B> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf> {
        let (backend, metrics) = (self.backend.clone(), self.metrics.clone());
        let flushed = self
            .log
            .offload(move || metrics.flush.time(|| backend.flush()).map_err(io::Error::other))
            .await?;
        Ok(in_place(flushed, self.membership.clone()))
    }
}

/// The tables as a snapshot, durable up to `flushed`.
pub fn in_place(flushed: Option<mvcc::LogId>, last_membership: StoredMembershipOf) -> SnapshotOf {
    let last_log_id = flushed.map(|id| {
        to_log_id(LogId {
            term: id.term,
            index: id.index,
        })
    });
    Snapshot {
        meta: SnapshotMeta {
            last_log_id,
            last_membership,
        },
        snapshot: SnapshotData::InPlace,
    }
}

/// A copy on its way to a peer. What is wrong with it is a fault of this member and no news of the peer: told to `broken`,
/// it ends the member, and another one leads and sends a sound copy.
struct Sent {
    checkpoint: Box<dyn Checkpoint>,
    broken: watch::Sender<Option<String>>,
}

impl Sent {
    fn tell<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &result {
            self.broken.send_replace(Some(format!(
                "the tables cannot be sent to a member that lags: {fault}. `proreus verify` tells what else is damaged; \
                 remove this member and add it anew"
            )));
        }
        result
    }
}

impl Checkpoint for Sent {
    fn applied(&self) -> Option<mvcc::LogId> {
        self.checkpoint.applied()
    }

    fn record(&self, name: &str) -> Option<Bytes> {
        self.checkpoint.record(name)
    }

    fn len(&self) -> u64 {
        self.checkpoint.len()
    }

    fn check(&self) -> Result<(), Fault> {
        self.tell(self.checkpoint.check())
    }

    fn read_at(&self, offset: u64, max: usize) -> Result<Bytes, Fault> {
        self.tell(self.checkpoint.read_at(offset, max))
    }
}

/// A frozen copy of the tables. What it holds is read from the copy itself: apply goes on meanwhile.
pub fn outgoing<B: Backend>(backend: &B, broken: watch::Sender<Option<String>>) -> io::Result<SnapshotOf> {
    backend.flush().map_err(io::Error::other)?;
    let checkpoint = backend.checkpoint().map_err(io::Error::other)?;
    let last_log_id = checkpoint.applied().map(|id| {
        to_log_id(LogId {
            term: id.term,
            index: id.index,
        })
    });
    let last_membership = checkpoint
        .record(MEMBERSHIP_RECORD)
        .map(|record| decode_membership(&record))
        .transpose()?
        .unwrap_or_default();
    Ok(Snapshot {
        meta: SnapshotMeta {
            last_log_id,
            last_membership,
        },
        snapshot: SnapshotData::Outgoing(Arc::new(Sent { checkpoint, broken })),
    })
}
