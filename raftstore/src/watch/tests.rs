//! The hub's promises, over a machine in memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use proto::etcd::etcdserverpb::{CompactionRequest, PutRequest};

use super::*;
use crate::Store;

async fn put(store: &Store, key: &str, value: &str) -> i64 {
    let request = PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..PutRequest::default()
    };
    store.put(request).await.unwrap().header.unwrap().revision
}

fn spec(key: &str, range_end: &str, start_revision: i64) -> WatchSpec {
    WatchSpec {
        key: Bytes::copy_from_slice(key.as_bytes()),
        range_end: Bytes::copy_from_slice(range_end.as_bytes()),
        start_revision,
    }
}

/// The revisions of the next blocks.
async fn revisions(watcher: &mut Watcher) -> Vec<i64> {
    match watcher.next().await.unwrap() {
        Delivery::Blocks { blocks, .. } => blocks.iter().map(|block| block.revision).collect(),
        other => panic!("expected blocks, got {other:?}"),
    }
}

#[tokio::test]
async fn a_watcher_sees_its_range_and_nothing_else() {
    let store = Store::single_memory().await.unwrap();
    let mut key = store.watch(spec("b", "", 0)).await.unwrap();
    let mut range = store.watch(spec("b", "d", 0)).await.unwrap();
    let mut all = store.watch(spec("\0", "\0", 0)).await.unwrap();
    let (a, b, c, d) = (
        put(&store, "a", "1").await,
        put(&store, "b", "1").await,
        put(&store, "c", "1").await,
        put(&store, "d", "1").await,
    );
    assert_eq!(revisions(&mut key).await, [b]);
    assert_eq!(revisions(&mut range).await, [b, c]);
    assert_eq!(revisions(&mut all).await, [a, b, c, d]);
    assert!(key.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_past_start_is_delivered_from_there_and_then_goes_on() {
    let store = Store::single_memory().await.unwrap();
    let first = put(&store, "k", "1").await;
    let second = put(&store, "k", "2").await;
    let mut watcher = store.watch(spec("k", "", first)).await.unwrap();
    assert_eq!(revisions(&mut watcher).await, [first, second]);
    let third = put(&store, "k", "3").await;
    assert_eq!(revisions(&mut watcher).await, [third]);
}

#[tokio::test]
async fn blocks_that_left_memory_are_read_back_without_gap_or_duplicate() {
    let store = Store::single_memory().await.unwrap();
    let first = put(&store, "k", "0").await;
    let mut watcher = store.watch(spec("k", "", first)).await.unwrap();
    let mut expected = vec![first];
    for i in 0..50 {
        expected.push(put(&store, "k", &i.to_string()).await);
    }
    // As after a snapshot: the ring is empty and everything has to come from the tables.
    store.hub().reset(*expected.last().unwrap());
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        seen.extend(revisions(&mut watcher).await);
    }
    let next = put(&store, "k", "last").await;
    expected.push(next);
    seen.extend(revisions(&mut watcher).await);
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_future_start_suppresses_earlier_revisions_and_progress() {
    let store = Store::single_memory().await.unwrap();
    let now = put(&store, "k", "0").await;
    let mut watcher = store.watch(spec("k", "", now + 3)).await.unwrap();
    watcher.request_progress();
    assert!(watcher.next().now_or_never().is_none());
    for i in 0..3 {
        put(&store, "k", &i.to_string()).await;
    }
    assert_eq!(revisions(&mut watcher).await, [now + 3]);
    assert!(matches!(watcher.next().await.unwrap(), Delivery::Progress { revision } if revision == now + 3));
}

#[tokio::test]
async fn progress_comes_after_everything_before_it() {
    let store = Store::single_memory().await.unwrap();
    let mut watcher = store.watch(spec("k", "", 0)).await.unwrap();
    let touched = put(&store, "k", "1").await;
    let other = put(&store, "other", "1").await;
    watcher.request_progress();
    assert_eq!(revisions(&mut watcher).await, [touched]);
    assert!(matches!(watcher.next().await.unwrap(), Delivery::Progress { revision } if revision == other));
    assert!(watcher.next().now_or_never().is_none(), "progress is reported once");
}

#[tokio::test]
async fn a_compacted_start_is_told_so() {
    let store = Store::single_memory().await.unwrap();
    let first = put(&store, "k", "0").await;
    let mut last = first;
    for i in 0..5 {
        last = put(&store, "k", &i.to_string()).await;
    }
    store
        .compact(CompactionRequest {
            revision: last,
            physical: true,
        })
        .await
        .unwrap();
    store.hub().reset(last);
    let mut watcher = store.watch(spec("k", "", first)).await.unwrap();
    for _ in 0..2 {
        let told = watcher.next().await.unwrap();
        assert!(
            matches!(told, Delivery::Compacted { compact_revision } if compact_revision == last),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn a_stopped_store_ends_its_watchers() {
    let store = Store::single_memory().await.unwrap();
    let mut watcher = store.watch(spec("k", "", 0)).await.unwrap();
    let waiting = tokio::spawn(async move { watcher.next().await.map(drop) });
    tokio::task::yield_now().await;
    store.shutdown().await;
    assert!(matches!(waiting.await.unwrap(), Err(crate::Error::Stopped)));
}

#[test]
fn the_ring_forgets_the_oldest_and_never_has_a_gap() {
    let block = |revision| {
        Arc::new(mvcc::Block {
            revision,
            events: Vec::new(),
        })
    };
    let mut ring = ring::Ring::new(usize::MAX, 3);
    (1..=5).for_each(|revision| ring.push(block(revision)));
    assert_eq!(ring.first(), Some(3));
    assert!(ring.from(2, 9).is_none());
    assert_eq!(ring.from(4, 9).unwrap().len(), 2);
    ring.push(block(9));
    assert_eq!((ring.first(), ring.get(5).is_none()), (Some(9), true));
}
