//! Puts the parts together and runs them until the agent is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::objects::{Node as NodeObject, Service};
use client::{Cache, Change, Client, Informers, Recorder, Scope, Typed, certificate};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::config::Network;
use crate::containerd::{Containerd, import_images};
use crate::cri::{Grpc, Runtime};
use crate::events::Events;
use crate::network::{self, Routes};
use crate::node::{self, Machine, Registration};
use crate::objects::ApiSource;
use crate::pod::api::KubePods;
use crate::pod::env::ServiceAddress;
use crate::pod::node::Node;
use crate::pod::pods::Pods;
use crate::relist::Relist;
use crate::server::Server;
use crate::{Config, Error, limits, log, teardown};

/// Runs the agent until `stop`. Pods go on afterwards, unless the configuration says otherwise.
pub async fn run(config: Config, client: Client, stop: CancellationToken) -> Result<(), Error> {
    let informers = Informers::new(client.clone(), stop.clone());
    run_with(config, client, informers, stop).await
}

/// Like [`run`], with the caches of a process that has them already.
pub async fn run_with(
    config: Config,
    client: Client,
    informers: Informers,
    stop: CancellationToken,
) -> Result<(), Error> {
    config.validate()?;
    prepare_directories(&config)?;
    let server = Server::bind(&config).await?;
    let (containerd, runtime) = start_runtime(&config).await?;
    let result = agent(&config, &client, informers, server, runtime.clone(), stop).await;
    if config.teardown_on_stop {
        teardown::pods(&config, &*runtime).await;
    }
    if let Some(containerd) = containerd {
        containerd.stop().await;
    }
    result
}

/// Takes every pod off a node whose agent does not run, with what was made for them on the machine: for a node that leaves for
/// good. Images and logs stay.
pub async fn remove_pods(config: &Config) -> Result<(), Error> {
    let (containerd, runtime) = match &config.cri_endpoint {
        Some(_) => start_runtime(config).await?,
        None => {
            let containerd = Containerd::start(config).await?;
            let runtime = containerd.runtime();
            (Some(containerd), runtime)
        }
    };
    teardown::pods(config, &*runtime).await;
    if let Some(containerd) = containerd {
        containerd.stop().await;
    }
    Ok(())
}

fn prepare_directories(config: &Config) -> Result<(), Error> {
    for dir in [&config.root_dir, &config.pod_logs_dir] {
        std::fs::create_dir_all(dir).map_err(Error::file("create directory", dir))?;
    }
    Ok(())
}

async fn start_runtime(config: &Config) -> Result<(Option<Containerd>, Arc<dyn Runtime>), Error> {
    if let Some(endpoint) = &config.cri_endpoint {
        let runtime: Arc<dyn Runtime> = Arc::new(Grpc::connect(endpoint));
        return Ok((None, runtime));
    }
    let containerd = Containerd::start(config).await?;
    let runtime = containerd.runtime();
    match import_images(config, &*runtime).await {
        Ok(imported) => info!(files = imported.len(), "images imported"),
        Err(error) => {
            containerd.stop().await;
            return Err(error);
        }
    }
    Ok((Some(containerd), runtime))
}

