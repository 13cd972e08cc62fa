//! Running out of room, and getting over it.

use bytes::Bytes;
use mvcc::DeterministicError;
use proto::etcd::etcdserverpb::{CompactionRequest, DeleteRangeRequest};
use raftstore::Error;

use crate::harness::{Cluster, eventually, get, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_reads_and_deletes_and_takes_writes_again_by_itself() {
    let mut cluster = Cluster::prepared(3).await;
    cluster.quota_bytes = 200_000;
    cluster.start_all().await;
    let store = cluster.store(0);
    let value = "v".repeat(10_000);
    let mut written = 0;
    eventually("writes are refused", async || {
        written += 1;
        match put(&store, &format!("key-{written}"), &value).await {
            Err(Error::Refused(DeterministicError::NoSpace)) => Some(()),
            _ => None,
        }
    })
    .await;
    assert_eq!(
        get(&store, "key-1", false).await.unwrap().map(|value| value.len()),
        Some(10_000)
    );
    let all = DeleteRangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        ..DeleteRangeRequest::default()
    };
    let deleted = eventually("the keys are deleted", async || {
        store.delete_range(all.clone()).await.ok()
    })
    .await;
    let revision = deleted.header.unwrap().revision;
    eventually("the history is compacted", async || {
        let compaction = CompactionRequest {
            revision,
            physical: true,
        };
        match store.compact(compaction).await {
            Ok(_) | Err(Error::Refused(DeterministicError::Compacted { .. })) => Some(()),
            Err(_) => None,
        }
    })
    .await;
    eventually("writes are taken again", async || put(&store, "again", "x").await.ok()).await;
    assert!(store.view().alarms().is_empty());
}
