//! The gRPC side of [`Inbound`].

use std::io;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use proto::raft as wire;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status, Streaming};

use super::generated::transport_server::{Transport, TransportServer};
use super::{CLUSTER_HEADER, Identity, Inbound, MEMBER_HEADER};
use crate::limits::MESSAGE_BYTES;

/// Hands what comes in over gRPC to an [`Inbound`].
pub struct Door {
    inbound: Arc<dyn Inbound>,
}

impl Door {
    /// The service of a member.
    pub fn service(identity: Identity, inbound: Arc<dyn Inbound>) -> InterceptedService<TransportServer<Door>, Guard> {
        let server = TransportServer::new(Door { inbound })
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        InterceptedService::new(server, Guard { identity })
    }
}

/// Refuses calls that are meant for another cluster or another member.
#[derive(Clone)]
pub struct Guard {
    identity: Identity,
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let header = |name| {
            let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
            value.and_then(|value| u64::from_str_radix(value, 16).ok())
        };
        let Identity { cluster, member } = self.identity;
        if header(CLUSTER_HEADER) != Some(cluster) {
            return Err(Status::failed_precondition(format!(
                "this is a member of cluster {cluster:x}"
            )));
        }
        if header(MEMBER_HEADER) != Some(member) {
            return Err(Status::failed_precondition(format!("this is member {member:x}")));
        }
        Ok(request)
    }
}

fn status(error: io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::InvalidData => Status::invalid_argument(error.to_string()),
        _ => Status::unavailable(error.to_string()),
    }
}

fn incoming<T: Send + 'static>(stream: Streaming<T>) -> BoxStream<'static, io::Result<T>> {
    stream.map_err(io::Error::other).boxed()
}

#[tonic::async_trait]
impl Transport for Door {
    type AppendStream = BoxStream<'static, Result<wire::AppendReply, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<wire::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let replies = self.inbound.append(incoming(request.into_inner()));
        Ok(Response::new(replies.map_err(status).boxed()))
    }

    async fn vote(&self, request: Request<wire::VoteRequest>) -> Result<Response<wire::VoteReply>, Status> {
        self.inbound
            .vote(request.into_inner())
            .await
            .map(Response::new)
            .map_err(status)
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotPart>>,
    ) -> Result<Response<wire::SnapshotReply>, Status> {
        self.inbound
            .snapshot(incoming(request.into_inner()))
            .await
            .map(Response::new)
            .map_err(status)
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderReply>, Status> {
        self.inbound
            .transfer_leader(request.into_inner())
            .await
            .map(Response::new)
            .map_err(status)
    }

    async fn ask(&self, request: Request<wire::Question>) -> Result<Response<wire::Reply>, Status> {
        Ok(Response::new(self.inbound.ask(request.into_inner()).await))
    }
}
