//! What a master has on its machine: certificates, kubeconfigs, configuration. The same for the first one and for those that
//! join.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use client::Client;
use pki::kubeadm::{self, Authorities, MasterNames, Present};
use raftstore::Owner;

use crate::certs::api_service_names;
use crate::config::{self, API_SERVICE_ADDRESS, Master, ServerConfig};
use crate::host::process::Started;
use crate::host::{self, Host, preflight};
use crate::init::args::MachineFlags;
use crate::kubeconfig::Kubeconfig;
use crate::operate::args::DoorArgs;
use crate::output::say;
use crate::server;

/// The ports of every master of a cluster of several machines.
pub const API_PORT: u16 = 6443;
pub const CLIENT_PORT: u16 = 2379;
pub const PEER_PORT: u16 = 2380;
/// How long the API may take to answer on a machine that was just started.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// The operator's certificate for the etcd door, under kubeadm's name.
pub const DOOR_CLIENT: &str = "etcd/healthcheck-client";

/// A kubeconfig that a master has for people: (file, user, organization).
const KUBECONFIGS: [(&str, &str, &str); 2] = [
    ("admin.conf", "kubernetes-admin", "kubeadm:cluster-admins"),
    ("super-admin.conf", "kubernetes-super-admin", "system:masters"),
];

/// A master as it is to be set up.
pub struct Plan {
    pub host: Host,
    pub name: String,
    pub address: IpAddr,
    /// `host:port` that leads to all masters, if there is one.
    pub endpoint: Option<String>,
    /// Further names that the API's certificate is good for.
    pub extra_names: Vec<String>,
    /// Further addresses.
    pub extra_addresses: Vec<IpAddr>,
}

impl Plan {
    /// From the flags, from what the machine was set up as before, and from what it is by itself, in this order.
    pub fn new(
        machine: &MachineFlags,
        address: Option<IpAddr>,
        endpoint: Option<&str>,
        extra: &[String],
    ) -> anyhow::Result<Plan> {
        let host = Host::at(&machine.root.rootfs)?;
        let before = host.server_config()?;
        let me = before.as_ref().map(ServerConfig::me).transpose()?;
        let name = match (&machine.node_name, me) {
            (Some(name), _) => name.clone(),
            (None, Some(me)) => me.name.clone(),
            (None, None) => host::host_name()?,
        };
        let address = match (address, me) {
            (Some(address), _) => address,
            (None, Some(me)) => me.address,
            (None, None) => host::own_address().context("--apiserver-advertise-address: give one")?,
        };
        let endpoint = endpoint.map(with_port).transpose()?;
        let mut plan = Plan {
            host,
            name,
            address,
            endpoint: endpoint.clone(),
            extra_names: Vec::new(),
            extra_addresses: Vec::new(),
        };
        let of_endpoint = endpoint.as_deref().and_then(|endpoint| endpoint.rsplit_once(':'));
        let of_endpoint = of_endpoint.map(|(host, _)| host.trim_matches(['[', ']']).to_owned());
        for name in extra.iter().cloned().chain(of_endpoint) {
            match name.parse() {
                Ok(address) => plan.extra_addresses.push(address),
                Err(_) => plan.extra_names.push(name),
            }
        }
        Ok(plan)
    }

    /// This master with this id.
    pub fn master(&self, id: u64) -> Master {
        Master {
            id,
            name: self.name.clone(),
            address: self.address,
            api_port: API_PORT,
            client_port: CLIENT_PORT,
            peer_port: PEER_PORT,
        }
    }

    /// The URL that clients are given.
    pub fn server_url(&self) -> String {
        let own = || self.master(0).api().to_string();
        format!("https://{}", self.endpoint.clone().unwrap_or_else(own))
    }

    /// Refuses a machine that cannot be a master.
    pub fn preflight(&self, ignored: &[String]) -> anyhow::Result<()> {
        let mut checks = preflight::machine(&self.name, self.address);
        checks.extend(preflight::master(
            &self.host,
            self.address,
            [API_PORT, CLIENT_PORT, PEER_PORT],
        ));
        preflight::judge(checks, ignored)
    }

    /// Makes the authorities that are missing and issues this master's certificates. What is there stays.
    pub fn write_certificates(&self) -> anyhow::Result<()> {
        let pki = self.host.pki();
        let authorities = Authorities::ensure(&pki)?;
        let mut service_names = api_service_names().to_vec();
        service_names.extend(self.extra_names.iter().cloned());
        let names = MasterNames {
            name: &self.name,
            address: self.address,
            service_names: &service_names,
            service_address: API_SERVICE_ADDRESS.into(),
        };
        authorities.issue_master(&pki, &names, &self.extra_addresses, Present::Stays)?;
        let door = kubeadm::client("kube-etcd-healthcheck-client", "");
        kubeadm::issue(&authorities.etcd, &door, &pki, DOOR_CLIENT, Present::Stays)?;
        say!("[certs] in {}", pki.display());
        Ok(())
    }

