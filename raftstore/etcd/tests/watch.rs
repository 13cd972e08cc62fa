//! Watch semantics that etcdctl does not show, through the generated client.

use std::time::Duration;

use bytes::Bytes;
use etcd::{
    EtcdConfig, serve,
    services::etcdserverpb::{kv_client::KvClient, watch_client::WatchClient},
};
use proto::etcd::etcdserverpb::{
    CompactionRequest, PutRequest, RequestOp, TxnRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest,
    WatchRequest, WatchResponse, request_op::Request as Op, watch_create_request::FilterType,
    watch_request::RequestUnion,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Streaming, transport::Channel};

/// Nothing here takes long; what takes this long never ends.
const HANG: Duration = Duration::from_secs(30);

struct Door {
    channel: Channel,
    kv: KvClient<Channel>,
    _stop: DropGuard,
}

impl Door {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let store = memory::store().await.unwrap();
        let config = EtcdConfig {
            watch_progress_interval: Duration::from_millis(50),
            ..EtcdConfig::new("one", vec![])
        };
        tokio::spawn(serve(listener, None, store, config, stop.clone()));
        let channel = Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        Self {
            kv: KvClient::new(channel.clone()),
            channel,
            _stop: stop.drop_guard(),
        }
    }

    async fn put(&mut self, key: &str, value: &str) -> i64 {
        let put = PutRequest {
            key: key.to_string().into(),
            value: value.to_string().into(),
            ..Default::default()
        };
        self.kv.put(put).await.unwrap().into_inner().header.unwrap().revision
    }

    /// Puts many keys in one revision.
    async fn put_all(&mut self, keys: usize, value: &Bytes) -> i64 {
        let put = |index| {
            let put = PutRequest {
                key: format!("k{index:03}").into(),
                value: value.clone(),
                ..Default::default()
            };
            RequestOp {
                request: Some(Op::RequestPut(put)),
            }
        };
        let txn = TxnRequest {
            success: (0..keys).map(put).collect(),
            ..Default::default()
        };
        self.kv.txn(txn).await.unwrap().into_inner().header.unwrap().revision
    }

    async fn stream(&self) -> Watch {
        let (requests, receiver) = mpsc::channel(16);
        let mut client = WatchClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let responses = client.watch(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Watch { requests, responses }
    }
}

struct Watch {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

fn everything() -> WatchCreateRequest {
    WatchCreateRequest {
        range_end: Bytes::from_static(b"\0"),
        ..Default::default()
    }
}

fn one(key: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_string().into(),
        ..Default::default()
    }
}

impl Watch {
    async fn send(&self, request: RequestUnion) {
        self.requests
            .send(WatchRequest {
                request_union: Some(request),
            })
            .await
            .unwrap();
    }

    async fn next(&mut self) -> WatchResponse {
        tokio::time::timeout(HANG, self.responses.message())
            .await
            .expect("no response")
            .unwrap()
            .unwrap()
    }

    async fn create(&mut self, request: WatchCreateRequest) -> WatchResponse {
        self.send(RequestUnion::CreateRequest(request)).await;
        let response = self.next().await;
        assert!(response.created);
        response
    }

    async fn progress(&self) {
        self.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    }
}

fn keys(response: &WatchResponse) -> Vec<String> {
    let key =
        |event: &proto::etcd::mvccpb::Event| String::from_utf8_lossy(&event.kv.as_ref().unwrap().key).into_owned();
    response.events.iter().map(key).collect()
}

fn revision(response: &WatchResponse) -> i64 {
    response.header.unwrap().revision
}

