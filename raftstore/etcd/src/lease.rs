//! The Lease service.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, stream};
use proto::etcd::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    Refusal,
    client::Client,
    door::{Door, requires_leader},
    error::status,
    services::etcdserverpb::lease_server::Lease,
};

pub(crate) struct LeaseService(pub Arc<Door>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Answer<LeaseGrantResponse> {
        let store = Client::of(&self.0, &request).store()?;
        let mut response = store.lease_grant(request.into_inner()).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(response))
    }

    async fn lease_revoke(&self, request: Request<LeaseRevokeRequest>) -> Answer<LeaseRevokeResponse> {
        let store = Client::of(&self.0, &request).store()?;
        let mut response = store.lease_revoke(request.into_inner()).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(response))
    }

    type LeaseKeepAliveStream = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Answer<Self::LeaseKeepAliveStream> {
        let required = requires_leader(request.metadata());
        let client = Client::of(&self.0, &request);
        let state = (client, request.into_inner());
        let answers = stream::try_unfold(state, move |(client, mut requests)| async move {
            let door = &client.door;
            let request = tokio::select! {
                request = requests.message() => request?,
                () = door.leader_lost(required) => return Err(Refusal::NoLeader.into()),
                () = door.stop.cancelled() => return Err(Refusal::Stopped.into()),
            };
            let Some(request) = request else { return Ok(None) };
            let mut response = client.store()?.lease_keep_alive(request.id).await.map_err(status)?;
            door.stamp(&mut response.header);
            Ok(Some((response, (client, requests))))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(&self, request: Request<LeaseTimeToLiveRequest>) -> Answer<LeaseTimeToLiveResponse> {
        let store = Client::of(&self.0, &request).store()?;
        let mut response = store.lease_time_to_live(request.into_inner()).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(response))
    }

    async fn lease_leases(&self, request: Request<LeaseLeasesRequest>) -> Answer<LeaseLeasesResponse> {
        let store = Client::of(&self.0, &request).store()?;
        let mut response = store.leases().await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(response))
    }
}