    /// Writes the kubeconfigs of administrators. Those that are there stay.
    pub fn write_kubeconfigs(&self) -> anyhow::Result<()> {
        let authorities = Authorities::ensure(&self.host.pki())?;
        for (file, user, organization) in KUBECONFIGS {
            let path = self.host.kubeconfig(file);
            if path.exists() {
                continue;
            }
            let identity = authorities.cluster.issue(&kubeadm::client(user, organization))?;
            Kubeconfig::write_texts(
                &path,
                &self.server_url(),
                user,
                authorities.cluster.cert_pem(),
                &identity.cert_pem,
                &identity.key_pem,
            )?;
            say!("[kubeconfig] {}", path.display());
        }
        Ok(())
    }

    /// Writes what `proreus server` reads.
    pub fn write_config(
        &self,
        masters: Vec<Master>,
        cluster_token: &str,
        cluster_id: Option<u64>,
    ) -> anyhow::Result<()> {
        let part = self.host.server();
        let config = ServerConfig {
            access: apiserver::access::Options::default(),
            name: self.name.clone(),
            root: self.host.root().to_path_buf(),
            masters,
            cluster_token: cluster_token.into(),
            cluster_id: cluster_id.map(|id| format!("{id:x}")),
            pid_file: Some(part.pid.clone()),
            cluster_signing_duration_seconds: config::default_signing_duration(),
            log: config::default_log(),
        };
        config::write(&part.config, &config)?;
        say!("[control-plane] {}", part.config.display());
        Ok(())
    }

    /// A client of this master's API alone, as its administrator.
    pub fn own_client(&self) -> anyhow::Result<Client> {
        let mut options = client::RemoteOptions::from_kubeconfig(self.host.kubeconfig("admin.conf"))?;
        options.servers = vec![format!("https://{}", self.master(0).api())];
        options.discover = false;
        Ok(Client::remote(options)?)
    }

    /// Waits until this master's API serves, and serves what administrators need.
    pub async fn wait(&self, started: &mut Started) -> anyhow::Result<()> {
        let client = self.own_client()?;
        let answers = async || {
            // The namespace is among the last things that a cluster starts with.
            let path = "/api/v1/namespaces/kube-public";
            let found = client.json::<serde_json::Value>(http::Method::GET, path, None::<&()>);
            found.await.ok()
        };
        started.until("the API answers", READY_TIMEOUT, answers).await?;
        say!("[wait-control-plane] the API answers on {}", self.master(0).api());
        Ok(())
    }

    /// Has the configuration say that the cluster is there: a member that lost its data must not found another one.
    pub fn remember_cluster(&self) -> anyhow::Result<()> {
        let Some(mut config) = self.host.server_config()? else {
            return Ok(());
        };
        let data = server::data(self.host.root());
        let Some(owner) = Owner::read(&data)? else {
            return Ok(());
        };
        if config.cluster_id.is_some() {
            return Ok(());
        }
        config.cluster_id = Some(format!("{:x}", owner.cluster));
        config::write(&self.host.server().config, &config)
    }
}

/// How a master of this machine reaches the etcd doors at these addresses.
pub fn door(host: &Host, endpoints: Vec<String>) -> DoorArgs {
    let pki = host.pki();
    DoorArgs {
        endpoints,
        cacert: Some(pki.join("etcd/ca.crt")),
        cert: Some(pki.join(format!("{DOOR_CLIENT}.crt"))),
        key: Some(pki.join(format!("{DOOR_CLIENT}.key"))),
        user: None,
        password: None,
        data_dir: None,
        timeout: 30,
        output: crate::commands::Output::Table,
    }
}

/// `host:port` of what may lack the port.
fn with_port(endpoint: &str) -> anyhow::Result<String> {
    let wrong = || format!("--control-plane-endpoint: {endpoint:?} is not of the form HOST or HOST:PORT");
    ensure!(!endpoint.is_empty() && !endpoint.contains('/'), wrong());
    if let Ok(address) = endpoint.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(std::net::SocketAddr::new(address, API_PORT).to_string());
    }
    match endpoint.rsplit_once(':') {
        None => Ok(format!("{endpoint}:{API_PORT}")),
        Some((host, port)) => {
            ensure!(
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0),
                wrong()
            );
            Ok(endpoint.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_port_gets_that_of_the_api() {
        for (given, whole) in [
            ("lb", "lb:6443"),
            ("lb.example:443", "lb.example:443"),
            ("10.0.0.9", "10.0.0.9:6443"),
            ("fd00::1", "[fd00::1]:6443"),
            ("[fd00::1]:7", "[fd00::1]:7"),
        ] {
            assert_eq!(with_port(given).unwrap(), whole);
        }
        for wrong in ["", ":1", "a:0", "a:x", "https://a"] {
            assert!(with_port(wrong).is_err(), "{wrong}");
        }
    }
}
