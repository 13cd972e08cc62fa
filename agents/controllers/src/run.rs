//! Starting all controllers and ending them together.

use std::future::Future;

use client::election::{self, Lease};
use client::objects::{EndpointSlice, Namespace, Node, Pod, Service};
use client::{Client, Informers, Recorder, Scope};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::objects::{ConfigMap, Deployment, ReplicaSet, ServiceAccount};
use crate::{
    ControllersConfig, Error, deployment, endpoints, endpointslice, garbage_collector, namespace, node_ipam,
    node_lifecycle, pod_garbage_collector, replicaset, root_ca, serviceaccount, taint_eviction,
};

/// What every controller is given.
#[derive(Clone)]
pub(crate) struct Context {
    /// Behind the fence.
    pub client: Client,
    pub informers: Informers,
    pub recorder: Recorder,
    pub stop: CancellationToken,
    pub config: ControllersConfig,
}

/// Starts following what the controllers read, so that a standby is warm when it has to take over.
pub fn warm(informers: &Informers) {
    informers.watch::<Pod>();
    informers.watch::<Node>();
    informers.watch::<Service>();
    informers.watch::<EndpointSlice>();
    informers.watch::<endpoints::Endpoints>();
    informers.watch::<Namespace>();
    informers.watch::<Deployment>();
    informers.watch::<ReplicaSet>();
    informers.watch::<ServiceAccount>();
    informers.watch_scope::<ConfigMap>(root_ca::scope());
    informers.watch_scope::<Lease>(node_leases());
}

/// The Lease objects that kubelets renew.
pub(crate) fn node_leases() -> Scope {
    Scope::namespace("kube-node-lease")
}

/// Runs all controllers until `stop` or until `client`'s fence is lost. The caller leads; `informers` read without a
/// fence.
pub async fn run(
    config: ControllersConfig,
    client: Client,
    informers: Informers,
    stop: CancellationToken,
) -> Result<(), Error> {
    warm(&informers);
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = informers.catch_up() => {}
    }
    // Cancelled on every way out, so that no controller outlives the term.
    let term = stop.child_token();
    let _end = term.clone().drop_guard();
    let mut all = Running {
        config,
        client,
        informers,
        stop: term,
        tasks: JoinSet::new(),
    };
    all.start("deployment-controller", deployment::run);
    all.start("replicaset-controller", replicaset::run);
    all.start("endpointslice-controller", endpointslice::run);
    all.start("endpoint-controller", endpoints::run);
    all.start("namespace-controller", namespace::run);
    all.start("serviceaccount-controller", serviceaccount::run);
    all.start("root-ca-certificate-publisher-controller", root_ca::run);
    all.start("garbage-collector-controller", garbage_collector::run);
    all.start("node-controller", node_lifecycle::run);
    all.start("taint-eviction-controller", taint_eviction::run);
    all.start("cidrAllocator", node_ipam::run);
    all.start("pod-garbage-collector-controller", pod_garbage_collector::run);
    all.start("lease", hold);
    tracing::info!(controllers = all.tasks.len(), "controlling");
    all.first_end(&stop).await
}

async fn hold(context: Context) -> Result<(), client::Error> {
    election::hold(
        &context.client,
        "kube-controller-manager",
        &context.config.identity,
        &context.stop,
    )
    .await
}

struct Running {
    config: ControllersConfig,
    client: Client,
    informers: Informers,
    stop: CancellationToken,
    tasks: JoinSet<(&'static str, Result<(), client::Error>)>,
}

impl Running {
    /// Starts a controller whose events carry `name`.
    fn start<F>(&mut self, name: &'static str, run: impl FnOnce(Context) -> F)
    where
        F: Future<Output = Result<(), client::Error>> + Send + 'static,
    {
        let running = run(Context {
            recorder: Recorder::new(self.client.clone(), name, ""),
            client: self.client.clone(),
            informers: self.informers.clone(),
            stop: self.stop.clone(),
            config: self.config.clone(),
        });
        self.tasks.spawn(async move { (name, running.await) });
    }

    /// Waits for the first controller to end, which ends all: alone, the others would do half a leader's work.
    async fn first_end(mut self, stop: &CancellationToken) -> Result<(), Error> {
        let ended = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ended = self.tasks.join_next() => ended,
        };
        match ended {
            Some(Ok((_, Err(error)))) => Err(Error::FenceLost(error)),
            Some(Err(panic)) => Err(Error::Panicked(panic.to_string())),
            Some(Ok((_, Ok(())))) | None => Ok(()),
        }
    }
}
