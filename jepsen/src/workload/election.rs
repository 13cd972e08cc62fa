//! Elections of etcd's election service.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use checker::election::{Call, Return, check};
use checker::lease;
use checker::{History, Verdict};
use proto::etcd::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use proto::etcd::v3electionpb::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest};
use rand::RngExt;
use tonic::Code;

use super::Workload;
use super::lease::renew;
use crate::client::{Client, Failure, kv};
use crate::worker::Worker;

const NAME: &str = "election";
/// Longer than a campaign usually waits: nobody renews while it waits.
const TTL_S: i64 = 7;
const TTL_NS: u64 = TTL_S as u64 * 1_000_000_000;
const CAMPAIGN_TIMEOUT: Duration = Duration::from_secs(8);

#[derive(Default)]
pub(crate) struct Election {
    value: AtomicU64,
}

impl Workload for Election {
    type Call = Call;
    type Return = Return;

    async fn work(&self, mut worker: Worker<Call, Return>) {
        while worker.next().await {
            if worker.looks_on() {
                observe(&mut worker).await;
            } else if let Some((leader, lease)) = self.campaign(&mut worker).await {
                self.lead(&mut worker, &leader, lease).await;
            }
        }
    }

    async fn finish(&self, mut worker: Worker<Call, Return>) {
        observe(&mut worker).await;
    }

    fn check(&self, history: &History<Call, Return>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        Ok(vec![check(&history.operations()?, TTL_NS)])
    }
}

impl Election {
    fn value(&self) -> String {
        format!("v{}", self.value.fetch_add(1, Ordering::Relaxed))
    }

    async fn campaign(&self, worker: &mut Worker<Call, Return>) -> Option<(LeaderKey, i64)> {
        let (lease, value) = (worker.random.random_range(1..i64::MAX), self.value());
        let (mut client, call) = (worker.client.clone(), Call::Campaign(value.clone()));
        let slot = std::sync::Arc::new(std::sync::Mutex::new(None));
        let found = slot.clone();
        let work = async move {
            let leader = campaign_with(&mut client, lease, value).await?;
            let token = leader.rev;
            *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(leader);
            Ok(Return::Elected { token })
        };
        let won = worker.operation(call, false, CAMPAIGN_TIMEOUT, work).await;
        let leader = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let (Some(_), Some(leader)) = (won, leader) {
            return Some((leader, lease));
        }
        let mut client = worker.client.clone();
        let revoke = client.lease.lease_revoke(LeaseRevokeRequest { id: lease });
        let _ = tokio::time::timeout(Duration::from_secs(1), revoke).await;
        None
    }

    async fn lead(&self, worker: &mut Worker<Call, Return>, leader: &LeaderKey, lease: i64) {
        let token = leader.rev;
        for _ in 0..worker.random.random_range(1..4) {
            let (mut client, value) = (worker.client.clone(), self.value());
            let request = ProclaimRequest {
                leader: Some(leader.clone()),
                value: value.clone().into(),
            };
            let proclaim = async move {
                client.election.proclaim(request).await?;
                Ok(Return::Proclaimed)
            };
            worker.write(Call::Proclaim { token, value }, proclaim).await;
            let mut client = worker.client.clone();
            let renew = async move {
                Ok(Return::Renewed(
                    renew(&mut client, lease).await? != lease::Return::Ttl(0),
                ))
            };
            worker.write(Call::Renew { token }, renew).await;
            if !worker.pause(0..400).await {
                break;
            }
        }
        let (mut client, request) = (
            worker.client.clone(),
            ResignRequest {
                leader: Some(leader.clone()),
            },
        );
        let resign = async move {
            client.election.resign(request).await?;
            Ok(Return::Resigned)
        };
        worker.write(Call::Resign { token }, resign).await;
    }
}

async fn campaign_with(client: &mut Client, lease: i64, value: String) -> Result<LeaderKey, Failure> {
    client
        .lease
        .lease_grant(LeaseGrantRequest { ttl: TTL_S, id: lease })
        .await?;
    let request = CampaignRequest {
        name: NAME.into(),
        lease,
        value: value.into(),
    };
    let unknown = |status: tonic::Status| Failure::Unknown(status.to_string());
    let answer = client.election.campaign(request).await.map_err(unknown)?.into_inner();
    answer
        .leader
        .ok_or_else(|| Failure::Unknown("the answer names no leader".into()))
}

async fn observe(worker: &mut Worker<Call, Return>) {
    let mut client = worker.client.clone();
    let ask = async move {
        match client.election.leader(LeaderRequest { name: NAME.into() }).await {
            Ok(answer) => {
                let leader = answer
                    .into_inner()
                    .kv
                    .map(|leader| (leader.create_revision, kv::text(&leader.value)));
                Ok(Return::Leader(leader))
            }
            Err(status) if status.code() == Code::Unknown && status.message().contains("no leader") => {
                Ok(Return::Leader(None))
            }
            Err(status) => Err(status.into()),
        }
    };
    worker.read(Call::Leader, ask).await;
}
