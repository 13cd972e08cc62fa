//! gRPC's health service, and what "healthy" means: this member can answer a linearizable read.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt, stream};
use proto::etcd::etcdserverpb::{AlarmMember, AlarmType};
use tonic::{Request, Response, Status};

use crate::{
    door::Door,
    limits,
    services::health::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
    },
};

/// Why this member is not healthy, if it is not.
pub(crate) async fn ailment(door: &Door, serializable: bool, but: &[AlarmType]) -> Option<String> {
    if let Some(alarm) = alarms(door).iter().find(|alarm| !but.contains(&alarm.alarm())) {
        return Some(format!("ALARM {}", alarm.alarm().as_str_name()));
    }
    if !door.has_leader() {
        return Some("RAFT NO LEADER".into());
    }
    if serializable {
        return None;
    }
    match tokio::time::timeout(limits::HEALTH_TIMEOUT, door.store.barrier()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("READ ERROR: {error}")),
        Err(_) => Some("READ ERROR: timed out".into()),
    }
}

fn alarms(door: &Door) -> Vec<AlarmMember> {
    door.store.view().alarms().to_vec()
}

pub(crate) struct HealthService(pub Arc<Door>);

async fn serving(door: &Door) -> ServingStatus {
    match ailment(door, false, &[]).await {
        None => ServingStatus::Serving,
        Some(_) => ServingStatus::NotServing,
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        // Only the server as a whole has a health, as in etcd.
        if !request.into_inner().service.is_empty() {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(HealthCheckResponse {
            status: serving(&self.0).await.into(),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let known = request.into_inner().service.is_empty();
        let door = self.0.clone();
        let stop = door.stop.clone();
        let states = stream::unfold((door, None), move |(door, last)| async move {
            loop {
                let state = if known {
                    serving(&door).await
                } else {
                    ServingStatus::ServiceUnknown
                };
                if last != Some(state) {
                    return Some((Ok(HealthCheckResponse { status: state.into() }), (door, Some(state))));
                }
                tokio::time::sleep(limits::HEALTH_INTERVAL).await;
            }
        });
        Ok(Response::new(Box::pin(states.take_until(stop.cancelled_owned()))))
    }
}
