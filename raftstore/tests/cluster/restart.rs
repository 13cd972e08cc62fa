//! Coming back: from disk, from a leader's log, from a leader's snapshot, and not at all.

use raftstore::Retention;

use crate::harness::{Cluster, eventually, get, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_lost_power_comes_back_with_everything() {
    let mut cluster = Cluster::start(3).await;
    let mut last = 0;
    for i in 0..100 {
        last = write(&cluster.store(i % 3), &format!("key-{i}"), &i.to_string()).await;
    }
    for index in 0..3 {
        cluster.kill(index).await;
    }
    cluster.start_all().await;
    for index in 0..3 {
        let view = cluster.store(index).linearizable_view().await.unwrap();
        assert!(view.revision() >= last);
        assert_eq!(view.key_count(), 100);
    }
    assert!(write(&cluster.store(0), "next", "x").await > last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_catches_up_from_the_log() {
    let mut cluster = Cluster::start(3).await;
    let away = cluster.follower().await;
    cluster.kill(away).await;
    let other = cluster.follower().await;
    for i in 0..300 {
        write(&cluster.store(other), "key", &i.to_string()).await;
    }
    cluster.start_member(away).await;
    assert_eq!(
        get(&cluster.store(away), "key", false).await.unwrap(),
        Some("299".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_too_long_gets_a_snapshot() {
    let mut cluster = Cluster::prepared(3).await;
    cluster.retention = Retention {
        flush_bytes: 1,
        entries: 5,
        bytes: u64::MAX,
    };
    cluster.start_all().await;
    write(&cluster.store(0), "early", "x").await;
    let away = cluster.follower().await;
    cluster.store(away).barrier().await.unwrap();
    cluster.kill(away).await;
    let writer = cluster.store(cluster.wait_for_leader().await);
    let value = "v".repeat(1000);
    for i in 0..200 {
        write(&writer, &format!("key-{i}"), &value).await;
    }
    let held = cluster.hosts[away].disk.clone();
    assert!(!held_entries(&held).await.is_empty(), "the member had entries before");
    // Until the others no longer have the entries that it needs.
    let last = writer.status().log_index;
    eventually("the leader's log is purged", async || {
        let purged = cluster.store(cluster.wait_for_leader().await).status().first_log_index;
        (purged > last / 2).then_some(())
    })
    .await;
    cluster.start_member(away).await;
    let store = cluster.store(away);
    let view = store.linearizable_view().await.unwrap();
    assert_eq!(view.key_count(), 201);
    // A snapshot takes the place of the log; catching up by the log would have kept it from the start.
    eventually("the log is replaced", async || {
        (store.status().first_log_index > last / 2).then_some(())
    })
    .await;
    // And it is a full member again, also after losing power right now.
    cluster.kill(away).await;
    cluster.start_member(away).await;
    assert_eq!(cluster.store(away).linearizable_view().await.unwrap().key_count(), 201);
    write(&cluster.store(away), "late", "x").await;
}

async fn held_entries(disk: &raftstore::log::MemoryDisk) -> Vec<raftstore::log::Entry> {
    let log = raftstore::log::Log::open(disk.clone(), raftstore::log::LogOptions::default())
        .await
        .unwrap();
    log.read(0..u64::MAX, usize::MAX).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_lost_its_log_does_not_found_again() {
    let mut cluster = Cluster::start(3).await;
    write(&cluster.store(1), "key", "x").await;
    cluster.kill(0).await;
    cluster.hosts[0].disk = raftstore::log::MemoryDisk::new();
    cluster.hosts[0].backend = std::sync::Arc::new(mvcc::Memory::new());
    cluster.start_member(0).await;
    let store = cluster.store(0);
    let errors = eventually("the member stops itself", async || {
        let errors = store.status().errors;
        (!errors.is_empty()).then_some(errors)
    })
    .await;
    assert!(errors[0].contains("lost its data"), "{errors:?}");
    assert_eq!(get(&cluster.store(1), "key", false).await.unwrap(), Some("x".into()));
}
