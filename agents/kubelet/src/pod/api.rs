//! What a pod's worker asks of the API: write a status, and let go of a pod that is gone.

use std::collections::BTreeSet;

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
    /// Writes a status; `before` is the one that was written last.
    async fn write_status(&self, pod: &Pod, before: Option<&PodStatus>, status: &PodStatus) -> Result<(), Error>;
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
    async fn write_status(&self, pod: &Pod, before: Option<&PodStatus>, status: &PodStatus) -> Result<(), Error> {
        let what = format!("write the status of pod {}/{}", spec::namespace(pod), spec::name(pod));
        let body = patch(pod, before, status);
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

/// The patch. The uid makes it fail on a namesake. A strategic merge only ever adds to an object and to a list with a
/// key, so what is no longer true is taken away by name: fields, and old addresses. Both what the API showed last and
/// what was written last may be what is there.
fn patch(pod: &Pod, before: Option<&PodStatus>, status: &PodStatus) -> Value {
    let old: Vec<&PodStatus> = pod.status.iter().chain(before).collect();
    let mut fields = match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    clear(&mut fields, "reason", old.iter().any(|o| o.reason.is_some()));
    clear(&mut fields, "message", old.iter().any(|o| o.message.is_some()));
    clear(&mut fields, "podIP", old.iter().any(|o| o.pod_ip.is_some()));
    if let Some(Value::Array(conditions)) = fields.get_mut("conditions") {
        conditions.iter_mut().for_each(|c| clear_condition(c, &old));
    }
    let current: Vec<&str> = status.pod_ips.iter().flatten().map(|p| p.ip.as_str()).collect();
    let earlier = old
        .iter()
        .flat_map(|o| o.pod_ips.iter().flatten())
        .map(|p| p.ip.as_str());
    let stale: BTreeSet<&str> = earlier.filter(|ip| !current.contains(ip)).collect();
    if !stale.is_empty() {
        let list = fields.entry("podIPs").or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.extend(stale.into_iter().map(|ip| json!({ "$patch": "delete", "ip": ip })));
        }
    }
    json!({ "metadata": { "uid": spec::uid(pod) }, "status": fields })
}

/// Takes a field away that was there and is not any more.
fn clear(fields: &mut Map<String, Value>, name: &str, had: bool) {
    if had && !fields.contains_key(name) {
        fields.insert(name.to_owned(), Value::Null);
    }
}

/// Takes the reason and message of an earlier status away from a condition that has none now.
fn clear_condition(condition: &mut Value, old: &[&PodStatus]) {
    let Value::Object(fields) = condition else { return };
    let kind = fields
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let earlier = || {
        old.iter()
            .flat_map(|o| o.conditions.iter().flatten())
            .filter(|c| c.type_ == kind)
    };
    let (reason, message) = (
        earlier().any(|c| c.reason.is_some()),
        earlier().any(|c| c.message.is_some()),
    );
    clear(fields, "reason", reason);
    clear(fields, "message", message);
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
        let patch = patch(&pod, None, &new);
        assert_eq!(patch["metadata"]["uid"], "u");
        let expected = json!([{ "ip": "10.0.0.2" }, { "$patch": "delete", "ip": "10.0.0.1" }]);
        assert_eq!(patch["status"]["podIPs"], expected);
        assert_eq!(patch["status"]["reason"], Value::Null);
    }

    #[test]
    fn a_condition_that_came_true_loses_its_reason() {
        let status = |json: Value| -> PodStatus { serde_json::from_value(json).unwrap() };
        let not_ready = json!({ "type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "m" });
        let sent = status(json!({ "conditions": [not_ready] }));
        let new = status(json!({ "conditions": [{ "type": "Ready", "status": "True" }] }));
        let patched = patch(&Pod::default(), Some(&sent), &new);
        let expected = json!([{ "type": "Ready", "status": "True", "reason": null, "message": null }]);
        assert_eq!(patched["status"]["conditions"], expected);
        let first = patch(&Pod::default(), None, &new);
        assert_eq!(
            first["status"]["conditions"],
            json!([{ "type": "Ready", "status": "True" }])
        );
    }
}
