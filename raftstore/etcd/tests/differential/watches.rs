//! Watches over the history that both sides have, from random revisions, with filters and previous values.

use proto::etcd::etcdserverpb::{
    DeleteRangeRequest, PutRequest, WatchCreateRequest, WatchRequest, watch_create_request::FilterType,
    watch_request::RequestUnion,
};
use proto::etcd::mvccpb::{Event, event::EventType};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::generator::{Generator, Op};
use crate::peer::{HANG, Peer};

const WATCHES: usize = 25;

/// What a watch said, in order.
#[derive(Debug, PartialEq)]
struct Heard {
    events: Vec<Event>,
    /// Cancelled, because of which compaction or for which reason.
    cancelled: Option<(i64, String)>,
}

/// Runs the same watches on both, over what happened and a last change of each watch's first key.
pub async fn compare(seed: u64, generator: &mut Generator, theirs: &mut Peer, ours: &mut Peer) {
    for number in 0..WATCHES {
        let request = watch(generator);
        let streams = [open(theirs, &request).await, open(ours, &request).await];
        let key = if request.key.is_empty() {
            "\0".into()
        } else {
            request.key.clone()
        };
        let last = [
            Op::Put(PutRequest {
                key: key.clone(),
                value: "last".into(),
                ..Default::default()
            }),
            Op::DeleteRange(DeleteRangeRequest {
                key,
                ..Default::default()
            }),
        ];
        for op in &last {
            let (theirs, ours) = (theirs.apply(op).await, ours.apply(op).await);
            assert_eq!(ours, theirs, "seed {seed}, watch {number}: {op:#?}");
            generator.learn(op, &theirs);
        }
        let [theirs, ours] = streams;
        let heard = async {
            (
                hear(theirs, &request, generator.revision).await,
                hear(ours, &request, generator.revision).await,
            )
        };
        let (theirs, ours) = tokio::time::timeout(HANG, heard)
            .await
            .unwrap_or_else(|_| panic!("seed {seed}, watch {number} says nothing: {request:#?}"));
        assert_eq!(ours, theirs, "seed {seed}, watch {number}: {request:#?}");
    }
}

fn watch(generator: &mut Generator) -> WatchCreateRequest {
    let start_revision = match generator.below(8) {
        0 => 0,
        _ => 1 + generator.below(generator.revision as u64) as i64,
    };
    let filters = match generator.below(4) {
        0 => vec![FilterType::Noput.into()],
        1 => vec![FilterType::Nodelete.into()],
        _ => vec![],
    };
    WatchCreateRequest {
        key: generator.key(),
        range_end: generator.range_end(),
        start_revision: if start_revision == generator.compacted {
            generator.compacted + 1
        } else {
            start_revision
        },
        filters,
        prev_kv: generator.one_in(2),
        fragment: generator.one_in(3),
        ..Default::default()
    }
}

type Stream = (
    mpsc::Sender<WatchRequest>,
    tonic::Streaming<proto::etcd::etcdserverpb::WatchResponse>,
);

/// Opens a watch and waits until it is created.
async fn open(peer: &mut Peer, request: &WatchCreateRequest) -> (Stream, Option<(i64, String)>) {
    let (requests, outgoing) = mpsc::channel(1);
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(request.clone())),
    };
    requests.send(create).await.unwrap();
    let mut responses = peer
        .watch
        .watch(ReceiverStream::new(outgoing))
        .await
        .unwrap()
        .into_inner();
    let created = responses.message().await.unwrap().expect("an answer");
    assert!(created.created, "{created:?}");
    let cancelled = created
        .canceled
        .then_some((created.compact_revision, created.cancel_reason));
    ((requests, responses), cancelled)
}

/// Listens until the last change that the watch is told of, which is at `last` or, without deletions, one before.
async fn hear(opened: (Stream, Option<(i64, String)>), request: &WatchCreateRequest, last: i64) -> Heard {
    let ((_requests, mut responses), cancelled) = opened;
    let mut heard = Heard {
        events: vec![],
        cancelled,
    };
    let without_deletions = request.filters.contains(&FilterType::Nodelete.into());
    let last = if without_deletions { last - 1 } else { last };
    while heard.cancelled.is_none() {
        let response = responses.message().await.unwrap().expect("the watch goes on");
        heard.events.extend(response.events);
        if response.canceled {
            heard.cancelled = Some((response.compact_revision, response.cancel_reason));
        }
        let end = heard
            .events
            .last()
            .and_then(|event| Some((event.r#type(), event.kv.as_ref()?.mod_revision)));
        if end.is_some_and(|(kind, revision)| revision == last && (kind == EventType::Delete || without_deletions)) {
            break;
        }
    }
    heard
}
