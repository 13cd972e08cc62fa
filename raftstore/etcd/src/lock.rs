//! The Lock service: the lock is held by whoever is first in the queue of its name.

use std::sync::Arc;

use bytes::Bytes;
use proto::etcd::{
    etcdserverpb::DeleteRangeRequest,
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse},
};
use tonic::{Request, Response, Status};

use crate::{
    Refusal,
    client::Client,
    door::Door,
    error::status,
    queue::{self, Waiting},
    services::v3lockpb::lock_server::Lock,
};

pub(crate) struct LockService(pub Arc<Door>);

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let client = Client::of(&self.0, &request);
        let LockRequest { name, lease } = request.into_inner();
        let (place, _) = queue::join(&client, &name, lease, Bytes::new()).await?;
        let waiting = Waiting::new(&client, place.clone());
        queue::wait(&client, &name, &place).await?;
        waiting.keep();
        Ok(Response::new(LockResponse {
            header: self.0.header_now(),
            key: place.key,
        }))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        let store = Client::of(&self.0, &request).store()?;
        let key = request.into_inner().key;
        if key.is_empty() {
            return Err(Refusal::EmptyKey.into());
        }
        let delete = DeleteRangeRequest {
            key,
            ..Default::default()
        };
        let mut response = store.delete_range(delete).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(UnlockResponse {
            header: response.header,
        }))
    }
}
