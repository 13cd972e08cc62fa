//! Losing the leader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use raftstore::{Error, Store, WatchSpec};

use crate::harness::{BOUND, Cluster, bounded, eventually, get, put, read, read_all, revisions_until, write};

/// Writes numbered keys until told to stop; gives those that were acknowledged.
fn writer(
    stores: Vec<Store>,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
) -> tokio::task::JoinHandle<Vec<(String, i64)>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for i in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("key-{i:06}");
            if let Ok(revision) = put(&stores[i % stores.len()], &key, "x").await {
                acknowledged.push((key, revision));
                acked.fetch_add(1, Ordering::Relaxed);
            }
        }
        acknowledged
    })
}

async fn wait_for_acks(acked: &AtomicU64, more: u64) {
    let target = acked.load(Ordering::Relaxed) + more;
    eventually("writes are acknowledged", async || {
        (acked.load(Ordering::Relaxed) >= target).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_when_leaders_die() {
    let mut cluster = Cluster::start(3).await;
    for round in 0..3 {
        let leader = cluster.wait_for_leader().await;
        let survivors: Vec<Store> = cluster
            .running()
            .into_iter()
            .filter(|index| *index != leader)
            .map(|index| cluster.store(index))
            .collect();
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = writer(survivors, stop.clone(), acked.clone());
        wait_for_acks(&acked, 50).await;
        cluster.kill(leader).await;
        wait_for_acks(&acked, 50).await;
        stop.store(true, Ordering::Relaxed);
        let acknowledged = writer.await.unwrap();
        cluster.start_member(leader).await;
        for index in 0..3 {
            let store = cluster.store(index);
            let view = read_all(&store).await;
            for (key, revision) in &acknowledged {
                let entry = view.get(key.as_bytes());
                let found = entry.map(|entry| entry.mod_revision);
                assert!(
                    found >= Some(*revision),
                    "round {round}, member {index}: {key} at {revision}, found {found:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_gone_is_succeeded_within_its_lease() {
    for members in [3, 5] {
        let mut cluster = Cluster::prepared(members).await;
        // Silence alone makes nobody call an election while this test waits.
        cluster.election = (10 * BOUND, 20 * BOUND);
        cluster.start_all().await;
        for round in 0..3 {
            let leader = cluster.wait_for_leader().await;
            write(&cluster.store(leader), "key", &round.to_string()).await;
            for index in cluster.running() {
                read(&cluster.store(index), "key").await;
            }
            cluster.kill(leader).await;
            let survivor = cluster.store(cluster.wait_for_leader().await);
            assert_eq!(read(&survivor, "key").await, Some(round.to_string()));
            cluster.start_member(leader).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_across_a_change_of_leaders() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let survivor = cluster.store(cluster.follower().await);
    let spec = WatchSpec {
        key: Bytes::from_static(b"key"),
        ..WatchSpec::default()
    };
    let mut watcher = survivor.watch(spec).await.unwrap();
    let mut written = Vec::new();
    for i in 0..20 {
        written.push(write(&survivor, "key", &i.to_string()).await);
    }
    cluster.kill(leader).await;
    cluster.wait_for_leader().await;
    for i in 20..40 {
        written.push(write(&survivor, "key", &i.to_string()).await);
    }
    let seen = revisions_until(&mut watcher, written[39]).await;
    assert!(
        written.iter().all(|revision| seen.contains(revision)),
        "{written:?}, seen {seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nobody_leads_and_nothing_is_acknowledged() {
    let mut cluster = Cluster::prepared(3).await;
    cluster.request_timeout = Duration::from_secs(2);
    cluster.start_all().await;
    write(&cluster.store(0), "key", "before").await;
    // A member that dies before it has anything comes back as one that may have lost everything, and has to ask the others.
    for index in cluster.running() {
        assert_eq!(read(&cluster.store(index), "key").await, Some("before".into()));
    }
    cluster.kill(1).await;
    cluster.kill(2).await;
    let left = cluster.store(0);
    let mut leadership = left.leadership();
    bounded(
        "the leadership changes",
        leadership.wait_for(|known| !known.leading && known.leader.is_none()),
    )
    .await
    .unwrap();
    let refused = put(&left, "key", "after").await;
    assert!(matches!(refused, Err(Error::NoLeader | Error::Timeout)), "{refused:?}");
    let refused = get(&left, "key", false).await;
    assert!(matches!(refused, Err(Error::NoLeader | Error::Timeout)), "{refused:?}");
    // A serializable read is answered from what is here.
    assert_eq!(get(&left, "key", true).await.unwrap(), Some("before".into()));
    cluster.start_member(1).await;
    let leader = cluster.wait_for_leader().await;
    assert!(read(&cluster.store(leader), "key").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_request() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.wait_for_leader().await, cluster.follower().await);
    write(&cluster.store(leader), "key", "x").await;
    let target = cluster.hosts[follower].id;
    // An election decides, so another member may win instead; then that one is asked.
    eventually("the target leads", async || {
        let leader = cluster.wait_for_leader().await;
        cluster.store(leader).transfer_leadership(target).await.ok()
    })
    .await;
    let mut leadership = cluster.store(follower).leadership();
    bounded("the target knows", leadership.wait_for(|known| known.leading))
        .await
        .unwrap();
    write(&cluster.store(leader), "key", "y").await;
    let refused = cluster.store(follower).transfer_leadership(99).await;
    assert!(
        matches!(refused, Err(Error::BadMember { member: 99, .. })),
        "{refused:?}"
    );
}
