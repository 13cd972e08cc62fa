//! `proreus agent`: one node. Kubelet, service proxy and DNS, each over the same client, which balances over the live
//! masters. The node goes on while masters are away; the agent ends when one of its parts fails.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use client::certificate::{self, Files, Wanted};
use client::{Client, Credential, Informers, Pem, RemoteOptions};
use nix::sys::signal::SigSet;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{
    AgentConfig, CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS, MASTER_LABEL, MASTER_TAINT_EFFECT, POD_CIDR, SERVICE_CIDR,
};
use crate::{shutdown, telemetry};

pub fn run(path: &Path) -> anyhow::Result<()> {
    // A child inherits the signals that its starter blocks to wait for them.
    SigSet::all().thread_unblock().context("cannot unblock signals")?;
    let config = AgentConfig::load(path)?;
    telemetry::init(&config.log)?;
    // A parent outside of the pid namespace has the id 0 here. It has written the id that counts outside.
    if let Some(file) = config
        .pid_file
        .as_ref()
        .filter(|_| std::os::unix::process::parent_id() != 0)
    {
        pki::write_public(file, &std::process::id().to_string())?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.context("cannot start tokio")?.block_on(serve(config))
}

async fn serve(config: AgentConfig) -> anyhow::Result<()> {
    let stop = shutdown::token()?;
    let client = connect(&config)?;
    // What several parts follow is watched once.
    let informers = Informers::new(client.clone(), stop.clone());
    if config.request_serving_certificate {
        tokio::spawn(keep_serving_certificate(client.clone(), config.clone(), stop.clone()));
    }
    let mut parts = JoinSet::new();
    start(
        &mut parts,
        "service proxy",
        &stop,
        proxy::run(proxy_config(&config)?, informers.clone(), stop.clone()),
    );
    start(
        &mut parts,
        "dns",
        &stop,
        dns::run(dns_config()?, informers.clone(), stop.clone()),
    );
    start(
        &mut parts,
        "kubelet",
        &stop,
        kubelet::run_with(kubelet_config(&config), client, informers, stop.clone()),
    );
    let mut outcome = Ok(());
    while let Some(part) = parts.join_next().await {
        let result = part.context("a part of the agent panicked").flatten();
        if result.is_err() && outcome.is_ok() {
            outcome = result;
        }
        // One part missing is not a node: the rest stops too.
        stop.cancel();
    }
    if config.teardown {
        proxy::cleanup(&proxy_config(&config)?)
            .await
            .context("cannot remove the proxy's table")?;
    }
    outcome
}

/// Runs one part; its error names it.
fn start<E: Into<anyhow::Error>>(
    parts: &mut JoinSet<anyhow::Result<()>>,
    name: &'static str,
    stop: &CancellationToken,
    part: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    let stop = stop.clone();
    parts.spawn(async move {
        let result = part.await.map_err(|e| e.into().context(name));
        match (&result, stop.is_cancelled()) {
            (Err(error), _) => tracing::error!("{error:#}"),
            (Ok(()), false) => anyhow::bail!("{name} ended by itself"),
            (Ok(()), true) => {}
        }
        result
    });
}

/// The node's certificate as a client, which the kubelet renews.
fn client_certificate(config: &AgentConfig) -> Files {
    Files::new(
        config.pki.join("kubelet-client.crt"),
        config.pki.join("kubelet-client.key"),
    )
}

/// Has the certificate of the node's API signed and renewed. Whoever approves it may take their time; pods do not need it.
async fn keep_serving_certificate(client: Client, config: AgentConfig, stop: CancellationToken) {
    let files = Files::new(config.pki.join("kubelet.crt"), config.pki.join("kubelet.key"));
    let wanted = Wanted::kubelet_serving(&config.name, config.address);
    certificate::keep_signed(client, wanted, files, &config.pki.join("ca.crt"), stop).await;
}

fn connect(config: &AgentConfig) -> anyhow::Result<Client> {
    client_certificate(config).settle()?;
    let options = RemoteOptions {
        servers: config.servers.iter().map(|s| format!("https://{s}")).collect(),
        ca: Pem::Path(config.pki.join("ca.crt")),
        credential: Credential::Certificate {
            cert: Pem::Path(config.pki.join("kubelet-client.crt")),
            key: Pem::Path(config.pki.join("kubelet-client.key")),
        },
        discover: true,
    };
    Client::remote(options).context("cannot build the client of the API")
}

pub fn kubelet_config(config: &AgentConfig) -> kubelet::Config {
    kubelet::Config {
        cri_endpoint: config
            .cri_endpoint
            .as_ref()
            .map(|e| e.trim_start_matches("unix://").into()),
        images_dir: config.images.clone(),
        serving_cert: config.pki.join("kubelet.crt"),
        serving_key: config.pki.join("kubelet.key"),
        client_certificate: Some(client_certificate(config)),
        client_ca: config.pki.join("ca.crt"),
        server_address: config.address,
        cluster_dns: vec![DNS_SERVICE_ADDRESS.into()],
        cluster_domain: CLUSTER_DOMAIN.into(),
        cgroup_parent: config.cgroup_parent.clone(),
        taints: config.control_plane.then(master_taint).into_iter().collect(),
        teardown_on_stop: config.teardown,
        ..kubelet::Config::new(&config.name, config.address)
    }
}

fn master_taint() -> kubelet::config::Taint {
    kubelet::config::Taint {
        key: MASTER_LABEL.into(),
        value: String::new(),
        effect: MASTER_TAINT_EFFECT.into(),
    }
}

pub fn proxy_config(config: &AgentConfig) -> anyhow::Result<proxy::Config> {
    Ok(proxy::Config {
        cluster_cidr: Some(POD_CIDR.parse().context("the pod network")?),
        masquerade_egress: true,
        local_addresses: BTreeSet::from([DNS_SERVICE_ADDRESS]),
        ..proxy::Config::new(&config.name)
    })
}

fn dns_config() -> anyhow::Result<dns::Config> {
    Ok(dns::Config {
        domain: CLUSTER_DOMAIN.into(),
        networks: vec![
            POD_CIDR.parse().context("the pod network")?,
            SERVICE_CIDR.parse().context("the service network")?,
        ],
        ..dns::Config::new((DNS_SERVICE_ADDRESS, 53).into())
    })
}
