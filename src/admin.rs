//! Questions `up` asks the API as the cluster's administrator.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

/// How often the cluster is asked whether it is ready.
const POLL: Duration = Duration::from_millis(50);

/// A client for the kubeconfig file.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let config = config.with_context(|| format!("{} is not usable", kubeconfig.display()))?;
    Client::try_from(config).context("cannot build an API client")
}

/// Waits until the API says that it is ready.
pub async fn wait_for_api(client: &Client) {
    loop {
        let request = http::Request::get("/readyz").body(Vec::new());
        if let Ok(request) = request
            && client.request_text(request).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until `count` nodes are Ready and have said so since `since`: what they said in an earlier run does not count.
pub async fn wait_for_nodes(client: &Client, count: usize, since: Timestamp) {
    let nodes: Api<Node> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    loop {
        let all = ListParams::default();
        let (nodes, leases) = tokio::join!(nodes.list(&all), leases.list(&all));
        if let (Ok(nodes), Ok(leases)) = (nodes, leases) {
            let renewed = |lease: &&Lease| {
                lease
                    .spec
                    .as_ref()
                    .and_then(|s| s.renew_time.as_ref())
                    .is_some_and(|t| t.0 >= since)
            };
            let alive: Vec<_> = leases.items.iter().filter(renewed).map(|l| &l.metadata.name).collect();
            let ready = |node: &&Node| is_ready(node) && alive.contains(&&node.metadata.name);
            if nodes.items.iter().filter(ready).count() >= count {
                return;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref())
        .unwrap_or_default();
    conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}
