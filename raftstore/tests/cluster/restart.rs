//! Coming back: from disk, from a leader's log, from a leader's snapshot, and not at all.

use openraft::impls::TokioRuntime;
use raftstore::Retention;

use crate::harness::{Cluster, eventually, read, read_all, write};

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
        let view = read_all(&cluster.store(index)).await;
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
    assert_eq!(read(&cluster.store(away), "key").await, Some("299".into()));
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
    let view = read_all(&store).await;
    assert_eq!(view.key_count(), 201);
    // A snapshot takes the place of the log; catching up by the log would have kept it from the start.
    eventually("the log is replaced", async || {
        (store.status().first_log_index > last / 2).then_some(())
    })
    .await;
    // And it is a full member again, also after losing power right now.
    cluster.kill(away).await;
    cluster.start_member(away).await;
    assert_eq!(read_all(&cluster.store(away)).await.key_count(), 201);
    write(&cluster.store(away), "late", "x").await;
}

async fn held_entries(disk: &raftstore::log::MemoryDisk) -> Vec<raftstore::log::Entry> {
    let log = raftstore::log::Log::open::<TokioRuntime>(disk.clone(), raftstore::log::LogOptions::default())
        .await
        .unwrap();
    log.read(0..u64::MAX, usize::MAX).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_lost_its_log_does_not_found_again() {
    a_wiped_member_is_refused(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_log_does_not_come_back_under_its_id() {
    a_wiped_member_is_refused(2).await;
}

async fn a_wiped_member_is_refused(wiped: usize) {
    let mut cluster = Cluster::start(3).await;
    write(&cluster.store(1), "key", "x").await;
    cluster.kill(wiped).await;
    wipe(&mut cluster, wiped);
    cluster.start_member(wiped).await;
    let store = cluster.store(wiped);
    let errors = eventually("the member stops itself", async || {
        let errors = store.status().errors;
        (!errors.is_empty()).then_some(errors)
    })
    .await;
    assert!(
        errors[0].contains("lost its data") && errors[0].contains("member remove"),
        "{errors:?}"
    );
    assert_eq!(read(&cluster.store(1), "key").await, Some("x".into()));
}

fn wipe(cluster: &mut Cluster, index: usize) {
    cluster.hosts[index].disk = raftstore::log::MemoryDisk::new();
    cluster.hosts[index].backend = std::sync::Arc::new(mvcc::Memory::new());
}

/// Beside a wiped member only one is left that knows what was acknowledged: there must be no leader, or the write is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_an_empty_log_gives_no_vote_before_its_peers_admit_it() {
    let mut cluster = Cluster::prepared(3).await;
    let waiting = cluster.start_inbound(1).await;
    let vote = proto::raft::VoteRequest {
        vote: Some(proto::raft::Vote {
            term: 1,
            member: 1,
            committed: false,
        }),
        ..Default::default()
    };
    let refused = waiting.vote(vote).await.unwrap_err().to_string();
    assert!(refused.contains("admitted"), "{refused}");
    // And with its peers there, it is one of them.
    cluster.start_member(0).await;
    cluster.start_member(2).await;
    let leader = cluster.wait_for_leader().await;
    write(&cluster.store(leader), "key", "x").await;
    assert_eq!(read(&cluster.store(1), "key").await, Some("x".into()));
}
