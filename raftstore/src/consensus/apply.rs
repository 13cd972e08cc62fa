//! openraft's state machine over [`mvcc::Machine`]: applies entries, answers their requests, feeds watchers and leases.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::{Stream, StreamExt};
use mvcc::{Applied, Backend, Block, LeaseChange, Machine};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{AsyncRuntime, EntryPayload, OptionalSend};
use prost::Message;
use proto::raft::Batch;
use proto::raft::request::Op;
use tokio::sync::{mpsc, watch};

use super::codec::{decode_membership, encode_membership, from_log_id};
use super::snapshot::{Builder, MEMBERSHIP_RECORD, SnapshotData, SnapshotOf, in_place, outgoing};
use super::types::{Answers, EntryOf, LogIdOf, StoredMembershipOf, Types};
use crate::limits::APPLIES_BEFORE_YIELD;
use crate::log::{Disk, Log, LogId};
use crate::metrics::Metrics;
use crate::watch::Hub;

/// What apply tells the rest of the member.
pub struct Shared {
    /// The next index to be applied: 0 is a store that applied nothing.
    pub next_index: watch::Sender<u64>,
    /// Where blocks go.
    pub hub: Hub,
    /// Where lease changes go.
    pub leases: mpsc::UnboundedSender<LeaseChange>,
    /// The compacted revision.
    pub compacted: watch::Sender<i64>,
    /// The membership as of the last applied entry.
    pub members: watch::Sender<StoredMembershipOf>,
    /// Why this member cannot go on, once what it was to send turned out to be damaged.
    pub broken: watch::Sender<Option<String>>,
    /// Set once openraft runs; before that it only asks what is there.
    pub serving: AtomicBool,
    /// What the member counts.
    pub metrics: Arc<Metrics>,
}

/// The state machine.
pub struct Applier<D: Disk, B: Backend> {
    machine: Machine<B>,
    log: Log<D>,
    membership: StoredMembershipOf,
    shared: Arc<Shared>,
}

impl<D: Disk, B: Backend> Applier<D, B> {
    /// Wraps a machine that was just opened.
    pub fn new(machine: Machine<B>, log: Log<D>, shared: Arc<Shared>) -> io::Result<Self> {
        let mut applier = Self {
            machine,
            log,
            membership: StoredMembershipOf::default(),
            shared,
        };
        applier.load()?;
        Ok(applier)
    }

    fn load(&mut self) -> io::Result<()> {
        let record = self.machine.record(MEMBERSHIP_RECORD).map_err(io::Error::other)?;
        self.membership = record
            .map(|record| decode_membership(&record))
            .transpose()?
            .unwrap_or_default();
        self.shared.members.send_replace(self.membership.clone());
        self.shared
            .next_index
            .send_replace(self.machine.applied().map_or(0, |id| id.index + 1));
        self.shared.compacted.send_replace(self.machine.view().compacted());
        Ok(())
    }

