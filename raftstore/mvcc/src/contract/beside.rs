//! Readers, apply and physical compaction at the same time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bytes::Bytes;
use proto::{
    etcd::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op},
    raft::{Batch, Request, request::Op},
};

use super::Lab;
use crate::{Backend, DeterministicError, LogId, Machine, ReadError, Reader};

const ENTRIES: u64 = 600;
/// A compaction comes every so many entries, this many revisions behind.
const COMPACT_EVERY: u64 = 7;
const COMPACT_BEHIND: i64 = 4;

/// Every revision sets both keys to the same value, so a torn or half-removed one shows.
fn entry(index: u64, revision: i64) -> Batch {
    let value = Bytes::from(index.to_string());
    let put = |key: &'static str| {
        let put = PutRequest {
            key: key.into(),
            value: value.clone(),
            ..PutRequest::default()
        };
        RequestOp {
            request: Some(request_op::Request::RequestPut(put)),
        }
    };
    let txn = Op::Txn(TxnRequest {
        success: vec![put("a"), put("b")],
        ..TxnRequest::default()
    });
    let compaction = Op::Compaction(CompactionRequest {
        revision: revision - COMPACT_BEHIND,
        physical: false,
    });
    let ops = if index.is_multiple_of(COMPACT_EVERY) {
        vec![txn, compaction]
    } else {
        vec![txn]
    };
    Batch {
        requests: ops
            .into_iter()
            .map(|op| Request {
                op: Some(op),
                identity: None,
            })
            .collect(),
    }
}

pub(super) fn readers_see_whole_revisions_or_are_refused<B: Backend>(lab: &Lab<'_, B>) {
    let mut machine = Machine::open(Arc::new((lab.fresh)())).expect("open");
    machine.apply(LogId { term: 1, index: 1 }, &entry(1, 1)).expect("apply");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for behind in [1, 3, 6] {
            let (reader, stop) = (machine.reader(), &stop);
            scope.spawn(move || until(stop, || read(&reader, behind)));
        }
        let (reader, stop) = (machine.reader(), &stop);
        scope.spawn(move || {
            until(stop, || {
                reader.physical_compact(3).expect("physical_compact");
            });
        });
        // Stops the others also if this one panics.
        let _stopping = Stopping(stop);
        for index in 2..=ENTRIES {
            let revision = machine.view().revision() + 1;
            machine
                .apply(LogId { term: 1, index }, &entry(index, revision))
                .expect("apply");
        }
    });
}

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn until(stop: &AtomicBool, mut act: impl FnMut()) {
    while !stop.load(Ordering::Acquire) {
        act();
    }
}

fn read<B: Backend>(reader: &Reader<B>, behind: i64) {
    let view = reader.view();
    let values = ["a", "b"].map(|key| view.get(key.as_bytes()).expect("always there").value.clone());
    assert_eq!(values[0], values[1], "a view inside a revision");
    let revision = view.revision() - behind;
    if revision <= 1 {
        return;
    }
    let all = Bytes::from_static(b"\0");
    let range = RangeRequest {
        key: all.clone(),
        range_end: all,
        revision,
        ..RangeRequest::default()
    };
    match reader.range(None, &range) {
        Ok(response) => {
            assert_eq!(response.kvs.len(), 2, "half of revision {revision}");
            assert!(
                response.kvs.iter().all(|kv| kv.mod_revision == revision),
                "not as of {revision}"
            );
        }
        Err(ReadError::Refused(DeterministicError::Compacted { .. })) => {}
        Err(error) => panic!("range at {revision}: {error}"),
    }
    match reader.blocks(revision, i64::MAX, usize::MAX) {
        Ok(read) => {
            for (expected, block) in (revision..).zip(&read.blocks) {
                assert_eq!(
                    (block.revision, block.events.len()),
                    (expected, 2),
                    "a gap in what was read back"
                );
            }
            let later = read.blocks.iter().skip(1).flat_map(|block| &block.events);
            assert!(
                later.into_iter().all(|event| event.prev.is_some()),
                "a previous version is missing"
            );
        }
        Err(ReadError::Refused(DeterministicError::Compacted { .. })) => {}
        Err(error) => panic!("blocks from {revision}: {error}"),
    }
}
