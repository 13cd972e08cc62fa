//! Queues of keys, on which locks and elections stand. No service of its own.
//!
//! # Theory
//! Whoever joins the queue `NAME` puts the key `NAME/LEASE` (the lease in hexadecimal), bound to its lease. The key with
//! the smallest create revision is first. Everyone else waits for the key just before its own to be deleted, so a
//! departure wakes one waiter only; then it looks again, because that one may have left from the middle. The lease's end
//! deletes the key of whoever died.

use bytes::Bytes;
use proto::etcd::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request,
        response_op::Response,
    },
    mvccpb::KeyValue,
};
use raftstore::{Delivery, Store, WatchSpec};
use tonic::Status;

use crate::{client::Client, error::status, limits};

/// A place in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub key: Bytes,
    /// The create revision of `key`, which is the order of the queue.
    pub revision: i64,
    pub lease: i64,
}

/// Under which all keys of a queue are.
pub fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// Takes a place, or finds the one this lease has already; with it the value found there. Without a lease, one is made
/// that ends by itself.
pub async fn join(client: &Client, name: &[u8], lease: i64, value: Bytes) -> Result<(Place, Option<KeyValue>), Status> {
    let lease = if lease == 0 { new_lease(client).await? } else { lease };
    let key = Bytes::from([&prefix(name)[..], format!("{lease:x}").as_bytes()].concat());
    let put = PutRequest {
        key: key.clone(),
        value,
        lease,
        ..Default::default()
    };
    let get = RangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    let response = guarded(
        &client.store()?,
        &key,
        0,
        Request::RequestPut(put),
        Some(Request::RequestRange(get)),
    )
    .await?;
    if response.succeeded {
        let revision = response.header.map_or(0, |header| header.revision);
        return Ok((Place { key, revision, lease }, None));
    }
    let found = response.responses.into_iter().find_map(|op| match op.response {
        Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
        _ => None,
    });
    let found = found.ok_or_else(|| Status::internal("a key that exists was not read"))?;
    Ok((
        Place {
            key,
            revision: found.create_revision,
            lease,
        },
        Some(found),
    ))
}

async fn new_lease(client: &Client) -> Result<i64, Status> {
    let request = LeaseGrantRequest {
        ttl: limits::SESSION_TTL_SECONDS,
        id: 0,
    };
    Ok(client.store()?.lease_grant(request).await.map_err(status)?.id)
}

/// Does `then` if `key` was created at `revision` (0: does not exist), else `otherwise`.
async fn guarded(
    store: &Store,
    key: &Bytes,
    revision: i64,
    then: Request,
    otherwise: Option<Request>,
) -> Result<TxnResponse, Status> {
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    };
    let ops = |request: Option<Request>| request.into_iter().map(|op| RequestOp { request: Some(op) }).collect();
    let request = TxnRequest {
        compare: vec![compare],
        success: ops(Some(then)),
        failure: ops(otherwise),
    };
    store.txn(request).await.map_err(status)
}

/// Sets the value of a place that is still held; `false` if it is not.
pub async fn set(client: &Client, place: &Place, value: Bytes) -> Result<bool, Status> {
    let put = PutRequest {
        key: place.key.clone(),
        value,
        lease: place.lease,
        ..Default::default()
    };
    Ok(guarded(
        &client.store()?,
        &place.key,
        place.revision,
        Request::RequestPut(put),
        None,
    )
    .await?
    .succeeded)
}

/// Gives up a place; having lost it already is fine.
pub async fn leave(store: &Store, key: &Bytes, revision: i64) -> Result<(), Status> {
    let delete = DeleteRangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    guarded(store, key, revision, Request::RequestDeleteRange(delete), None)
        .await
        .map(drop)
}

/// The first of a queue, now or at a revision; and the revision this is true of.
pub async fn first(client: &Client, name: &[u8], revision: i64) -> Result<(Option<KeyValue>, i64), Status> {
    edge(
        client,
        name,
        RangeRequest {
            revision,
            sort_order: SortOrder::Ascend.into(),
            ..Default::default()
        },
    )
    .await
}

/// The key with the smallest or largest create revision among those `request` lets through.
async fn edge(client: &Client, name: &[u8], mut request: RangeRequest) -> Result<(Option<KeyValue>, i64), Status> {
    request.key = prefix(name);
    request.range_end = mvcc::prefix_end(&request.key).into();
    request.sort_target = SortTarget::Create.into();
    request.limit = 1;
    let response = client.store()?.range(request).await.map_err(status)?;
    Ok((
        response.kvs.into_iter().next(),
        response.header.map_or(0, |header| header.revision),
    ))
}

/// Waits until `place` is first. Fails if it was lost meanwhile.
pub async fn wait(client: &Client, name: &[u8], place: &Place) -> Result<(), Status> {
    loop {
        let earlier = RangeRequest {
            max_create_revision: place.revision - 1,
            sort_order: SortOrder::Descend.into(),
            ..Default::default()
        };
        let (before, revision) = edge(client, name, earlier).await?;
        let Some(before) = before else { break };
        deleted(client, before.key, revision + 1).await?;
    }
    let own = RangeRequest {
        key: place.key.clone(),
        ..Default::default()
    };
    let own = client.store()?.range(own).await.map_err(status)?;
    match own.kvs.first() {
        Some(kv) if kv.create_revision == place.revision => Ok(()),
        _ => Err(Status::unknown("mutex: session is expired")),
    }
}

/// Returns once `key` is deleted, or when it is worth looking again.
async fn deleted(client: &Client, key: Bytes, start_revision: i64) -> Result<(), Status> {
    let spec = WatchSpec {
        key,
        range_end: Bytes::new(),
        start_revision,
    };
    let mut watcher = client.store()?.watch(spec).await.map_err(status)?;
    loop {
        match watcher.next().await.map_err(status)? {
            Delivery::Blocks { blocks, .. } => {
                let mut events = blocks.iter().flat_map(|block| &block.events);
                if events.any(|event| event.is_delete() && watcher.spec().matches(&event.entry.key)) {
                    return Ok(());
                }
            }
            Delivery::Progress { .. } => {}
            Delivery::Compacted { .. } => return Ok(()),
        }
    }
}

/// Leaves the queue unless [`Waiting::keep`] was called: a client that goes away must not block those behind it.
pub struct Waiting {
    /// The member's own: who joined may be unknown by now, and leaving is what was agreed on.
    store: Store,
    place: Option<Place>,
}

impl Waiting {
    pub fn new(client: &Client, place: Place) -> Self {
        Self {
            store: client.door.store.clone(),
            place: Some(place),
        }
    }

    /// The wait is over.
    pub fn keep(mut self) {
        self.place = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = leave(&store, &place.key, place.revision).await {
                tracing::debug!(%error, "an abandoned place in a queue stays until its lease ends");
            }
        });
    }
}
