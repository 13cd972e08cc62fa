//! Plain clients: one connection, no retries, no caches, no balancing.

mod events;
mod failure;
mod kubernetes;
pub(crate) mod kv;

use std::path::PathBuf;

use anyhow::Context;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

pub(crate) use events::Events;
pub(crate) use failure::Failure;
pub(crate) use kubernetes::Api;

use crate::limits::CONNECT_TIMEOUT;
use crate::services::etcdserverpb::{
    cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use crate::services::{v3electionpb::election_client::ElectionClient, v3lockpb::lock_client::LockClient};

/// Where a member answers, and the client's identity there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Of the etcd door.
    pub(crate) url: String,
    /// `host:port` of the Kubernetes API, if the member has one.
    pub(crate) api: Option<String>,
    /// Read from the member's own state, perhaps stale: a fault of the client, for trying the harness.
    pub(crate) stale_reads: bool,
    /// Directory of `ca.crt`, `client.crt`, `client.key` for the door and `api-*` for the API.
    pub(crate) pki: PathBuf,
}

/// Clients of each etcd service, over one connection.
#[derive(Clone)]
pub(crate) struct Client {
    stale_reads: bool,
    pub(crate) kv: KvClient<Channel>,
    pub(crate) lease: LeaseClient<Channel>,
    pub(crate) watch: WatchClient<Channel>,
    pub(crate) maintenance: MaintenanceClient<Channel>,
    pub(crate) cluster: ClusterClient<Channel>,
    pub(crate) lock: LockClient<Channel>,
    pub(crate) election: ElectionClient<Channel>,
}

impl Target {
    /// A client that connects at its first request.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub(crate) fn connect(&self) -> anyhow::Result<Client> {
        let read = |name: &str| {
            let path = self.pki.join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read("ca.crt")?))
            .identity(Identity::from_pem(read("client.crt")?, read("client.key")?));
        let endpoint = Endpoint::from_shared(self.url.clone())?
            .connect_timeout(CONNECT_TIMEOUT)
            .tls_config(tls)?;
        let channel = endpoint.connect_lazy();
        Ok(Client {
            stale_reads: self.stale_reads,
            kv: KvClient::new(channel.clone()).max_decoding_message_size(64 << 20),
            lease: LeaseClient::new(channel.clone()),
            watch: WatchClient::new(channel.clone()).max_decoding_message_size(64 << 20),
            maintenance: MaintenanceClient::new(channel.clone()),
            cluster: ClusterClient::new(channel.clone()),
            lock: LockClient::new(channel.clone()),
            election: ElectionClient::new(channel),
        })
    }
}
