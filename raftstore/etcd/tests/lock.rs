//! Locks and elections, through the generated clients and etcdctl's rules for keys.

use std::time::Duration;

use etcd::{
    EtcdConfig, serve,
    services::{
        etcdserverpb::kv_client::KvClient, etcdserverpb::lease_client::LeaseClient,
        v3electionpb::election_client::ElectionClient, v3lockpb::lock_client::LockClient,
    },
};
use proto::etcd::{
    etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, RangeRequest},
    v3electionpb::{CampaignRequest, LeaderRequest, ProclaimRequest, ResignRequest},
    v3lockpb::{LockRequest, UnlockRequest},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

const HANG: Duration = Duration::from_secs(30);

async fn open() -> (Channel, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let store = memory::store().await.unwrap();
    tokio::spawn(serve(
        listener,
        None,
        store,
        EtcdConfig::new("one", vec![]),
        stop.clone(),
    ));
    let channel = Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    (channel, stop.drop_guard())
}

async fn lease(channel: &Channel) -> i64 {
    let request = LeaseGrantRequest { ttl: 600, id: 0 };
    LeaseClient::new(channel.clone())
        .lease_grant(request)
        .await
        .unwrap()
        .into_inner()
        .id
}

/// Waits until a queue has this many keys.
async fn queued(channel: &Channel, prefix: &'static str, count: i64) {
    let range = RangeRequest {
        key: prefix.into(),
        range_end: "z".into(),
        count_only: true,
        ..Default::default()
    };
    let mut kv = KvClient::new(channel.clone());
    let wait = async { while kv.range(range.clone()).await.unwrap().into_inner().count != count {} };
    tokio::time::timeout(HANG, wait)
        .await
        .expect("the queue never had this length");
}

#[tokio::test]
async fn a_lock_passes_on_in_order() {
    let (channel, _stop) = open().await;
    let lock = |lease| {
        let mut client = LockClient::new(channel.clone());
        async move {
            client
                .lock(LockRequest {
                    name: "l".into(),
                    lease,
                })
                .await
                .unwrap()
                .into_inner()
                .key
        }
    };
    let (first, second, third) = (lease(&channel).await, lease(&channel).await, lease(&channel).await);
    let key = lock(first).await;
    assert_eq!(key, format!("l/{first:x}"));
    let second = tokio::spawn(lock(second));
    queued(&channel, "l/", 2).await;
    let waiting = tokio::spawn(lock(third));
    queued(&channel, "l/", 3).await;
    // Whoever goes away while waiting leaves the queue.
    waiting.abort();
    queued(&channel, "l/", 2).await;
    assert!(!second.is_finished());
    LockClient::new(channel.clone())
        .unlock(UnlockRequest { key })
        .await
        .unwrap();
    tokio::time::timeout(HANG, second)
        .await
        .expect("the lock was not passed on")
        .unwrap();
}

#[tokio::test]
async fn an_election_is_won_proclaimed_observed_and_lost_with_the_lease() {
    let (channel, _stop) = open().await;
    let mut client = ElectionClient::new(channel.clone());
    let name = || LeaderRequest { name: "e".into() };
    assert_eq!(
        client.leader(name()).await.unwrap_err().message(),
        "election: no leader"
    );
    let mut observed = client.observe(name()).await.unwrap().into_inner();
    let (one, two) = (lease(&channel).await, lease(&channel).await);
    let campaign = |lease, value: &'static str| CampaignRequest {
        name: "e".into(),
        lease,
        value: value.into(),
    };
    let won = client.campaign(campaign(one, "one")).await.unwrap().into_inner().leader;
    let mut other = client.clone();
    let second = tokio::spawn(async move { other.campaign(campaign(two, "two")).await });
    queued(&channel, "e/", 2).await;
    let proclaim = |leader| ProclaimRequest {
        leader,
        value: "still one".into(),
    };
    client.proclaim(proclaim(won.clone())).await.unwrap();
    assert_eq!(
        &client.leader(name()).await.unwrap().into_inner().kv.unwrap().value[..],
        b"still one"
    );
    LeaseClient::new(channel.clone())
        .lease_revoke(LeaseRevokeRequest { id: one })
        .await
        .unwrap();
    let second = tokio::time::timeout(HANG, second)
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .into_inner();
    assert_eq!(
        client.proclaim(proclaim(won)).await.unwrap_err().message(),
        "election: not leader"
    );
    client.resign(ResignRequest { leader: second.leader }).await.unwrap();
    let mut values = Vec::new();
    while values.len() < 3 {
        let next = tokio::time::timeout(HANG, observed.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        values.push(String::from_utf8(next.kv.unwrap().value.to_vec()).unwrap());
    }
    assert_eq!(values, ["one", "still one", "two"]);
}
