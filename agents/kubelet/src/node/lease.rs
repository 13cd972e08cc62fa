//! The node's Lease object: the sign of life that the node-lifecycle controller watches.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{Error, limits};

const NAMESPACE: &str = "kube-node-lease";

/// Renews the Lease object of the node until `stop`.
pub async fn renew(client: kube::Client, node_name: String, stop: CancellationToken) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let nodes: Api<Node> = Api::all(client);
    let mut ticks = interval(limits::LEASE_RENEW_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        match timeout(limits::API_CALL_TIMEOUT, renew_once(&leases, &nodes, &node_name)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, "cannot renew the node's lease");
                ticks.reset_after(std::time::Duration::from_secs(1));
            }
            Err(_) => warn!("cannot renew the node's lease: no answer in time"),
        }
    }
}

async fn renew_once(leases: &Api<Lease>, nodes: &Api<Node>, name: &str) -> Result<(), Error> {
    let now = MicroTime(micros(Timestamp::now()));
    let patch = json!({ "spec": {
        "holderIdentity": name,
        "leaseDurationSeconds": limits::LEASE_DURATION_SECONDS,
        "renewTime": now,
    } });
    let renewed = leases.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    match renewed.map(|_| ()).map_err(Error::api("renew the lease")) {
        Err(error) if error.is_not_found() => {}
        other => return other,
    }
    // The lease goes with its node.
    let node = nodes.get_opt(name).await.map_err(Error::api("read the node"))?;
    let owner = node.and_then(|n| n.metadata.uid).map(|uid| OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.to_owned(),
        uid,
        ..Default::default()
    });
    let mut lease = Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(limits::LEASE_DURATION_SECONDS),
            renew_time: Some(now),
            ..Default::default()
        }),
        ..Default::default()
    };
    lease.metadata.name = Some(name.to_owned());
    lease.metadata.owner_references = owner.map(|o| vec![o]);
    leases
        .create(&PostParams::default(), &lease)
        .await
        .map_err(Error::api("create the lease"))?;
    Ok(())
}

/// The API's MicroTime has six digits.
fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
