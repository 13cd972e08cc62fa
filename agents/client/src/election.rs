//! The Lease object of a leader-elected component.
//!
//! Leadership itself follows the store's member and its fence, decided by the caller: whoever calls [`hold`] leads. The
//! Lease object only shows it, where tools look for it (`kube-system/kube-scheduler` and the like).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{Client, Error, Key, Meta, Patch, Projection, Resource, limits};

/// The Lease resource.
pub const LEASES: Resource = Resource::namespaced("coordination.k8s.io", "v1", "Lease", "leases");

/// What is read of a Lease object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// Metadata.
    pub metadata: Meta,
    /// Holder and times.
    pub spec: LeaseSpec,
}

impl Projection for Lease {
    const RESOURCE: Resource = LEASES;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// The spec of a Lease object.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    /// Who holds it.
    pub holder_identity: Option<String>,
    /// How long after a renewal it holds.
    pub lease_duration_seconds: Option<i32>,
    /// When the holder got it.
    pub acquire_time: Option<Timestamp>,
    /// When it was last renewed.
    pub renew_time: Option<Timestamp>,
    /// How often the holder changed.
    pub lease_transitions: Option<i32>,
}

/// Shows `identity` as the holder of `kube-system/name` and renews it until `stop`. Returns early only because the
/// fence is lost; everything else is tried again.
pub async fn hold(client: &Client, name: &str, identity: &str, stop: &CancellationToken) -> Result<(), Error> {
    let key = Key::new("kube-system", name);
    let mut acquired = false;
    loop {
        let step = async {
            match acquired {
                true => renew(client, &key).await,
                false => acquire(client, &key, identity).await,
            }
        };
        let result = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            result = step => result,
        };
        match result {
            Ok(()) => acquired = true,
            Err(error) if error.is_fence_lost() => return Err(error),
            // Deleted by somebody: it is taken anew in the next round.
            Err(error) if error.is_not_found() => acquired = false,
            Err(error) => tracing::debug!(lease = %key, %error, "lease object not written"),
        }
        let pause = if acquired {
            limits::LEASE_RENEW_INTERVAL
        } else {
            limits::RELIST_BACKOFF_MAX / 5
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn acquire(client: &Client, key: &Key, identity: &str) -> Result<(), Error> {
    let now = micro(Timestamp::now());
    let Some(current) = client.find::<Lease>(&LEASES, key).await? else {
        let lease = json!({
            "metadata": { "name": key.name, "namespace": key.namespace },
            "spec": spec(identity, &now, 0),
        });
        return client
            .create::<serde_json::Value>(&LEASES, Some(&key.namespace), &lease)
            .await
            .map(|_| ());
    };
    let same = current.spec.holder_identity.as_deref() == Some(identity);
    let transitions = current.spec.lease_transitions.unwrap_or(0) + i32::from(!same);
    let body = json!({ "spec": spec(identity, &now, transitions) });
    client
        .patch::<serde_json::Value>(&LEASES, key, None, Patch::Merge, &body)
        .await
        .map(|_| ())
}

async fn renew(client: &Client, key: &Key) -> Result<(), Error> {
    let body = json!({ "spec": { "renewTime": micro(Timestamp::now()) } });
    client
        .patch::<serde_json::Value>(&LEASES, key, None, Patch::Merge, &body)
        .await
        .map(|_| ())
}

fn spec(identity: &str, now: &str, transitions: i32) -> serde_json::Value {
    json!({
        "holderIdentity": identity,
        "leaseDurationSeconds": limits::LEASE_DURATION_SECONDS,
        "acquireTime": now,
        "renewTime": now,
        "leaseTransitions": transitions,
    })
}

/// A MicroTime as the API writes it.
pub fn micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_times_have_six_digits() {
        assert_eq!(
            micro("2026-01-02T03:04:05.6Z".parse().unwrap()),
            "2026-01-02T03:04:05.600000Z"
        );
    }
}
