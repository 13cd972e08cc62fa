//! Learning the masters' addresses from the `kubernetes` Endpoints object.

use std::sync::Arc;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::balance::Servers;
use crate::{Client, Key, Resource, limits};

const ENDPOINTS: Resource = Resource::namespaced("", "v1", "Endpoints", "endpoints");

#[derive(Deserialize, Default)]
#[serde(default)]
struct Endpoints {
    subsets: Vec<Subset>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Subset {
    addresses: Vec<Address>,
    ports: Vec<Port>,
}

#[derive(Deserialize)]
struct Address {
    ip: String,
}

#[derive(Deserialize)]
struct Port {
    #[serde(default)]
    name: String,
    port: u16,
}

/// Keeps `servers` current until `stop`.
pub(super) async fn run(client: Client, servers: Arc<Servers>, stop: CancellationToken) {
    let key = Key::new("default", "kubernetes");
    loop {
        match client.get::<Endpoints>(&ENDPOINTS, &key).await {
            Ok(endpoints) => {
                let found = addresses(&endpoints);
                if !found.is_empty() {
                    servers.replace(found);
                }
            }
            Err(error) => tracing::debug!(%error, "cannot read the list of masters"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(limits::SERVERS_REFRESH_INTERVAL) => {}
        }
    }
}

fn addresses(endpoints: &Endpoints) -> Vec<String> {
    let mut found = Vec::new();
    for subset in &endpoints.subsets {
        for port in subset
            .ports
            .iter()
            .filter(|p| p.name == "https" || subset.ports.len() == 1)
        {
            for address in &subset.addresses {
                let host = if address.ip.contains(':') {
                    format!("[{}]", address.ip)
                } else {
                    address.ip.clone()
                };
                found.push(format!("https://{host}:{}", port.port));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_every_subset() {
        let endpoints: Endpoints = serde_json::from_str(
            r#"{"subsets":[{"addresses":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}],"ports":[{"name":"https","port":6443}]},
                {"addresses":[{"ip":"127.0.0.1"}],"ports":[{"name":"https","port":6444},{"name":"x","port":1}]}]}"#,
        )
        .unwrap();
        assert_eq!(
            addresses(&endpoints),
            [
                "https://10.0.0.1:6443",
                "https://[fd00::1]:6443",
                "https://127.0.0.1:6444"
            ]
        );
    }
}
