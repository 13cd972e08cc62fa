//! A running member: openraft between our log, our tables and our peers, and the tasks around it.

mod admission;
mod ask;
mod bootstrap;
mod describe;
mod engine;
mod housekeeping;
mod inbound;
mod leadership;
mod leases;
mod members;
mod propose;
mod read;
mod space;
mod succession;
mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mvcc::{Backend, Machine, Reader};
use openraft::{AsyncRuntime, Raft};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::consensus::{Applier, LogStore, RaftOf, Shared, StoredMembershipOf, Streams};
use crate::error::Error;
use crate::limits::WATCH_CATCH_UP_BYTES;
use crate::log::{Disk, Log, LogOptions};
use crate::options::Options;
use crate::status::Leadership;
use crate::transport::{Inbound, Peers};
use crate::watch::{History, Hub};

pub use admission::peer;
pub use propose::Committed;

/// What a member is made of, besides its options.
pub struct Parts<D: Disk, B: Backend, N> {
    /// Where its log is.
    pub disk: D,
    /// Its tables.
    pub backend: Arc<B>,
    /// Its way to its peers.
    pub peers: N,
}

/// A running member.
pub struct Node<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> {
    core: Arc<Core<R, D, B, N>>,
}

/// What all tasks of a member share.
struct Core<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> {
    options: Options,
    raft: RaftOf<R, D, B>,
    log: Log<D>,
    reader: Reader<B>,
    shared: Arc<Shared>,
    peers: N,
    leadership: watch::Sender<Leadership>,
    /// Whether this member may vote and take entries: what it promised before, if anything, is in its log.
    admitted: watch::Sender<bool>,
    /// When a leader was last heard from.
    heard: Mutex<Option<R::Instant>>,
    /// A stream of entries ended, or one of heartbeats broke.
    broken_off: Notify,
    proposals: propose::Queue,
    reads: read::Queue,
    timers: Mutex<leases::Timers<R>>,
    /// Held during a change of the membership.
    changing: tokio::sync::Mutex<()>,
    /// Rows of revisions below this one are gone.
    swept: watch::Sender<i64>,
    stop: CancellationToken,
    fault: Mutex<Option<String>>,
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Node<R, D, B, N> {
    /// Recovers the log and the tables of a member and starts it. It takes part once its transport feeds
    /// [`Node::inbound`].
    pub async fn start(options: Options, parts: Parts<D, B, N>) -> Result<Self, Error> {
        let Parts { disk, backend, peers } = parts;
        let config = Arc::new(options.raft_config()?);
        let log_options = LogOptions {
            metrics: options.metrics.clone(),
            ..options.log.clone()
        };
        let log = Log::open::<R>(disk, log_options).await?;
        let machine = log
            .offload(move || Machine::open(backend).map_err(std::io::Error::other))
            .await;
        let machine = machine.map_err(Error::fault)?;
        let reader = machine.reader();
        let history = Arc::new(Tables {
            reader: reader.clone(),
            log: log.clone(),
        });
        let (lease_changes, lease_work) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            next_index: watch::Sender::new(0),
            hub: Hub::new(history, reader.view().revision()),
            leases: lease_changes,
            compacted: watch::Sender::new(0),
            members: watch::Sender::new(StoredMembershipOf::default()),
            broken: watch::Sender::new(None),
            serving: AtomicBool::new(false),
            metrics: options.metrics.clone(),
        });
        let applier = Applier::new(machine, log.clone(), shared.clone()).map_err(Error::fault)?;
        let streams = Streams::new(peers.clone(), log.clone());
        let raft = Raft::new(options.id, config, streams, LogStore::new(log.clone()), applier);
        let raft = raft.await.map_err(Error::fault)?;
        shared.serving.store(true, Ordering::Release);
        // Whoever has a vote or an entry, and a token from before them, still has its promises. A restored member has no
        // token: the same backup can be restored twice.
        let admitted = raft.is_initialized().await.map_err(Error::fault)? && log.claim(options.id).is_some();
        let (proposals, proposal_work) = propose::queue(options.metrics.clone());
        let (reads, read_work) = read::queue();
        let core = Arc::new(Core {
            options,
            raft,
            log,
            reader,
            shared,
            peers,
            leadership: watch::Sender::new(Leadership::default()),
            admitted: watch::Sender::new(admitted),
            heard: Mutex::new(None),
            broken_off: Notify::new(),
            proposals,
            reads,
            timers: Mutex::new(leases::Timers::default()),
            changing: tokio::sync::Mutex::new(()),
            swept: watch::Sender::new(0),
            stop: CancellationToken::new(),
            fault: Mutex::new(None),
        });
        core.spawn(admission::run(core.clone()));
        core.spawn(propose::run(core.clone(), proposal_work));
        core.spawn(read::run(core.clone(), read_work));
        core.spawn(leadership::run(core.clone()));
        core.spawn(succession::run(core.clone()));
        core.spawn(leases::run(core.clone(), lease_work));
        core.spawn(housekeeping::flush_and_purge(core.clone()));
        core.spawn(housekeeping::sweep(core.clone()));
        core.spawn(leadership::watch_faults(core.clone()));
        core.spawn(space::run(core.clone()));
        core.spawn(members::run(core.clone()));
        core.spawn(leadership::watch_log(core.clone()));
        core.spawn(leadership::watch_tables(core.clone()));
        Ok(Self { core })
    }

    /// Founds the cluster if this member is the one to do it, and returns once there is a cluster to take part in.
    pub async fn bootstrap(&self) -> Result<(), Error> {
        bootstrap::run(&self.core).await
    }

    /// [`Node::bootstrap`], beside everything else: the founder waits for the others.
    pub fn found_in_background(&self) {
        let core = self.core.clone();
        self.core.spawn(async move {
            if let Err(error) = bootstrap::run(&core).await {
                core.report_fault(&error.to_string());
            }
        });
    }

    /// What the transport calls.
    pub fn inbound(&self) -> Arc<dyn Inbound> {
        Arc::new(inbound::Receiver {
            core: self.core.clone(),
        })
    }

    /// Cancelled when this member stops; its transport should stop too.
    pub fn stopped(&self) -> CancellationToken {
        self.core.stop.clone()
    }
}

impl<R: AsyncRuntime, D: Disk, B: Backend, N: Peers<R>> Core<R, D, B, N> {
    /// Runs a task until the member stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        // Detached: it ends with the member.
        drop(R::spawn(async move {
            stop.run_until_cancelled_owned(task).await;
        }));
    }
}

/// Old revisions, for watchers.
struct Tables<D: Disk, B: Backend> {
    reader: Reader<B>,
    log: Log<D>,
}

impl<D: Disk, B: Backend> History for Tables<D, B> {
    fn blocks(&self, from: i64) -> futures::future::BoxFuture<'_, Result<crate::watch::ReadBack, Error>> {
        let reader = self.reader.clone();
        Box::pin(async move {
            let read = self
                .log
                .offload(move || Ok(reader.blocks(from, i64::MAX, WATCH_CATCH_UP_BYTES)));
            let read = read.await.map_err(Error::fault)??;
            Ok(crate::watch::ReadBack {
                blocks: read.blocks,
                next_revision: read.next_revision,
            })
        })
    }
}
