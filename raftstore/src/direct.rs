//! A store of one member in memory, applied in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use mvcc::{Block, LogId, Machine, Memory, Reader, Response, View};
use parking_lot::Mutex;
use proto::etcd::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use proto::raft::{Batch, Request};
use tokio::sync::watch;

use crate::engine::{Engine, LeaseTime};
use crate::error::Error;
use crate::limits::{COMPACTION_STEP_REVISIONS, WATCH_CATCH_UP_BYTES};
use crate::status::{Leadership, Member, Status};
use crate::watch::{History, Hub};

/// The engine behind `Store::single_memory`.
pub struct Direct {
    machine: Mutex<Machine<Memory>>,
    reader: Reader<Memory>,
    hub: Hub,
    leadership: watch::Sender<Leadership>,
    last_lease: AtomicI64,
}

struct Tables(Reader<Memory>);

impl History for Tables {
    fn blocks(&self, from: i64) -> BoxFuture<'_, Result<(Vec<Arc<Block>>, i64), Error>> {
        let read = self
            .0
            .blocks(from, i64::MAX, WATCH_CATCH_UP_BYTES)
            .map(|read| (read.blocks, read.next_revision));
        futures::future::ready(read.map_err(Error::from)).boxed()
    }
}

impl Direct {
    /// An empty store.
    pub fn new() -> Result<Self, Error> {
        let machine = Machine::open(Arc::new(Memory::new()))?;
        let reader = machine.reader();
        let hub = Hub::new(Arc::new(Tables(reader.clone())), reader.view().revision());
        let leadership = Leadership {
            leading: true,
            term: 1,
            leader: Some(1),
            tenure: 1,
        };
        let leadership = watch::Sender::new(leadership);
        Ok(Self {
            machine: Mutex::new(machine),
            reader,
            hub,
            leadership,
            last_lease: AtomicI64::new(0),
        })
    }

    fn apply(&self, request: Request) -> Result<Response, Error> {
        let mut machine = self.machine.lock();
        let index = machine.applied().map_or(0, |applied| applied.index) + 1;
        let mut applied = machine.apply(
            LogId { term: 1, index },
            &Batch {
                requests: vec![request],
            },
        )?;
        self.hub.publish(&applied.blocks);
        let answer = applied
            .responses
            .pop()
            .ok_or_else(|| Error::fault("a request was not answered"))?;
        Ok(answer?)
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    futures::future::ready(value).boxed()
}

impl Engine for Direct {
    fn propose(&self, request: Request) -> BoxFuture<'_, Result<Response, Error>> {
        ready(self.apply(request))
    }

    fn barrier(&self) -> BoxFuture<'_, Result<(), Error>> {
        ready(Ok(()))
    }

    fn view(&self) -> View {
        self.reader.view()
    }

    fn range_at(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, Error>> {
        ready(self.reader.range(&request).map_err(Error::from))
    }

    fn read_txn(&self, request: TxnRequest) -> BoxFuture<'_, Result<TxnResponse, Error>> {
        ready(self.reader.txn(&request).map_err(Error::from))
    }

    fn hub(&self) -> &Hub {
        &self.hub
    }

    fn keep_alive(&self, id: i64) -> BoxFuture<'_, Result<Option<i64>, Error>> {
        ready(Ok(self.view().lease(id).map(|lease| lease.ttl_s)))
    }

    fn time_to_live(&self, id: i64) -> BoxFuture<'_, Result<Option<LeaseTime>, Error>> {
        let time = |lease: &Arc<mvcc::Lease>| LeaseTime {
            granted_s: lease.ttl_s,
            remaining_s: lease.ttl_s,
        };
        ready(Ok(self.view().lease(id).map(time)))
    }

    fn compacted(&self) -> BoxFuture<'_, Result<(), Error>> {
        let sweep = || loop {
            if self.reader.physical_compact(COMPACTION_STEP_REVISIONS)?.done {
                return Ok(());
            }
        };
        ready(sweep())
    }

    fn new_lease_id(&self) -> i64 {
        self.last_lease.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn status(&self) -> Status {
        let view = self.view();
        let index = view.applied().map_or(0, |applied| applied.index);
        Status {
            cluster_id: 1,
            member_id: 1,
            leader: Some(1),
            term: 1,
            log_index: index,
            committed_index: index,
            applied_index: index,
            revision: view.revision(),
            compacted: view.compacted(),
            ..Status::default()
        }
    }

    fn members(&self) -> Vec<Member> {
        vec![Member {
            id: 1,
            name: "memory".into(),
            peer_urls: vec![],
            client_urls: vec![],
            learner: false,
        }]
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn transfer(&self, to: u64) -> BoxFuture<'_, Result<(), Error>> {
        ready(Err(Error::BadMember {
            member: to,
            reason: "it is not a member".into(),
        }))
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.hub.stop();
        ready(())
    }
}
