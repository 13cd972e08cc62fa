//! `proreus server`: one master. It opens the store, the etcd door and the API over it, and runs what only a leader
//! runs while its member leads. Order of stopping: what writes first, then what is written to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use apiserver::Server;
use etcd::EtcdConfig;
use pki::tls::{self, ClientAuth};
use raftstore::{Listen, Member, Options, Owner, Setup, Store, Tls};
use storage::Storage;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS, Master, POD_CIDR, SERVICE_CIDR, ServerConfig};
use crate::leader::Leader;
use crate::lock::lock;
use crate::status::{self, Report};
use crate::{shutdown, telemetry};

/// Where the member's data lies below the root.
const DATA_DIRECTORY: &str = "/var/lib/proreus";
/// The pause between two tries to create what a cluster starts with; it fails while there is no leader.
const BOOTSTRAP_RETRY: Duration = Duration::from_millis(100);

pub fn run(path: &Path) -> anyhow::Result<()> {
    // The store holds every secret: what this process writes is its user's alone.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let config = ServerConfig::load(path)?;
    telemetry::init(&config.log)?;
    let data = data(&config.root);
    std::fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
    let _lock = lock(&data)?.with_context(|| format!("another `proreus server` is running on {}", data.display()))?;
    // Only now: whoever looks for this master's process has to find the one that runs.
    if let Some(file) = &config.pid_file {
        pki::write_public(file, &std::process::id().to_string())?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    runtime.block_on(serve(config))
}

async fn serve(config: ServerConfig) -> anyhow::Result<()> {
    let stop = shutdown::token()?;
    // First, so that a member whose configuration is wrong does not begin to take part.
    let api = api_config(&config)?;
    let store = open_store(&config).await?;
    let server = Server::new(Storage::new(store.clone()), api);
    let mut parts = JoinSet::new();
    start_doors(&mut parts, &config, &store, &server, &stop).await?;
    let leader = Leader {
        server: server.clone(),
        store: store.clone(),
        name: config.name.clone(),
        settings: controllers_config(&config)?,
    };
    parts.spawn(leader.run(stop.clone()));
    parts.spawn(keep(server.clone(), stop.clone()));
    let reporting = store.clone();
    tokio::select! {
        result = status::serve(config.status_directory(), move || report(&reporting)) => result?,
        () = stop.cancelled() => {}
        failed = first_failure(&mut parts) => {
            stop.cancel();
            drain(&mut parts).await;
            store.shutdown().await;
            return Err(failed);
        }
    }
    tracing::info!("stopping");
    drain(&mut parts).await;
    store.shutdown().await;
    Ok(())
}

/// Ends with the first part that fails; parts that end well are waited for.
async fn first_failure(parts: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Error {
    while let Some(part) = parts.join_next().await {
        if let Err(error) = part.context("a part of the master panicked").flatten() {
            return error;
        }
    }
    std::future::pending().await
}

async fn drain(parts: &mut JoinSet<anyhow::Result<()>>) {
    while let Some(part) = parts.join_next().await {
        if let Err(error) = part.context("a part of the master panicked").flatten() {
            tracing::warn!("{error:#}");
        }
    }
}

async fn open_store(config: &ServerConfig) -> anyhow::Result<Store> {
    let me = config.me()?;
    let data = data(&config.root);
    let (cert, key, ca) = (
        config.pki("etcd/peer.crt"),
        config.pki("etcd/peer.key"),
        config.pki("etcd/ca.crt"),
    );
    let mut options = options(me, &config.masters, &config.cluster_token);
    if let Some(cluster) = config.existing_cluster()? {
        check_not_lost(config, &data)?;
        (options.cluster, options.founds) = (Some(cluster), false);
    } else if let Some(owner) = Owner::read(&data)? {
        options.resume(&owner);
    }
    let setup = Setup {
        options,
        data_directory: data,
        listen: Listen::Address(me.peer()),
        tls: Some(Tls {
            server: tls::server_config(&cert, &key, Some(&ca), ClientAuth::Required)?,
            client: tls::client_config(&ca, Some((&cert, &key)))?,
        }),
    };
    Ok(durable::open(setup).await?)
}

/// Whoever founded a cluster has nobody in its list who could tell it that it lost what it promised: it must not come back
/// without its data. A member that joined has others, who refuse it.
fn check_not_lost(config: &ServerConfig, data: &Path) -> anyhow::Result<()> {
    let kept = Owner::read(data)?.is_some() && data.join("log").is_dir();
    anyhow::ensure!(
        kept || config.masters.len() > 1,
        "the data of this master is gone from {}: if there are other masters, run `proreus member remove {}` on one of them, then \
         `proreus reset` here, and join again; if there are none, restore a backup",
        data.display(),
        config.name
    );
    Ok(())
}

/// Where a master with this root keeps its data.
pub fn data(root: &Path) -> PathBuf {
    root.join(DATA_DIRECTORY.trim_start_matches('/'))
}

/// A master as a member of the store.
pub fn options(master: &Master, masters: &[Master], cluster_token: &str) -> Options {
    Options::new(master.id, cluster_token, masters.iter().map(member).collect())
}

fn member(master: &Master) -> Member {
    Member {
        id: master.id,
        name: master.name.clone(),
        peer_urls: vec![format!("https://{}", master.peer())],
        client_urls: vec![format!("https://{}", master.client())],
        learner: false,
    }
}

/// The two doors that clients come through: etcd's and the API.
async fn start_doors(
    parts: &mut JoinSet<anyhow::Result<()>>,
    config: &ServerConfig,
    store: &Store,
    server: &Arc<Server>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let me = config.me()?;
    let (cert, key, ca) = (
        config.pki("etcd/server.crt"),
        config.pki("etcd/server.key"),
        config.pki("etcd/ca.crt"),
    );
    let door_tls = tls::server_config(&cert, &key, Some(&ca), ClientAuth::Required)?;
    let mut door = EtcdConfig::new(&config.name, vec![format!("https://{}", me.client())]);
    door.spool_directory = data(&config.root);
    let listener = listen(me.client(), "clientPort").await?;
    let (etcd_store, etcd_stop) = (store.clone(), stop.clone());
    parts.spawn(async move {
        etcd::serve(listener, Some(door_tls), etcd_store, door, etcd_stop)
            .await
            .context("the etcd door failed")
    });
    let (cert, key, ca) = (
        config.pki("apiserver.crt"),
        config.pki("apiserver.key"),
        config.pki("ca.crt"),
    );
    let mut client_cas = vec![ca.as_path()];
    client_cas.extend(config.access.requestheader_client_ca_file.as_deref());
    let api_tls = tls::server_config_trusting(&cert, &key, &client_cas, ClientAuth::Optional)?;
    let api_tls = tls::with_alpn(api_tls, &["h2", "http/1.1"]);
    let listener = listen(me.api(), "apiPort").await?;
    let (api, api_stop) = (server.clone(), stop.clone());
    parts.spawn(async move {
        api.serve(listener, api_tls, api_stop)
            .await
            .context("the API server failed")
    });
    Ok(())
}

async fn listen(address: std::net::SocketAddr, field: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("masters.{field}: cannot listen on {address}"))
}

/// Creates what a cluster starts with, then keeps up what the API server itself keeps.
async fn keep(server: Arc<Server>, stop: CancellationToken) -> anyhow::Result<()> {
    while let Err(error) = server.bootstrap().await {
        tracing::debug!(%error, "cannot create the initial objects yet");
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(BOOTSTRAP_RETRY) => {}
        }
    }
    server.maintain(stop).await;
    Ok(())
}

