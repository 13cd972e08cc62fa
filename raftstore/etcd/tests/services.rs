//! Services that etcdctl does not show: health, streamed ranges, downgrading.

use etcd::{
    EtcdConfig, serve,
    services::{
        etcdserverpb::{auth_client::AuthClient, kv_client::KvClient, maintenance_client::MaintenanceClient},
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    },
};
use proto::etcd::etcdserverpb::{
    AlarmRequest, AlarmType, AuthStatusRequest, DowngradeRequest, PutRequest, RangeRequest, RangeResponse,
    alarm_request::AlarmAction, downgrade_request::DowngradeAction,
};
use raftstore::Store;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, transport::Channel};

async fn open() -> (Channel, Store, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let store = memory::store().await.unwrap();
    tokio::spawn(serve(
        listener,
        None,
        store.clone(),
        EtcdConfig::new("one", vec![]),
        stop.clone(),
    ));
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    (channel, store, stop.drop_guard())
}

#[tokio::test]
async fn health_follows_alarms_and_is_told_as_it_changes() {
    let (channel, store, _stop) = open().await;
    let mut health = HealthClient::new(channel);
    let whole = HealthCheckRequest::default();
    let mut changes = health.watch(whole.clone()).await.unwrap().into_inner();
    assert_eq!(
        changes.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    assert_eq!(
        health.check(whole.clone()).await.unwrap().into_inner().status(),
        ServingStatus::Serving
    );
    let alarm = |action: AlarmAction| AlarmRequest {
        action: action.into(),
        member_id: 7,
        alarm: AlarmType::Corrupt.into(),
    };
    store.alarm(alarm(AlarmAction::Activate)).await.unwrap();
    assert_eq!(
        changes.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    assert_eq!(
        health.check(whole).await.unwrap().into_inner().status(),
        ServingStatus::NotServing
    );
    store.alarm(alarm(AlarmAction::Deactivate)).await.unwrap();
    assert_eq!(
        changes.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    let other = HealthCheckRequest {
        service: "other".into(),
    };
    assert_eq!(health.check(other).await.unwrap_err().code(), Code::NotFound);
}

/// All keys, and whatever each message says beside them.
async fn stream(kv: &mut KvClient<Channel>, request: RangeRequest) -> Vec<RangeResponse> {
    let mut messages = kv.range_stream(request).await.unwrap().into_inner();
    let mut parts = Vec::new();
    while let Some(message) = messages.message().await.unwrap() {
        parts.push(message.range_response.unwrap());
    }
    parts
}

#[tokio::test]
async fn a_streamed_range_is_the_range_in_parts() {
    let (channel, _store, _stop) = open().await;
    let mut kv = KvClient::new(channel);
    for index in 0..2_500 {
        let put = PutRequest {
            key: format!("k/{index:05}").into(),
            value: "v".into(),
            ..Default::default()
        };
        kv.put(put).await.unwrap();
    }
    let all = RangeRequest {
        key: "k/".into(),
        range_end: "k0".into(),
        ..Default::default()
    };
    for request in [
        all.clone(),
        RangeRequest {
            limit: 2_100,
            ..all.clone()
        },
        RangeRequest {
            revision: 1_200,
            ..all.clone()
        },
        RangeRequest {
            count_only: true,
            ..all.clone()
        },
    ] {
        let whole = kv.range(request.clone()).await.unwrap().into_inner();
        let mut parts = stream(&mut kv, request.clone()).await;
        let last = parts.last().unwrap();
        assert_eq!((last.more, last.count), (whole.more, whole.count), "{request:?}");
        assert_eq!(
            last.header.unwrap().revision,
            whole.header.unwrap().revision,
            "{request:?}"
        );
        let silent = |part: &RangeResponse| part.header.is_none() && !part.more && part.count == 0;
        assert!(
            parts[..parts.len() - 1].iter().all(silent),
            "only the last part tells of the whole"
        );
        let kvs: Vec<_> = parts
            .iter_mut()
            .flat_map(|part| std::mem::take(&mut part.kvs))
            .collect();
        assert_eq!(kvs, whole.kvs, "{request:?}");
    }
    assert!(stream(&mut kv, all.clone()).await.len() > 1, "in parts");
    let sorted = RangeRequest {
        sort_order: 2,
        ..all.clone()
    };
    let filtered = RangeRequest {
        min_mod_revision: 3,
        ..all
    };
    for request in [sorted, filtered] {
        assert_eq!(kv.range_stream(request).await.unwrap_err().code(), Code::Unimplemented);
    }
    assert_eq!(
        kv.range_stream(RangeRequest::default()).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn there_is_nothing_to_downgrade_to() {
    let (channel, _store, _stop) = open().await;
    let mut maintenance = MaintenanceClient::new(channel);
    for (action, version, expected) in [
        (
            DowngradeAction::Validate,
            "3.5",
            "etcdserver: invalid downgrade target version",
        ),
        (
            DowngradeAction::Enable,
            "3.5.0",
            "etcdserver: invalid downgrade target version",
        ),
        (
            DowngradeAction::Enable,
            "old",
            "etcdserver: wrong downgrade target version format",
        ),
        (DowngradeAction::Cancel, "", "etcdserver: no inflight downgrade job"),
    ] {
        let request = DowngradeRequest {
            action: action.into(),
            version: version.into(),
        };
        let refused = maintenance.downgrade(request).await.unwrap_err();
        assert_eq!(refused.message(), expected, "{action:?} {version}");
    }
}

#[tokio::test]
async fn the_status_of_authentication_is_everybodys() {
    let (channel, _store, _stop) = open().await;
    let status = AuthClient::new(channel)
        .auth_status(AuthStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!((status.enabled, status.auth_revision), (false, 1));
}
