//! A machine becomes a node.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use client::certificate::{self, Files, Wanted};
use client::objects::NODES;
use client::{Client, Credential, Key, Pem};
use pki::kubeadm;

use super::args::JoinArgs;
use super::discovery::{Cluster, discover};
use super::{answer, masters};
use crate::config::{self, AgentConfig};
use crate::host::{self, Host, preflight, process};
use crate::init;
use crate::output::{say, word};

/// How long the cluster may take to approve and sign the node's first certificate.
const CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the agent may take to register the node.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(120);

pub async fn join(args: &JoinArgs) -> anyhow::Result<()> {
    let host = Host::at(&args.machine.root.rootfs)?;
    let name = match &args.machine.node_name {
        Some(name) => name.clone(),
        None => host::host_name()?,
    };
    let address = match args.node_ip {
        Some(address) => address,
        None => host::own_address().context("--node-ip: give one")?,
    };
    let mut checks = preflight::machine(&name, address);
    checks.extend(preflight::node(&host, args.cri_socket.as_deref()));
    preflight::judge(checks, &args.machine.ignore_preflight_errors)?;

    let cluster = discover(args).await?;
    let bootstrap = cluster.client(Credential::Token(args.token.reveal()))?;
    check_name_is_free(&bootstrap, args, &name).await?;
    write_certificates(&host, &cluster, &bootstrap, &name, address).await?;
    let node = cluster.client(identity(&host))?;
    let servers = servers(args, &node).await?;
    let master = host.server().is_set_up();
    write_config(args, &host, &name, address, servers)?;
    if args.no_start {
        let part = host.agent();
        say!(
            "\nNothing was started. To go on: proreus {} --config {}",
            part.command,
            word(&part.config)
        );
        return Ok(());
    }
    let mut started = process::start(&host, &host.agent())?;
    let key = Key::new("", &name);
    let registered = async || node.find::<client::objects::Node>(&NODES, &key).await.ok().flatten();
    let what = "the node is registered";
    started.until(what, REGISTRATION_TIMEOUT, registered).await?;
    if master {
        // The label is not the node's own to take.
        init::mark(&Client::from_kubeconfig(host.kubeconfig("admin.conf"))?, &name).await?;
    }
    say!("\nThis machine is the node {name}. On a master, `kubectl get nodes` shows it.");
    say!(
        "Its logs and shells can be reached once somebody has approved the certificate of its own API: `kubectl get csr`, \
         then `kubectl certificate approve NAME`."
    );
    Ok(())
}

/// Two machines under one name would take turns in being the node.
async fn check_name_is_free(client: &Client, args: &JoinArgs, name: &str) -> anyhow::Result<()> {
    let found = client.find::<client::objects::Node>(&NODES, &Key::new("", name)).await;
    let Some(node) = answer(found, &args.token, "cannot see whether the name is free")? else {
        return Ok(());
    };
    if node
        .condition("Ready")
        .is_some_and(|condition| condition.status == "True")
    {
        bail!("--node-name: there is a node {name} already, and it is ready: delete it first, or give another name");
    }
    Ok(())
}

fn files(host: &Host) -> Files {
    let pki = host.node_pki();
    Files::new(pki.join("kubelet-client.crt"), pki.join("kubelet-client.key"))
}

fn identity(host: &Host) -> Credential {
    let file = |name: &str| Pem::Path(host.node_pki().join(name));
    Credential::Certificate {
        cert: file("kubelet-client.crt"),
        key: file("kubelet-client.key"),
    }
}

/// The node's identity, by request with the token, and a certificate to serve with until the cluster has signed one.
async fn write_certificates(
    host: &Host,
    cluster: &Cluster,
    bootstrap: &Client,
    name: &str,
    address: std::net::IpAddr,
) -> anyhow::Result<()> {
    let pki = host.node_pki();
    pki::write_public(&pki.join("ca.crt"), &cluster.ca_pem)?;
    pki::write_public(&host.pki().join("ca.crt"), &cluster.ca_pem)?;
    let wanted = Wanted::kubelet_client(name);
    let files = files(host);
    let obtained = certificate::obtain(bootstrap, &wanted, &files);
    let obtained = tokio::time::timeout(CERTIFICATE_TIMEOUT, obtained).await;
    let late = || {
        format!(
            "the cluster has not signed the node's certificate within {} s; see `kubectl get csr`",
            CERTIFICATE_TIMEOUT.as_secs()
        )
    };
    obtained
        .with_context(late)?
        .context("cannot get the node's certificate")?;
    say!("[tls-bootstrap] the cluster has signed the certificate of system:node:{name}");
    Ok(kubeadm::write_provisional_serving(&pki, name, address)?)
}

/// Every master that there is, so that the node comes up again whichever of them is away; the one that was named at least.
async fn servers(args: &JoinArgs, node: &Client) -> anyhow::Result<Vec<SocketAddr>> {
    let address = args.address.trim_start_matches("https://").trim_end_matches('/');
    let resolved = address.to_socket_addrs();
    let mut servers: Vec<SocketAddr> = resolved
        .with_context(|| format!("cannot find the address of {address}"))?
        .collect();
    match masters(node).await {
        Ok(found) => servers.extend(found),
        Err(error) => say!("[join] knowing one master only: {error:#}"),
    }
    let mut seen = std::collections::BTreeSet::new();
    servers.retain(|server| seen.insert(*server));
    ensure!(!servers.is_empty(), "{address} leads nowhere");
    Ok(servers)
}

fn write_config(
    args: &JoinArgs,
    host: &Host,
    name: &str,
    address: std::net::IpAddr,
    servers: Vec<SocketAddr>,
) -> anyhow::Result<()> {
    let part = host.agent();
    for bind in host.binds() {
        std::fs::create_dir_all(&bind.from).with_context(|| format!("cannot create {}", bind.from.display()))?;
    }
    let images = match &args.images {
        Some(images) => images
            .canonicalize()
            .with_context(|| format!("--images: {}", images.display()))?,
        None => host.path("/var/lib/proreus/images"),
    };
    let config = AgentConfig {
        name: name.into(),
        address,
        servers,
        pki: host.node_pki(),
        images,
        cri_endpoint: args.cri_socket.clone(),
        request_serving_certificate: true,
        control_plane: host.server().is_set_up(),
        cgroup_parent: cgroup(host, name),
        // A simulated machine goes with its agent; a real one keeps its pods until it is reset.
        teardown: !host.is_real(),
        binds: host.binds(),
        pid_file: Some(part.pid.clone()),
        log: config::default_log(),
    };
    config::write(&part.config, &config)?;
    say!("[kubelet-start] {}", part.config.display());
    Ok(())
}

/// Simulated machines share the real one's cgroups.
fn cgroup(host: &Host, name: &str) -> String {
    match host.is_real() {
        true => "/kubepods".into(),
        false => format!("/proreus-{}/{name}", host_mark(host.root())),
    }
}

/// A short name of a root that no other root has.
fn host_mark(root: &Path) -> String {
    let text = root.to_string_lossy();
    format!("{:08x}", raftstore::member_id("rootfs", &text) & 0xffff_ffff)
}