fn api_config(config: &ServerConfig) -> anyhow::Result<apiserver::Config> {
    let me = config.me()?;
    let issuer = format!("https://kubernetes.default.svc.{CLUSTER_DOMAIN}");
    let access = config.access.load(&config.pki("ca.crt"), &issuer).context("access")?;
    Ok(apiserver::Config {
        secure_port: me.api_port,
        service_cidr: SERVICE_CIDR.parse().context("the service network")?,
        cluster_dns: Some(DNS_SERVICE_ADDRESS.into()),
        cluster_domain: CLUSTER_DOMAIN.into(),
        service_account_issuer: issuer,
        service_account_signing_key: Some(config.pki("sa.key")),
        service_account_keys: vec![config.pki("sa.pub")],
        kubelet_client_certificate: Some(config.pki("apiserver-kubelet-client.crt")),
        kubelet_client_key: Some(config.pki("apiserver-kubelet-client.key")),
        kubelet_ca: Some(config.pki("ca.crt")),
        client_ca: Some(config.pki("ca.crt")),
        access,
        root_ca: Some(config.pki("ca.crt")),
        ..apiserver::Config::new(&config.name, me.address)
    })
}

fn controllers_config(config: &ServerConfig) -> anyhow::Result<controllers::ControllersConfig> {
    let ca = config.pki("ca.crt");
    let root_ca = std::fs::read_to_string(&ca).with_context(|| format!("cannot read {}", ca.display()))?;
    Ok(controllers::ControllersConfig {
        pod_network: POD_CIDR.parse().context("the pod network")?,
        signing: signing(config)?.map(Arc::new),
        ..controllers::ControllersConfig::new(&config.name, root_ca)
    })
}

/// What requests for certificates are signed with. Where the authority's key is kept elsewhere, so are its signatures made.
fn signing(config: &ServerConfig) -> anyhow::Result<Option<controllers::Signing>> {
    let (cert, key) = (config.pki("ca.crt"), config.pki("ca.key"));
    if !key.exists() {
        tracing::warn!(key = %key.display(), "the authority's key is not here: requests for certificates are not signed");
        return Ok(None);
    }
    Ok(Some(controllers::Signing {
        duration: Duration::from_secs(config.cluster_signing_duration_seconds),
        ..controllers::Signing::new(pki::Ca::load(&cert, &key)?)
    }))
}

fn report(store: &Store) -> Report {
    let (status, leadership) = (store.status(), *store.leadership().borrow());
    Report {
        id: status.member_id,
        leader: leadership.leading,
        leader_id: status.leader,
        term: status.term,
        revision: status.revision,
        applied_index: status.applied_index,
    }
}
