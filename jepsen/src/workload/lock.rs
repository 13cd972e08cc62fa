//! Locks of etcd's lock service, with writes that carry the lock's fencing token.

use std::time::Duration;

use checker::lease;
use checker::lock::{Call, Return, check};
use checker::{History, Verdict};
use proto::etcd::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use proto::etcd::v3lockpb::{LockRequest, UnlockRequest};
use rand::RngExt;

use super::Workload;
use super::lease::renew;
use crate::client::{Client, Failure, kv};
use crate::worker::Worker;

const TTL_S: i64 = 4;
const TTL_NS: u64 = TTL_S as u64 * 1_000_000_000;
/// Workers for each lock.
const CONTENDERS: usize = 4;
/// A waiter gives up after this; longer than a lease lives.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(8);

#[derive(Default)]
pub(crate) struct Lock;

/// What a holder has in its hands.
struct Held {
    lock: u64,
    lease: i64,
    key: String,
    token: i64,
}

impl Workload for Lock {
    type Call = Call;
    type Return = Return;

    async fn work(&self, mut worker: Worker<Call, Return>) {
        while worker.next().await {
            // A few workers for each lock, at different members: neighbours are.
            let lock = (worker.index / CONTENDERS) as u64;
            let Some(held) = acquire(&mut worker, lock).await else {
                continue;
            };
            hold(&mut worker, &held).await;
        }
    }

    async fn finish(&self, _: Worker<Call, Return>) {}

    fn check(&self, history: &History<Call, Return>, _: Option<u64>) -> Result<Vec<Verdict>, checker::Error> {
        Ok(vec![check(&history.operations()?)])
    }
}

async fn acquire(worker: &mut Worker<Call, Return>, lock: u64) -> Option<Held> {
    let lease = worker.random.random_range(1..i64::MAX);
    let (mut client, slot) = (worker.client.clone(), std::sync::Arc::new(std::sync::Mutex::new(None)));
    let found = slot.clone();
    let work = async move {
        let (key, token) = lock_with(&mut client, lock, lease).await?;
        *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(key);
        Ok(Return::Acquired { token })
    };
    let call = Call::Acquire { lock, ttl_ns: TTL_NS };
    let answer = worker.operation(call, false, ACQUIRE_TIMEOUT, work).await;
    let key = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    match (answer, key) {
        (Some(Return::Acquired { token }), Some(key)) => Some(Held {
            lock,
            lease,
            key,
            token,
        }),
        _ => {
            // Whoever gave up must not hold up the others for longer than needed.
            let mut client = worker.client.clone();
            let revoke = client.lease.lease_revoke(LeaseRevokeRequest { id: lease });
            let _ = tokio::time::timeout(Duration::from_secs(1), revoke).await;
            None
        }
    }
}

async fn lock_with(client: &mut Client, lock: u64, lease: i64) -> Result<(String, i64), Failure> {
    client
        .lease
        .lease_grant(LeaseGrantRequest { ttl: TTL_S, id: lease })
        .await?;
    let request = LockRequest {
        name: format!("lock/{lock}").into(),
        lease,
    };
    let key = client
        .lock
        .lock(request)
        .await
        .map_err(|status| Failure::Unknown(status.to_string()))?
        .into_inner()
        .key;
    let key = kv::text(&key);
    let unknown = |status: tonic::Status| Failure::Unknown(status.to_string());
    let found = client.kv.range(kv::get(&key)).await.map_err(unknown)?.into_inner();
    let token = found.kvs.first().map(|found| found.create_revision);
    Ok((
        key,
        token.ok_or_else(|| Failure::Unknown("the lock was lost before it could be used".into()))?,
    ))
}

async fn hold(worker: &mut Worker<Call, Return>, held: &Held) {
    let (lock, token) = (held.lock, held.token);
    for _ in 0..worker.random.random_range(1..5) {
        let (mut client, key) = (worker.client.clone(), held.key.clone());
        let write = async move {
            let guarded = format!("guarded/{lock}");
            let guard = vec![kv::created_at(&key, token)];
            let done = kv::txn(
                &mut client,
                guard,
                vec![kv::put_op(&guarded, &token.to_string())],
                vec![],
            )
            .await?;
            Ok(Return::Written(done.succeeded.then_some(done.revision)))
        };
        worker.write(Call::Write { lock, token }, write).await;
        let (mut client, lease) = (worker.client.clone(), held.lease);
        let renew = async move {
            Ok(Return::Renewed(
                renew(&mut client, lease).await? != lease::Return::Ttl(0),
            ))
        };
        worker
            .write(
                Call::Renew {
                    lock,
                    token,
                    ttl_ns: TTL_NS,
                },
                renew,
            )
            .await;
        if !worker.pause(0..800).await {
            break;
        }
    }
    let (mut client, key) = (worker.client.clone(), held.key.clone());
    let release = async move {
        client.lock.unlock(UnlockRequest { key: key.into() }).await?;
        Ok(Return::Released)
    };
    worker.write(Call::Release { lock, token }, release).await;
}
