//! The Maintenance service.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use proto::etcd::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest, DowngradeResponse,
    HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest,
    SnapshotResponse, StatusRequest, StatusResponse, downgrade_request::DowngradeAction,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    CLUSTER_VERSION, Refusal, VERSION, client::Client, door::Door, error::status, limits,
    services::etcdserverpb::maintenance_server::Maintenance, snapshot,
};

pub(crate) struct MaintenanceService(pub Arc<Door>);

/// etcd's compacted revision before the first compaction.
const NEVER_COMPACTED: i64 = -1;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let state = Client::of(&self.0, &request).somebodys_store()?.status();
        let size = i64::try_from(state.size_bytes).unwrap_or(i64::MAX);
        let mut errors = state.errors;
        if state.leader.is_none() {
            errors.push(Refusal::NoLeader.text().into());
        }
        let alarms = self.0.store.view();
        // etcd's way to write them, the trailing space included.
        errors.extend(
            alarms
                .alarms()
                .iter()
                .map(|alarm| format!("memberID:{} alarm:{} ", alarm.member_id, alarm.alarm().as_str_name())),
        );
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
            db_size_quota: i64::try_from(state.quota_bytes).unwrap_or(i64::MAX),
            ..Default::default()
        }))
    }

    async fn alarm(&self, request: Request<AlarmRequest>) -> Answer<AlarmResponse> {
        let store = Client::of(&self.0, &request).store()?;
        let mut response = store.alarm(request.into_inner()).await.map_err(status)?;
        self.0.stamp(&mut response.header);
        Ok(Response::new(response))
    }

    /// There is nothing to do: space is reclaimed in the background.
    async fn defragment(&self, request: Request<DefragmentRequest>) -> Answer<DefragmentResponse> {
        Client::of(&self.0, &request).roots_store()?;
        Ok(Response::new(DefragmentResponse {
            header: self.0.header_now(),
        }))
    }

    /// Says whether members agree, as etcd's; the value is another one, for etcd hashes its file format too.
    async fn hash(&self, request: Request<HashRequest>) -> Answer<HashResponse> {
        let store = Client::of(&self.0, &request).roots_store()?;
        let hashed = store.hash().await.map_err(status)?;
        Ok(Response::new(HashResponse {
            header: self.0.header(hashed.current),
            hash: hashed.hash,
        }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Answer<HashKvResponse> {
        let store = Client::of(&self.0, &request).roots_store()?;
        let hashed = store.hash_kv(request.into_inner().revision).await.map_err(status)?;
        Ok(Response::new(HashKvResponse {
            header: self.0.header(hashed.current),
            hash: hashed.hash,
            compact_revision: match hashed.compacted {
                0 => NEVER_COMPACTED,
                compacted => compacted,
            },
            hash_revision: hashed.revision,
        }))
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Answer<Self::SnapshotStream> {
        let store = Client::of(&self.0, &request).roots_store()?;
        let (client, responses) = mpsc::channel(limits::SNAPSHOT_CHUNKS_QUEUED_MAX);
        let turn = self.0.snapshots.clone().try_acquire_owned();
        let turn = turn.map_err(|_| Refusal::TooManyRequests)?;
        let directory = self.0.config.spool_directory.clone();
        tokio::spawn(async move {
            snapshot::send(store, directory, client).await;
            drop(turn);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Answer<MoveLeaderResponse> {
        let store = Client::of(&self.0, &request).roots_store()?;
        let target = request.into_inner().target_id;
        if !self.0.is_leading() {
            return Err(Refusal::NotLeader.into());
        }
        if target != self.0.member_id() {
            store.transfer_leadership(target).await.map_err(status)?;
        }
        Ok(Response::new(MoveLeaderResponse {
            header: self.0.header_now(),
        }))
    }

    /// There is no etcd version to go down to: every one is refused as etcd refuses what it cannot become.
    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Answer<DowngradeResponse> {
        Client::of(&self.0, &request).roots_store()?;
        let asked = request.get_ref();
        let refusal = match asked.action() {
            DowngradeAction::Cancel => Refusal::NoInflightDowngrade,
            _ if is_version(&asked.version) => Refusal::InvalidDowngradeTargetVersion,
            _ => Refusal::WrongDowngradeVersionFormat,
        };
        Err(refusal.into())
    }
}

/// Whether a text is `MAJOR.MINOR`, or `MAJOR.MINOR.PATCH`.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    (2..=3).contains(&parts.len()) && parts.iter().all(|part| part.parse::<u32>().is_ok())
}
