//! What a pod's worker asks of the API: write a status, and let go of a pod that is gone.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::spec;
use crate::{Error, limits};

/// The pods of the API, for their node.
#[async_trait]
pub trait PodApi: Send + Sync {
    /// Writes a status.
    async fn write_status(&self, pod: &Pod, status: &PodStatus) -> Result<(), Error>;
    /// Removes the object: everything of the pod is gone from the node.
    async fn remove(&self, pod: &Pod) -> Result<(), Error>;
}

/// The API itself.
pub struct KubePods {
    client: kube::Client,
}

impl KubePods {
    /// The API behind this client.
    pub fn new(client: kube::Client) -> Self {
        KubePods { client }
    }

    fn api(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), spec::namespace(pod))
    }
}

#[async_trait]
impl PodApi for KubePods {
    async fn write_status(&self, pod: &Pod, status: &PodStatus) -> Result<(), Error> {
        let what = format!("write the status of pod {}/{}", spec::namespace(pod), spec::name(pod));
        let body = patch(pod, status);
        let api = self.api(pod);
        let params = PatchParams::default();
        let patch = Patch::Strategic(&body);
        match timeout(
            limits::API_CALL_TIMEOUT,
            api.patch_status(spec::name(pod), &params, &patch),
        )
        .await
        {
            Ok(result) => result.map(|_| ()).map_err(Error::api(what)),
            Err(_) => Err(Error::Pod(format!("{what}: no answer in time"))),
        }
    }

    async fn remove(&self, pod: &Pod) -> Result<(), Error> {
        let what = format!("delete pod {}/{}", spec::namespace(pod), spec::name(pod));
        let preconditions = Preconditions {
            uid: Some(spec::uid(pod).to_owned()),
            resource_version: None,
        };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..Default::default()
        };
        let api = self.api(pod);
        match timeout(limits::API_CALL_TIMEOUT, api.delete(spec::name(pod), &params)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let error = Error::api(what)(error);
                // Gone, or a namesake now: either way this pod's object is no more.
                if error.is_not_found() || error.is_conflict() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            Err(_) => Err(Error::Pod(format!("{what}: no answer in time"))),
        }
    }
}

/// The patch. The uid makes it fail on a namesake. Fields that are no longer set are taken away by name, and so are
/// old addresses, because a strategic merge only ever adds to a list with a key.
fn patch(pod: &Pod, status: &PodStatus) -> Value {
    let mut fields = match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let old = pod.status.as_ref();
    for (name, had) in [
        ("reason", old.is_some_and(|o| o.reason.is_some())),
        ("message", old.is_some_and(|o| o.message.is_some())),
        ("podIP", old.is_some_and(|o| o.pod_ip.is_some())),
    ] {
        if had && !fields.contains_key(name) {
            fields.insert(name.to_owned(), Value::Null);
        }
    }
    let current: Vec<&str> = status.pod_ips.iter().flatten().map(|p| p.ip.as_str()).collect();
    let stale = old
        .into_iter()
        .flat_map(|o| o.pod_ips.iter().flatten())
        .filter(|p| !current.contains(&p.ip.as_str()));
    let stale: Vec<Value> = stale.map(|p| json!({ "$patch": "delete", "ip": p.ip })).collect();
    if !stale.is_empty() {
        let list = fields.entry("podIPs").or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.extend(stale);
        }
    }
    json!({ "metadata": { "uid": spec::uid(pod) }, "status": fields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodIP;

    #[test]
    fn a_new_address_replaces_the_old_one() {
        let ips = |ip: &str| Some(vec![PodIP { ip: ip.into() }]);
        let old = PodStatus {
            pod_ips: ips("10.0.0.1"),
            reason: Some("X".into()),
            ..Default::default()
        };
        let mut pod = Pod {
            status: Some(old),
            ..Default::default()
        };
        pod.metadata.uid = Some("u".into());
        let new = PodStatus {
            pod_ips: ips("10.0.0.2"),
            ..Default::default()
        };
        let patch = patch(&pod, &new);
        assert_eq!(patch["metadata"]["uid"], "u");
        let expected = json!([{ "ip": "10.0.0.2" }, { "$patch": "delete", "ip": "10.0.0.1" }]);
        assert_eq!(patch["status"]["podIPs"], expected);
        assert_eq!(patch["status"]["reason"], Value::Null);
    }
}
