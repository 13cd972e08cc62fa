//! The Watch service.
//!
//! # Theory
//! One gRPC stream carries many watchers. Each has a task of its own ([`watcher`]) that waits for the store and turns what
//! comes into reports; one loop per stream ([`stream`]) takes the client's requests and the reports and is the only one
//! that writes to the client. So everything about one watcher arrives in the order the store told it, and what concerns
//! several of them is decided in one place.
//!
//! A *manual progress request* asks: up to which revision has everything on this stream been delivered? Each watcher is
//! asked in turn, answers in its place in its own order, and the loop answers the client with the smallest revision once
//! all have. Requests made meanwhile are answered together.
//!
//! # Backpressure
//! All queues between store and client are bounded: a client that does not read stops its stream's loop, then its
//! watchers' tasks, and the store remembers nothing but their positions.

mod response;
mod stream;
mod watcher;

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use proto::etcd::etcdserverpb::{WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    client::Client,
    door::{Door, requires_leader},
    limits,
    services::etcdserverpb::watch_server::Watch,
};

pub(crate) struct WatchService(pub Arc<Door>);

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let requires_leader = requires_leader(request.metadata());
        let (sender, receiver) = mpsc::channel(limits::WATCH_RESPONSES_QUEUED_MAX);
        let stream = stream::WatchStream::new(Client::of(&self.0, &request), sender);
        tokio::spawn(stream.run(request.into_inner(), requires_leader));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