    /// Applies one entry that is durable here.
    fn apply_entry(&mut self, entry: EntryOf) -> io::Result<Answers> {
        let LogId { term, index } = from_log_id(&entry.log_id);
        let id = mvcc::LogId { term, index };
        let answers = match entry.payload {
            EntryPayload::Blank => {
                self.machine.advance(id, &[]).map_err(io::Error::other)?;
                Answers::default()
            }
            EntryPayload::Membership(membership) => {
                let membership = StoredMembershipOf::new(Some(entry.log_id), membership);
                let record = encode_membership(&membership)?;
                self.machine
                    .advance(id, &[(MEMBERSHIP_RECORD, record)])
                    .map_err(io::Error::other)?;
                self.shared.members.send_replace(membership.clone());
                self.membership = membership;
                Answers::default()
            }
            EntryPayload::Normal(proposal) => {
                let batch = Batch::decode(proposal.0).map_err(|error| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("log entry {index} is not a batch: {error}"),
                    )
                })?;
                self.publish(id, &batch)?
            }
        };
        self.shared.next_index.send_replace(index + 1);
        Ok(answers)
    }

    fn count(&self, batch: &Batch, blocks: &[Arc<Block>], leases: &[LeaseChange]) {
        let metrics = &self.shared.metrics;
        let txns = batch
            .requests
            .iter()
            .filter(|request| matches!(request.op, Some(Op::Txn(_))));
        metrics.txns.add(txns.count() as u64);
        for event in blocks.iter().flat_map(|block| &block.events) {
            if event.is_delete() {
                metrics.deletes.one();
            } else {
                metrics.puts.one();
                metrics.put_bytes.add(event.entry.encoded().len() as u64);
            }
        }
        for change in leases {
            match change {
                LeaseChange::Granted { .. } => metrics.leases_granted.one(),
                LeaseChange::Revoked { .. } => metrics.leases_revoked.one(),
                LeaseChange::Checkpointed { .. } => {}
            }
        }
    }

    fn publish(&mut self, id: mvcc::LogId, batch: &Batch) -> io::Result<Answers> {
        let Applied {
            responses,
            blocks,
            leases,
        } = self
            .shared
            .metrics
            .apply
            .time(|| self.machine.apply(id, batch))
            .map_err(io::Error::other)?;
        self.count(batch, &blocks, &leases);
        self.shared.hub.publish(&blocks);
        for change in leases {
            // Nobody listening means that the member is shutting down.
            let _ = self.shared.leases.send(change);
        }
        let compacted = self.machine.view().compacted();
        self.shared
            .compacted
            .send_if_modified(|known| std::mem::replace(known, compacted) != compacted);
        Ok(Answers(responses))
    }
}

impl<R: AsyncRuntime, D: Disk, B: Backend> RaftStateMachine<Types<R>> for Applier<D, B> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder<D, B>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogIdOf>, StoredMembershipOf)> {
        let applied = self.machine.applied().map(|id| {
            super::to_log_id(LogId {
                term: id.term,
                index: id.index,
            })
        });
        Ok((applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types<R>>>> + Unpin + OptionalSend,
    {
        let mut applied = 0;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            // A quorum has it, but do we? The tables must never get ahead of the log.
            self.log.wait_durable(entry.log_id.index).await?;
            let answers = self.apply_entry(entry)?;
            if let Some(responder) = responder {
                responder.send(answers);
            }
            applied += 1;
            if applied % APPLIES_BEFORE_YIELD == 0 {
                give_way().await;
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<D, B> {
        Builder {
            log: self.log.clone(),
            backend: self.machine.backend().clone(),
            membership: self.membership.clone(),
            metrics: self.shared.metrics.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &openraft::alias::SnapshotMetaOf<Types<R>>,
        snapshot: SnapshotData,
    ) -> io::Result<()> {
        let SnapshotData::Incoming(installer) = snapshot else {
            return Err(io::Error::other(format!(
                "a snapshot at {:?} without content was to be installed",
                meta.last_log_id
            )));
        };
        self.log
            .offload(move || installer.finish().map_err(io::Error::other))
            .await?;
        self.machine.reload().map_err(io::Error::other)?;
        self.shared.hub.reset(self.machine.view().revision());
        self.load()?;
        tracing::info!(applied = ?self.machine.applied(), "installed a snapshot from the leader");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf>> {
        let backend = self.machine.backend().clone();
        if self.shared.serving.load(Ordering::Acquire) {
            // Asked for by a peer that lags.
            let broken = self.shared.broken.clone();
            return Ok(Some(self.log.offload(move || outgoing(&*backend, broken)).await?));
        }
        Ok(backend
            .flushed()
            .map(|flushed| in_place(Some(flushed), self.membership.clone())))
    }
}

/// Lets other tasks run, on any runtime.
async fn give_way() {
    let mut given = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
