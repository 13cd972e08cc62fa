//! Every pod runs as a service account and finds that account's token, the cluster's CA and its namespace in a directory
//! that clients know.

use super::{Admission, AdmissionRequest, Operation};
use crate::ApiError;
use crate::registry::Reader;
use crate::registry::fields::{at, list, text};
use rand::RngExt;
use serde_json::{Value, json};
use std::time::Duration;

/// See the module.
pub(super) struct ServiceAccount {
    pub reader: Reader,
}

const DEFAULT_ACCOUNT: &str = "default";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// A little over an hour, so that a token asked for with an hour in mind is told apart from this one.
const TOKEN_SECONDS: i64 = 3607;
/// The root CA bundle, which a controller puts into every namespace.
const CA_CONFIG_MAP: &str = "kube-root-ca.crt";
/// The account `default` appears shortly after its namespace; a pod created in between waits for it.
const DEFAULT_ATTEMPTS: usize = 20;
const DEFAULT_INTERVAL: Duration = Duration::from_millis(50);

#[async_trait::async_trait]
impl Admission for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn mutate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        if !creates_pod(request) || is_mirror(request.object) {
            return Ok(());
        }
        let name = account_name(request.object);
        let account = self.find(request, &name).await?;
        let spec = &mut request.object["spec"];
        spec["serviceAccountName"] = json!(name);
        spec["serviceAccount"] = json!(name);
        add_pull_secrets(spec, &account);
        if wants_token(spec, &account) {
            mount_token(spec);
        }
        Ok(())
    }

    async fn validate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        if !creates_pod(request) || !is_mirror(request.object) {
            return Ok(());
        }
        let refuse = |why: &str| Err(ApiError::forbidden("pods", request.name, why));
        if !text(request.object, "spec.serviceAccountName").is_empty() {
            return refuse("a mirror pod may not reference service accounts");
        }
        // A node may read what its pods refer to: a pod it makes itself must refer to nothing.
        match request.object.get("spec").and_then(reference) {
            Some(field) => refuse(&format!("a mirror pod may not refer to other objects, as {field} does")),
            None => Ok(()),
        }
    }
}

/// The first field of a pod's spec that names another object of the namespace.
fn reference(value: &Value) -> Option<&str> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, inner)| {
            let refers = REFERENCES.contains(&name.as_str()) && (inner.is_object() || inner.is_array());
            if refers { Some(name.as_str()) } else { reference(inner) }
        }),
        Value::Array(items) => items.iter().find_map(reference),
        _ => None,
    }
}

/// Fields by which a pod refers to secrets, config maps and claims of either kind.
const REFERENCES: &[&str] = &[
    "configMap",
    "configMapKeyRef",
    "configMapRef",
    "imagePullSecrets",
    "persistentVolumeClaim",
    "projected",
    "resourceClaims",
    "secret",
    "secretKeyRef",
    "secretRef",
];

fn creates_pod(request: &AdmissionRequest<'_>) -> bool {
    request.operation == Operation::Create && (request.group, request.resource, request.subresource) == ("", "pods", "")
}

/// A pod that only shows what a kubelet runs from a file.
fn is_mirror(pod: &Value) -> bool {
    at(pod, "metadata.annotations").is_some_and(|annotations| annotations.get(MIRROR_ANNOTATION).is_some())
}

fn account_name(pod: &Value) -> String {
    let given = [
        text(pod, "spec.serviceAccountName"),
        text(pod, "spec.serviceAccount"),
        DEFAULT_ACCOUNT,
    ];
    given
        .iter()
        .find(|name| !name.is_empty())
        .copied()
        .unwrap_or(DEFAULT_ACCOUNT)
        .to_owned()
}

impl ServiceAccount {
    async fn find(&self, request: &AdmissionRequest<'_>, name: &str) -> Result<Value, ApiError> {
        let attempts = if name == DEFAULT_ACCOUNT { DEFAULT_ATTEMPTS } else { 1 };
        for attempt in 1..=attempts {
            if let Some(found) = self.reader.local("serviceaccounts", request.namespace, name).await? {
                return Ok(found);
            }
            match self.reader.get("serviceaccounts", request.namespace, name).await {
                Err(error) if error.is_not_found() && attempt < attempts => tokio::time::sleep(DEFAULT_INTERVAL).await,
                Err(error) if error.is_not_found() => break,
                other => return other,
            }
        }
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount {name:?} not found",
            request.namespace
        );
        Err(ApiError::forbidden("pods", request.name, &why))
    }
}

fn add_pull_secrets(spec: &mut Value, account: &Value) {
    let secrets = list(account, "imagePullSecrets");
    if list(spec, "imagePullSecrets").is_empty() && !secrets.is_empty() {
        spec["imagePullSecrets"] = json!(secrets);
    }
}

fn wants_token(spec: &Value, account: &Value) -> bool {
    let says = |object: &Value| at(object, "automountServiceAccountToken").and_then(Value::as_bool);
    says(spec).or_else(|| says(account)).unwrap_or(true)
}

/// Adds the volume, and a mount of it to every container that mounts nothing there itself.
fn mount_token(spec: &mut Value) {
    let present = list(spec, "volumes")
        .iter()
        .find(|v| text(v, "name").starts_with(VOLUME_PREFIX));
    let volume = present.map_or_else(
        || format!("{VOLUME_PREFIX}{}", suffix()),
        |v| text(v, "name").to_owned(),
    );
    let mut mounted = false;
    for key in ["containers", "initContainers"] {
        for container in spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            mounted |= mount(container, &volume);
        }
    }
    let absent = !list(spec, "volumes").iter().any(|v| text(v, "name") == volume);
    if mounted && absent {
        push(spec, "volumes", token_volume(&volume));
    }
}

fn mount(container: &mut Value, volume: &str) -> bool {
    if list(container, "volumeMounts")
        .iter()
        .any(|m| text(m, "mountPath") == MOUNT_PATH)
    {
        return false;
    }
    push(
        container,
        "volumeMounts",
        json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}),
    );
    true
}

fn push(parent: &mut Value, key: &str, item: Value) {
    if !parent.get(key).is_some_and(Value::is_array) {
        parent[key] = json!([]);
    }
    parent[key].as_array_mut().expect("made a list above").push(item);
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": CA_CONFIG_MAP, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

/// Five characters that neither spell words nor look alike.
fn suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    (0..5)
        .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_gets_the_token_once() {
        let mut spec = json!({"containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}],
            "initContainers": [{"name": "i"}]});
        mount_token(&mut spec);
        let name = spec["volumes"][0]["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with(VOLUME_PREFIX) && name.len() == VOLUME_PREFIX.len() + 5);
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], name.as_str());
        assert_eq!(spec["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
        assert_eq!(spec["initContainers"][0]["volumeMounts"][0]["mountPath"], MOUNT_PATH);
        let before = spec.clone();
        mount_token(&mut spec);
        assert_eq!(spec, before);
    }

    #[test]
    fn the_pod_outranks_the_account_on_mounting() {
        let (yes, no) = (
            json!({"automountServiceAccountToken": true}),
            json!({"automountServiceAccountToken": false}),
        );
        assert!(wants_token(&json!({}), &json!({})) && wants_token(&yes, &no));
        assert!(!wants_token(&no, &yes) && !wants_token(&json!({}), &no));
    }
}
