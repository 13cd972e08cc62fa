//! The Maintenance service.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use proto::etcd::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest, DowngradeResponse,
    HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest,
    SnapshotResponse, StatusRequest, StatusResponse,
};
use tonic::{Request, Response, Status};

use crate::{
    CLUSTER_VERSION, Refusal, VERSION,
    door::Door,
    error::{status, unimplemented},
    services::etcdserverpb::maintenance_server::Maintenance,
};

pub(crate) struct MaintenanceService(pub Arc<Door>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn status(&self, _request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let state = self.0.store.status();
        let size = i64::try_from(state.size_bytes).unwrap_or(i64::MAX);
        let mut errors = state.errors;
        if state.leader.is_none() {
            errors.push(Refusal::NoLeader.text().into());
        }
        Ok(Response::new(StatusResponse {
            header: self.0.header(state.revision),
            version: VERSION.into(),
            db_size: size,
            leader: state.leader.unwrap_or(0),
            raft_index: state.committed_index,
            raft_term: state.term,
            raft_applied_index: state.applied_index,
            errors,
            // Space is reused without a pause, so nothing is there that is not in use.
            db_size_in_use: size,
            is_learner: state.learner,
            storage_version: CLUSTER_VERSION.into(),
            ..Default::default()
        }))
    }

    async fn alarm(&self, request: Request<AlarmRequest>) -> Answer<AlarmResponse> {
        let mut response = self.0.store.alarm(request.into_inner()).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(response))
    }

    /// There is nothing to do: space is reclaimed in the background.
    async fn defragment(&self, _request: Request<DefragmentRequest>) -> Answer<DefragmentResponse> {
        Ok(Response::new(DefragmentResponse {
            header: self.0.header_now(),
        }))
    }

    async fn hash(&self, _request: Request<HashRequest>) -> Answer<HashResponse> {
        Err(unimplemented(
            "Hash",
            "it hashes etcd's own file format, which this store does not have",
        ))
    }

    async fn hash_kv(&self, _request: Request<HashKvRequest>) -> Answer<HashKvResponse> {
        Err(unimplemented("HashKV", "compare revisions by endpoint status instead"))
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn snapshot(&self, _request: Request<SnapshotRequest>) -> Answer<Self::SnapshotStream> {
        Err(unimplemented("Snapshot", "use the proreus command to take a backup"))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Answer<MoveLeaderResponse> {
        let target = request.into_inner().target_id;
        if !self.0.is_leading() {
            return Err(Refusal::NotLeader.into());
        }
        if target != self.0.member_id() {
            self.0.store.transfer_leadership(target).await.map_err(status)?;
        }
        Ok(Response::new(MoveLeaderResponse {
            header: self.0.header_now(),
        }))
    }

    async fn downgrade(&self, _request: Request<DowngradeRequest>) -> Answer<DowngradeResponse> {
        Err(unimplemented("Downgrade", "start the version of proreus you want"))
    }
}
