//! Leases with one key each: granted, renewed for a while, then revoked or left to expire, and looked at all the time
//! through any member.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use checker::lease::{Call, Overdue, Return, check_asked};
use checker::{History, Verdict};
use proto::etcd::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest};
use rand::RngExt;

use super::Workload;
use crate::client::{Client, Failure, kv};
use crate::worker::Worker;

const TTL_S: i64 = 3;
/// The first lease's id.
const FIRST: i64 = 1_000;
/// How late an expiry may be once nothing is broken: twice what a change of leaders adds, and what a busy machine takes.
const SLACK: Duration = Duration::from_secs(10);
/// Looks at a lease that was gone.
const LOOKS_AFTER: usize = 3;
/// Leases that are looked at in the end, from the newest on.
const LAST_LOOKS: i64 = 500;

pub(crate) struct Lease {
    next: AtomicI64,
}

impl Default for Lease {
    fn default() -> Lease {
        Lease {
            next: AtomicI64::new(FIRST),
        }
    }
}

impl Workload for Lease {
    type Call = Call;
    type Return = Return;

    const READS_STALE: bool = true;

    async fn work(&self, mut worker: Worker<Call, Return>) {
        while worker.next().await {
            let lease = self.next.fetch_add(1, Ordering::Relaxed);
            let mut client = worker.client.clone();
            let granted = worker
                .write(Call::Grant(lease), async move { grant(&mut client, lease).await })
                .await;
            if granted.is_none() {
                continue;
            }
            // Some are renewed, then half of them revoked; the others expire.
            for _ in 0..worker.random.random_range(0..4) {
                if !worker.pause(0..2_500).await {
                    return;
                }
                let mut client = worker.client.clone();
                worker
                    .write(Call::KeepAlive(lease), async move { renew(&mut client, lease).await })
                    .await;
                probe(&mut worker, lease).await;
            }
            if worker.random.random_ratio(1, 3) {
                let mut client = worker.client.clone();
                worker
                    .write(Call::Revoke(lease), async move { revoke(&mut client, lease).await })
                    .await;
            }
            for _ in 0..20 {
                if probe(&mut worker, lease).await == Some(Return::Present(false)) {
                    break;
                }
                if !worker.pause(100..700).await {
                    return;
                }
            }
            // It must stay gone, wherever one looks.
            for _ in 0..LOOKS_AFTER {
                probe(&mut worker, lease).await;
            }
        }
    }

    async fn finish(&self, mut worker: Worker<Call, Return>) {
        let last = self.next.load(Ordering::Relaxed);
        for lease in (last - LAST_LOOKS / 10).max(FIRST)..last {
            probe(&mut worker, lease).await;
        }
        // All members answer by now. What nobody renews any more has its time once more at most.
        tokio::time::sleep(Duration::from_secs(TTL_S.unsigned_abs()) + SLACK + Duration::from_secs(1)).await;
        for lease in (last - LAST_LOOKS).max(FIRST)..last {
            probe(&mut worker, lease).await;
        }
    }

    fn check(
        &self,
        history: &History<Call, Return>,
        calm_from_ns: Option<u64>,
    ) -> Result<Vec<Verdict>, checker::Error> {
        let overdue = calm_from_ns.map(|calm_from_ns| Overdue {
            calm_from_ns,
            slack_ns: SLACK.as_nanos() as u64,
        });
        Ok(vec![check_asked(&history.operations()?, overdue, TTL_S.unsigned_abs())])
    }
}

fn name(lease: i64) -> String {
    format!("lease/{lease}")
}

/// Looks through any member: what one says to have gone must not be there at another.
async fn probe(worker: &mut Worker<Call, Return>, lease: i64) -> Option<Return> {
    let mut client = worker.client_of_any();
    let look = async move {
        let answer = client.range(kv::get(&name(lease))).await?;
        Ok(Return::Present(!answer.kvs.is_empty()))
    };
    worker.read(Call::Probe(lease), look).await
}

async fn grant(client: &mut Client, lease: i64) -> Result<Return, Failure> {
    let answer = client
        .lease
        .lease_grant(LeaseGrantRequest { ttl: TTL_S, id: lease })
        .await?
        .into_inner();
    let mut request = kv::put(&name(lease), "");
    request.lease = lease;
    // The lease is there whatever becomes of its key.
    client
        .kv
        .put(request)
        .await
        .map_err(|status| Failure::Unknown(status.to_string()))?;
    Ok(Return::Ttl(answer.ttl))
}

pub(super) async fn renew(client: &mut Client, lease: i64) -> Result<Return, Failure> {
    let requests = tokio_stream::iter([LeaseKeepAliveRequest { id: lease }]);
    let mut answers = client.lease.lease_keep_alive(requests).await?.into_inner();
    match answers.message().await? {
        Some(answer) => Ok(Return::Ttl(answer.ttl.max(0))),
        None => Err(Failure::Unknown("the stream ended".into())),
    }
}

async fn revoke(client: &mut Client, lease: i64) -> Result<Return, Failure> {
    match client.lease.lease_revoke(LeaseRevokeRequest { id: lease }).await {
        Ok(_) => Ok(Return::Revoked),
        // Judged: it has to be gone then.
        Err(status) if status.code() == tonic::Code::NotFound => Ok(Return::Ttl(0)),
        Err(status) => Err(status.into()),
    }
}