async fn agent(
    config: &Config,
    client: &Client,
    informers: Informers,
    server: Server,
    runtime: Arc<dyn Runtime>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let machine = Machine::detect(&config.root_dir);
    let events: Arc<dyn Events> = Arc::new(Recorder::new(client.clone(), "kubelet", &config.node_name));
    let services = informers.watch::<Service>();
    let known_services = services.clone();
    let node = Arc::new(Node {
        config: config.clone(),
        runtime: runtime.clone(),
        runtime_name: runtime.version().await?.runtime_name,
        relist: Arc::new(Relist::new(runtime.clone())),
        source: Arc::new(ApiSource::new(client.kube.clone())),
        services: Box::new(move || services.list().iter().map(|s| service_address(s)).collect()),
        api: Arc::new(KubePods::new(client.kube.clone())),
        events: events.clone(),
        starts: Node::starts(),
        cpu_milli: machine.cpu_milli,
        memory_bytes: machine.memory_bytes,
    });
    // What runs is known before the first pod is decided on: it may be running already.
    node.relist.refresh_all().await?;
    let pods = Pods::new(node.clone());
    let tasks = TaskTracker::new();
    let changed = Arc::new(Notify::new());
    let network_ready = Arc::new(AtomicBool::new(config.network == Network::External));

    let registration = Registration {
        config: config.clone(),
        machine,
        runtime: runtime.clone(),
        port: server.port(),
        problems: problems(node.clone(), network_ready.clone()),
        changed: changed.clone(),
    };
    tasks.spawn(node::run(client.kube.clone(), registration, stop.clone()));
    tasks.spawn(node::renew(client.kube.clone(), config.node_name.clone(), stop.clone()));
    if let Some(files) = config.client_certificate.clone() {
        let wanted = certificate::Wanted::kubelet_client(&config.node_name);
        tasks.spawn(certificate::keep(client.clone(), wanted, files, stop.clone()));
    }
    tasks.spawn(server.serve(node.clone(), pods.clone(), stop.clone()));
    tasks.spawn(log::rotate::run(runtime, node.relist.clone(), stop.clone()));
    if config.network == Network::HostGateway {
        let nodes = informers.watch::<NodeObject>();
        tasks.spawn(keep_network(
            config.clone(),
            nodes,
            network_ready,
            changed,
            stop.clone(),
        ));
    }
    events.node(&config.node_name, "Starting", "Starting kubelet.".into());

    // Containers are told of services when they start and never again, so services must be known by then.
    tokio::select! {
        () = known_services.synced() => {}
        () = stop.cancelled() => {}
    }
    let scope = Scope::fields(format!("spec.nodeName={}", config.node_name));
    let cache = informers.watch_scope::<Typed<Pod>>(scope);
    let subscription = {
        let pods = pods.clone();
        // Workers are spawned from the informer's task, which need not be inside this runtime's context.
        let handle = tokio::runtime::Handle::current();
        cache.subscribe(move |change| {
            let _entered = handle.enter();
            match change {
                Change::Deleted { .. } => pods.delete(Arc::new(change.object().object.clone())),
                _ => pods.apply(Arc::new(change.object().object.clone())),
            }
        })
    };
    {
        let (pods, cache, stop) = (pods.clone(), cache.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = cache.synced() => pods.remove_stale_directories(),
                () = stop.cancelled() => {}
            }
        });
    }
    pods.follow_runtime(|| cache.is_synced(), stop).await;
    drop(subscription);
    tasks.close();
    if timeout(limits::API_CALL_TIMEOUT, tasks.wait()).await.is_err() {
        error!("a part of the agent does not stop");
    }
    pods.abandon().await;
    Ok(())
}

fn service_address(service: &Service) -> ServiceAddress {
    let port = |p: &client::objects::ServicePort| {
        let protocol = if p.protocol.is_empty() {
            "TCP".into()
        } else {
            p.protocol.clone()
        };
        (p.name.clone(), protocol, p.port)
    };
    ServiceAddress {
        namespace: service.metadata.namespace.clone(),
        name: service.metadata.name.clone(),
        // A headless service has the word `None` here.
        ip: service.spec.cluster_ip.parse().ok(),
        ports: service.spec.ports.iter().map(port).collect(),
    }
}

/// What keeps the node from being ready, besides what the runtime says of itself.
fn problems(node: Arc<Node>, network_ready: Arc<AtomicBool>) -> Box<dyn Fn() -> Vec<String> + Send + Sync> {
    Box::new(move || {
        let mut problems = Vec::new();
        if !node.relist.is_current() {
            problems.push("the runtime's containers could not be listed lately".into());
        }
        if !network_ready.load(Ordering::SeqCst) {
            problems.push("network not ready: the node has no podCIDR yet or its network could not be set up".into());
        }
        problems
    })
}

/// Writes the network's configuration once the node has its podCIDR and keeps the routes, until `stop`.
async fn keep_network(
    config: Config,
    nodes: Cache<NodeObject>,
    ready: Arc<AtomicBool>,
    changed: Arc<Notify>,
    stop: CancellationToken,
) {
    if let Err(error) = network::prepare_kernel() {
        warn!(%error, "cannot prepare the kernel for the pod network");
    }
    let wake = Arc::new(Notify::new());
    let _subscription = {
        let wake = wake.clone();
        nodes.subscribe(move |_| wake.notify_one())
    };
    let mut made = Routes::default();
    loop {
        let list = nodes.list();
        let own = list.iter().find(|n| n.metadata.name == config.node_name);
        let cidr = own.map(|n| n.spec.pod_cidr.clone()).filter(|c| !c.is_empty());
        if let Some(cidr) = cidr {
            match network::write_config(&config, &cidr) {
                Ok(()) if !ready.swap(true, Ordering::SeqCst) => {
                    info!(cidr, "the pod network is configured");
                    changed.notify_one();
                }
                Ok(()) => {}
                Err(error) => warn!(%error, "cannot write the network's configuration"),
            }
        }
        let wanted = network::routes(&config.node_name, list.iter().map(|n| &**n));
        made.apply(&wanted).await;
        let retry = if made.has(&wanted) {
            limits::NODE_STATUS_REPORT_INTERVAL
        } else {
            limits::POD_RETRY_INTERVAL
        };
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(retry) => {}
            () = stop.cancelled() => return,
        }
    }
}
