//! Questions `up` asks the API as the cluster's administrator.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
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

/// Waits until `count` nodes are Ready.
pub async fn wait_for_nodes(client: &Client, count: usize) {
    let nodes: Api<Node> = Api::all(client.clone());
    loop {
        if let Ok(list) = nodes.list(&ListParams::default()).await
            && list.items.iter().filter(|n| is_ready(n)).count() >= count
        {
            return;
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