#[tokio::test]
async fn one_stream_carries_many_watchers() {
    let mut door = Door::open().await;
    let mut watch = door.stream().await;
    assert_eq!(watch.create(one("a")).await.watch_id, 0);
    assert_eq!(watch.create(everything()).await.watch_id, 1);
    assert_eq!(
        watch
            .create(WatchCreateRequest {
                watch_id: 7,
                ..one("b")
            })
            .await
            .watch_id,
        7
    );
    door.put("a", "1").await;
    let mut ids = [watch.next().await.watch_id, watch.next().await.watch_id];
    ids.sort_unstable();
    assert_eq!(ids, [0, 1]);
    for watch_id in [0, 1] {
        watch
            .send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
            .await;
        let canceled = watch.next().await;
        assert!(canceled.canceled && canceled.watch_id == watch_id && canceled.compact_revision == 0);
    }
    // Unknown ids are passed over in silence; a freed id may be chosen again.
    watch
        .send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 99 }))
        .await;
    assert_eq!(
        watch
            .create(WatchCreateRequest {
                watch_id: 1,
                ..one("c")
            })
            .await
            .watch_id,
        1
    );
    door.put("b", "2").await;
    assert_eq!(watch.next().await.watch_id, 7);
}

#[tokio::test]
async fn a_bad_watch_is_created_and_cancelled_at_once() {
    let door = Door::open().await;
    let mut watch = door.stream().await;
    watch
        .create(WatchCreateRequest {
            watch_id: 5,
            ..one("a")
        })
        .await;
    let cases = [
        (
            WatchCreateRequest {
                watch_id: 5,
                ..one("a")
            },
            "duplicate watch ID",
        ),
        (
            WatchCreateRequest {
                range_end: Bytes::from_static(b"a"),
                ..one("b")
            },
            "range is empty",
        ),
        (
            WatchCreateRequest {
                range_end: Bytes::from_static(b"b"),
                ..one("b")
            },
            "range is empty",
        ),
        (
            WatchCreateRequest {
                start_revision: -1,
                ..one("b")
            },
            "invalid start revision",
        ),
    ];
    for (request, reason) in cases {
        let response = watch.create(request).await;
        assert!(response.canceled && response.watch_id == -1, "{response:?}");
        assert!(response.cancel_reason.contains(reason), "{}", response.cancel_reason);
    }
}

#[tokio::test]
async fn a_compacted_start_names_the_oldest_revision_left() {
    let mut door = Door::open().await;
    for value in 0..4 {
        door.put("a", &value.to_string()).await;
    }
    door.kv
        .compact(CompactionRequest {
            revision: 4,
            physical: true,
        })
        .await
        .unwrap();
    let mut watch = door.stream().await;
    assert!(
        !watch
            .create(WatchCreateRequest {
                start_revision: 2,
                ..one("a")
            })
            .await
            .canceled
    );
    let response = watch.next().await;
    assert!(response.canceled && response.cancel_reason.is_empty());
    assert_eq!(response.compact_revision, 4);
    watch
        .create(WatchCreateRequest {
            start_revision: 4,
            ..one("a")
        })
        .await;
    assert_eq!(keys(&watch.next().await), ["a", "a"]);
}

#[tokio::test]
async fn a_future_start_suppresses_what_comes_before() {
    let mut door = Door::open().await;
    let mut watch = door.stream().await;
    watch
        .create(WatchCreateRequest {
            start_revision: 4,
            ..one("a")
        })
        .await;
    for value in 0..3 {
        door.put("a", &value.to_string()).await;
    }
    let response = watch.next().await;
    assert_eq!(response.events[0].kv.as_ref().unwrap().mod_revision, 4);
}

#[tokio::test]
async fn filters_and_previous_values_are_the_watchers_own() {
    let mut door = Door::open().await;
    door.put("a", "1").await;
    let mut watch = door.stream().await;
    let deletes = vec![FilterType::Noput.into()];
    watch
        .create(WatchCreateRequest {
            filters: deletes,
            prev_kv: true,
            ..one("a")
        })
        .await;
    door.put("a", "2").await;
    let delete = proto::etcd::etcdserverpb::DeleteRangeRequest {
        key: "a".into(),
        ..Default::default()
    };
    door.kv.delete_range(delete).await.unwrap();
    let event = watch.next().await.events.remove(0);
    let (kv, prev) = (event.kv.unwrap(), event.prev_kv.unwrap());
    assert_eq!((kv.mod_revision, kv.version, &kv.value[..]), (4, 0, &b""[..]));
    assert_eq!(&prev.value[..], b"2");
}

