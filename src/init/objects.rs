//! What `init` puts into the cluster for machines that join: kubeadm's ConfigMaps, Roles and Secrets, under its names.

use std::time::Duration;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use client::{Client, Error, Key, Patch, Resource};
use pki::kubeadm::SHARED;
use pki::seal::SealKey;
use serde_json::{Map, Value, json};

use super::master::Plan;
use crate::config::{CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS, POD_CIDR, SERVICE_CIDR};
use crate::token::{NODES_GROUP, NewToken, SECRETS, Token};

pub const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "ConfigMap", "configmaps");
const ROLES: Resource = Resource::namespaced("rbac.authorization.k8s.io", "v1", "Role", "roles");
const ROLE_BINDINGS: Resource = Resource::namespaced("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings");
const SYSTEM: &str = "kube-system";
/// The Secret with the sealed certificates.
pub const CERTIFICATES: &str = "kubeadm-certs";
/// The ConfigMap with the cluster's configuration.
pub const CONFIGURATION: &str = "kubeadm-config";
const KUBELET_CONFIGURATION: &str = "kubelet-config";
/// How long uploaded certificates stay.
pub const CERTIFICATES_TTL: Duration = Duration::from_secs(2 * 3600);
/// How often, and with which pause, what may come to be is tried again: the API has just begun to serve.
const TRIES: usize = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Creates an object, or merges it into the one that is there.
pub async fn put(client: &Client, resource: &Resource, object: &Value) -> anyhow::Result<()> {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let key = Key::new(text("namespace"), text("name"));
    let what = || format!("cannot write {} {}/{}", resource.kind, key.namespace, key.name);
    for _ in 1..TRIES {
        match put_once(client, resource, &key, object).await {
            Err(error) if error.is_retryable() => tokio::time::sleep(PAUSE).await,
            put => return put.with_context(what),
        }
    }
    put_once(client, resource, &key, object).await.with_context(what)
}

async fn put_once(client: &Client, resource: &Resource, key: &Key, object: &Value) -> Result<(), Error> {
    let namespace = Some(key.namespace.as_str());
    match client.create::<Value>(resource, namespace, object).await {
        Err(error) if error.is_already_exists() => {}
        created => return created.map(drop),
    }
    client
        .patch::<Value>(resource, key, None, Patch::Merge, object)
        .await
        .map(drop)
}

fn metadata(namespace: &str, name: &str) -> Value {
    json!({ "namespace": namespace, "name": name })
}

/// ConfigMap `kubeadm-config` and `kubelet-config`, and who may read them.
pub async fn upload_configuration(client: &Client, plan: &Plan) -> anyhow::Result<()> {
    let mut cluster = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "kubernetesVersion": kubelet::VERSION,
        "clusterName": "kubernetes",
        "certificatesDir": "/etc/kubernetes/pki",
        "networking": { "dnsDomain": CLUSTER_DOMAIN, "podSubnet": POD_CIDR, "serviceSubnet": SERVICE_CIDR },
    });
    if let Some(endpoint) = &plan.endpoint {
        cluster["controlPlaneEndpoint"] = json!(endpoint);
    }
    let node = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [DNS_SERVICE_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "rotateCertificates": true,
        "serverTLSBootstrap": true,
    });
    for (name, entry, content) in [
        (CONFIGURATION, "ClusterConfiguration", cluster),
        (KUBELET_CONFIGURATION, "kubelet", node),
    ] {
        let text = serde_saphyr::to_string(&content).context("cannot encode the configuration")?;
        let map = json!({ "metadata": metadata(SYSTEM, name), "data": { entry: text } });
        put(client, &CONFIG_MAPS, &map).await?;
    }
    let groups = [NODES_GROUP, "system:nodes"];
    let role = "kubeadm:nodes-kubeadm-config";
    open_to(client, role, "configmaps", CONFIGURATION, &groups).await?;
    open_to(
        client,
        "kubeadm:kubelet-config",
        "configmaps",
        KUBELET_CONFIGURATION,
        &groups,
    )
    .await
}

/// Lets groups read one object.
async fn open_to(client: &Client, role: &str, resource: &str, name: &str, groups: &[&str]) -> anyhow::Result<()> {
    let group = "rbac.authorization.k8s.io";
    let rule = json!({ "apiGroups": [""], "resources": [resource], "resourceNames": [name], "verbs": ["get"] });
    let subjects = groups
        .iter()
        .map(|name| json!({ "apiGroup": group, "kind": "Group", "name": name }));
    let binding = json!({
        "metadata": metadata(SYSTEM, role),
        "roleRef": { "apiGroup": group, "kind": "Role", "name": role },
        "subjects": subjects.collect::<Vec<_>>(),
    });
    put(
        client,
        &ROLES,
        &json!({ "metadata": metadata(SYSTEM, role), "rules": [rule] }),
    )
    .await?;
    put(client, &ROLE_BINDINGS, &binding).await
}

/// The kubeconfig that tells a machine where the cluster is and by which authority to know it. It says nothing of users.
pub fn cluster_info(server: &str, ca_pem: &str) -> anyhow::Result<String> {
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "", "cluster": {
            "certificate-authority-data": STANDARD.encode(ca_pem), "server": server } }],
        "contexts": null,
        "current-context": "",
        "preferences": {},
        "users": null,
    });
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&document, options).context("cannot encode cluster-info")
}

/// ConfigMap `cluster-info`, which the cluster signs with its tokens and anybody may read.
pub async fn publish_cluster_info(client: &Client, plan: &Plan) -> anyhow::Result<()> {
    let path = plan.host.pki().join("ca.crt");
    let ca = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = cluster_info(&plan.server_url(), &ca)?;
    let map = json!({ "metadata": metadata("kube-public", "cluster-info"), "data": { "kubeconfig": text } });
    put(client, &CONFIG_MAPS, &map).await
}

/// The entry of a file in the Secret: a slash cannot be in it.
pub fn entry(file: &str) -> String {
    file.replace('/', "-")
}

/// Uploads what all masters share, sealed. The Secret goes when a token that is good for nothing else expires.
pub async fn upload_certificates(client: &Client, plan: &Plan, key: &SealKey) -> anyhow::Result<()> {
    let mut data = Map::new();
    for file in SHARED {
        let path = plan.host.pki().join(file);
        let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let sealed = key.seal(&content);
        let sealed = sealed.map_err(|reason| anyhow::anyhow!("cannot seal {}: {reason}", path.display()))?;
        data.insert(entry(file), json!(STANDARD.encode(sealed)));
    }
    let mut holder = NewToken::joining(
        Token::generate(),
        CERTIFICATES_TTL,
        "Ends the time of the Secret kubeadm-certs",
    );
    (holder.usages, holder.groups) = (Vec::new(), Vec::new());
    let uid = holder.create(client).await?;
    let mut metadata = metadata(SYSTEM, CERTIFICATES);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "Secret", "name": holder.token.secret_name(), "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    }]);
    put(client, &SECRETS, &json!({ "metadata": metadata, "data": data })).await?;
    open_to(client, "kubeadm:kubeadm-certs", "secrets", CERTIFICATES, &[NODES_GROUP]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_info_is_a_kubeconfig_without_users() {
        let text = cluster_info("https://10.0.0.1:6443", "PEM").unwrap();
        let read = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        let cluster = read.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://10.0.0.1:6443"));
        assert_eq!(
            cluster.certificate_authority_data.as_deref(),
            Some(STANDARD.encode("PEM").as_str())
        );
        assert!(read.auth_infos.is_empty());
    }
}
