//! What is written through one member is there on every member.

use bytes::Bytes;
use proto::etcd::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest};
use raftstore::{Error, WatchSpec};

use crate::harness::{Cluster, eventually, get, read, revisions_until, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_through_any_member_is_read_through_every_other() {
    let cluster = Cluster::start(3).await;
    for writer in 0..3 {
        let value = format!("from {writer}");
        write(&cluster.store(writer), "key", &value).await;
        for reader in 0..3 {
            let read = read(&cluster.store(reader), "key").await;
            assert_eq!(
                read,
                Some(value.clone()),
                "written through {writer}, read through {reader}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_sees_its_own_write_without_asking_the_leader() {
    let cluster = Cluster::start(3).await;
    let follower = cluster.store(cluster.follower().await);
    for i in 0..50 {
        write(&follower, "key", &i.to_string()).await;
        assert_eq!(get(&follower, "key", true).await.unwrap(), Some(i.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_through_all_members_get_revisions_of_their_own() {
    let cluster = Cluster::start(3).await;
    let stores: Vec<_> = (0..3).map(|index| cluster.store(index)).collect();
    let writers = (0..60).map(async |i| write(&stores[i % 3], &format!("key-{i}"), "x").await);
    let mut revisions = futures::future::join_all(writers).await;
    revisions.sort_unstable();
    assert!(
        revisions.is_sorted_by(|a, b| a < b),
        "two writes share a revision: {revisions:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_come_back_from_the_leader_as_they_are() {
    let cluster = Cluster::start(3).await;
    for index in 0..3 {
        let refused = cluster.store(index).put(PutRequest::default()).await;
        assert!(
            matches!(refused, Err(Error::Refused(mvcc::DeterministicError::KeyEmpty))),
            "{refused:?}"
        );
        let huge = PutRequest {
            key: Bytes::from_static(b"k"),
            value: vec![0; 2 << 20].into(),
            ..Default::default()
        };
        let refused = cluster.store(index).put(huge).await;
        assert!(matches!(refused, Err(Error::RequestTooLarge { .. })), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_is_seen_everywhere_and_its_rows_go() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.store(0);
    let first = write(&leader, "key", "0").await;
    let last = write(&leader, "key", "1").await;
    leader
        .compact(CompactionRequest {
            revision: last,
            physical: true,
        })
        .await
        .unwrap();
    for index in 0..3 {
        let old = RangeRequest {
            key: Bytes::from_static(b"key"),
            revision: first,
            ..RangeRequest::default()
        };
        let refused = cluster.store(index).range(old).await;
        assert!(
            matches!(refused, Err(Error::Refused(mvcc::DeterministicError::Compacted { compacted })) if compacted == last),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_on_every_member_tell_the_same() {
    let cluster = Cluster::start(3).await;
    let spec = WatchSpec {
        key: Bytes::from_static(b"k"),
        range_end: Bytes::from_static(b"l"),
        start_revision: 2,
    };
    let mut watchers = Vec::new();
    for index in 0..3 {
        watchers.push(cluster.store(index).watch(spec.clone()).await.unwrap());
    }
    let mut written = Vec::new();
    for i in 0..30 {
        written.push(write(&cluster.store(i % 3), &format!("k{i}"), "x").await);
    }
    let mut told = Vec::new();
    for watcher in &mut watchers {
        told.push(revisions_until(watcher, written[29]).await);
    }
    assert!(
        written.iter().all(|revision| told[0].contains(revision)),
        "{written:?}, told {:?}",
        told[0]
    );
    assert!(told.iter().all(|revisions| *revisions == told[0]), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_knows_the_members_and_the_leader() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.hosts[cluster.wait_for_leader().await].id;
    for index in 0..3 {
        let store = cluster.store(index);
        store.barrier().await.unwrap();
        let ids: Vec<u64> = store.members().iter().map(|member| member.id).collect();
        assert_eq!(ids, [1, 2, 3]);
        eventually("the leader is known", async || {
            (store.status().leader == Some(leader)).then_some(())
        })
        .await;
    }
}