#[tokio::test]
async fn manual_progress_never_overtakes_events() {
    let mut door = Door::open().await;
    for value in 0..50 {
        door.put("a", &value.to_string()).await;
    }
    let mut watch = door.stream().await;
    // History for one, silence for the other: the answer must wait for the history.
    watch
        .create(WatchCreateRequest {
            start_revision: 2,
            ..one("a")
        })
        .await;
    watch.send(RequestUnion::CreateRequest(one("b"))).await;
    watch.progress().await;
    let mut last = 0;
    loop {
        let response = watch.next().await;
        if response.watch_id == -1 {
            assert_eq!((last, revision(&response)), (51, 51));
            assert!(response.events.is_empty());
            break;
        }
        last = response
            .events
            .last()
            .map_or(last, |event| event.kv.as_ref().unwrap().mod_revision);
    }
    let written = door.put("b", "x").await;
    watch.progress().await;
    assert_eq!(keys(&watch.next().await), ["b"]);
    let progress = watch.next().await;
    assert_eq!((progress.watch_id, revision(&progress)), (-1, written));
}

#[tokio::test]
async fn an_idle_watcher_that_asked_is_told_of_progress() {
    let mut door = Door::open().await;
    let mut watch = door.stream().await;
    watch
        .create(WatchCreateRequest {
            progress_notify: true,
            ..one("quiet")
        })
        .await;
    let written = door.put("other", "1").await;
    loop {
        let response = watch.next().await;
        assert!(response.events.is_empty() && response.watch_id == 0);
        if revision(&response) == written {
            break;
        }
    }
}

#[tokio::test]
async fn a_large_revision_arrives_whole_or_in_marked_fragments() {
    let mut door = Door::open().await;
    let value = Bytes::from(vec![b'x'; 11 << 10]);
    let start_revision = door.put_all(128, &value).await;
    door.put_all(128, &value).await;
    let mut watch = door.stream().await;
    // With previous values the second revision is twice the size of a fragment.
    let wide = WatchCreateRequest {
        start_revision: start_revision + 1,
        prev_kv: true,
        ..everything()
    };
    watch.create(wide.clone()).await;
    let whole = watch.next().await;
    assert_eq!((whole.events.len(), whole.fragment), (128, false));
    let mut watch = door.stream().await;
    watch.create(WatchCreateRequest { fragment: true, ..wide }).await;
    let (mut seen, mut parts) = (Vec::new(), 0);
    loop {
        let part = watch.next().await;
        seen.extend(keys(&part));
        parts += 1;
        if !part.fragment {
            break;
        }
    }
    assert!(parts >= 2);
    assert_eq!(seen, keys(&whole));
}

#[tokio::test]
async fn a_request_too_large_or_too_long_is_refused() {
    let mut door = Door::open().await;
    let huge = PutRequest {
        key: "a".into(),
        value: vec![0; 3 << 19].into(),
        ..Default::default()
    };
    assert_eq!(
        door.kv.put(huge).await.unwrap_err().message(),
        "etcdserver: request is too large"
    );
    let put = |index: usize| {
        let put = PutRequest {
            key: index.to_string().into(),
            ..Default::default()
        };
        RequestOp {
            request: Some(Op::RequestPut(put)),
        }
    };
    let long = TxnRequest {
        success: (0..129).map(put).collect(),
        ..Default::default()
    };
    let error = door.kv.txn(long).await.unwrap_err();
    assert_eq!(error.message(), "etcdserver: too many operations in txn request");
    let error = door.kv.put(PutRequest::default()).await.unwrap_err();
    assert_eq!(error.message(), "etcdserver: key is not provided");
}

#[tokio::test]
async fn a_stopping_door_ends_its_streams() {
    let door = Door::open().await;
    let mut watch = door.stream().await;
    watch.create(everything()).await;
    let Door { _stop: stop, .. } = door;
    drop(stop);
    let end = tokio::time::timeout(HANG, watch.responses.message())
        .await
        .expect("no response")
        .unwrap_err();
    assert_eq!(end.message(), "etcdserver: server stopped");
}
