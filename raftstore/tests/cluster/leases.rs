//! Leases: whoever leads keeps their time.

use bytes::Bytes;
use proto::etcd::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest};
use raftstore::{Delivery, Store, WatchSpec};

use crate::harness::{Cluster, eventually, next, read};

async fn grant(store: &Store, ttl: i64) -> i64 {
    let granted = eventually("the lease is granted", async || {
        store.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await.ok()
    });
    granted.await.id
}

async fn put_with_lease(store: &Store, key: &'static str, lease: i64) {
    let request = PutRequest {
        key: Bytes::from_static(key.as_bytes()),
        lease,
        ..PutRequest::default()
    };
    eventually("the key is written", async || store.put(request.clone()).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_not_kept_alive_takes_its_keys_along() {
    let cluster = Cluster::start(3).await;
    let follower = cluster.store(cluster.follower().await);
    let lease = grant(&follower, 1).await;
    put_with_lease(&follower, "leased", lease).await;
    let spec = WatchSpec {
        key: Bytes::from_static(b"leased"),
        ..WatchSpec::default()
    };
    let mut watcher = follower.watch(spec).await.unwrap();
    match next(&mut watcher).await {
        Delivery::Blocks { blocks, .. } => assert!(blocks[0].events[0].is_delete()),
        other => panic!("{other:?}"),
    }
    let answer = follower.lease_keep_alive(lease).await.unwrap();
    assert_eq!(answer.ttl, 0, "it is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_works_through_every_member_and_a_change_of_leaders() {
    let mut cluster = Cluster::start(3).await;
    let lease = grant(&cluster.store(0), 600).await;
    put_with_lease(&cluster.store(1), "leased", lease).await;
    for index in 0..3 {
        assert_eq!(cluster.store(index).lease_keep_alive(lease).await.unwrap().ttl, 600);
    }
    let leader = cluster.wait_for_leader().await;
    cluster.kill(leader).await;
    let survivor = cluster.store(cluster.follower().await);
    assert_eq!(survivor.lease_keep_alive(lease).await.unwrap().ttl, 600);
    let request = LeaseTimeToLiveRequest { id: lease, keys: true };
    let time = survivor.lease_time_to_live(request).await.unwrap();
    assert_eq!((time.granted_ttl, time.keys.len()), (600, 1));
    assert!(time.ttl > 0 && time.ttl <= 600);
    survivor.lease_revoke(LeaseRevokeRequest { id: lease }).await.unwrap();
    assert_eq!(read(&survivor, "leased").await, None);
    assert_eq!(survivor.lease_time_to_live(request).await.unwrap().ttl, -1);
    assert!(survivor.leases().await.unwrap().leases.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_still_ends_the_leases_of_the_old_one() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let lease = grant(&cluster.store(leader), 2).await;
    put_with_lease(&cluster.store(leader), "leased", lease).await;
    cluster.kill(leader).await;
    let survivor = cluster.store(cluster.follower().await);
    eventually("the key goes", async || {
        read(&survivor, "leased").await.is_none().then_some(())
    })
    .await;
}
