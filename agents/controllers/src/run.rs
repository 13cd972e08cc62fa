//! Starting all controllers and ending them together.

use std::future::Future;

use client::election::{self, Lease};
use client::objects::{EndpointSlice, Namespace, Node, Pod, Service};
use client::{Client, Informers, Projection, Recorder, Scope};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bootstrap::{self, TokenSecret};
use crate::certificates::{self, SigningRequest};
use crate::cronjob::CronJob;
use crate::daemonset::DaemonSet;
use crate::discovery::{Discovery, discover};
use crate::disruption::Budget;
use crate::job::Job;
use crate::objects::{ConfigMap, Deployment, ReplicaSet, ServiceAccount};
use crate::revisions::ControllerRevision;
use crate::statefulset::StatefulSet;
use crate::{
    ControllersConfig, Error, cronjob, daemonset, deployment, disruption, endpoints, endpointslice, garbage_collector,
    job, limits, namespace, node_ipam, node_lifecycle, pod_garbage_collector, replicaset, root_ca, serviceaccount,
    statefulset, taint_eviction,
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
    informers.watch_scope::<ConfigMap>(bootstrap::sign::scope());
    informers.watch_scope::<TokenSecret>(bootstrap::tokens());
    informers.watch::<SigningRequest>();
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
    let served = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        served = Served::ask(&client) => served.map_err(Error::FenceLost)?,
    };
    served.warm(&informers);
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
    all.start_joining();
    served.start(&mut all);
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

/// Which of the resources are served that an API server may lack.
struct Served(Discovery);

impl Served {
    /// Asks until the API answers; the error is a lost fence.
    async fn ask(client: &Client) -> Result<Served, client::Error> {
        loop {
            match discover(client).await {
                Ok(discovery) => return Ok(Served(discovery)),
                Err(error) if error.is_fence_lost() => return Err(error),
                Err(error) => tracing::warn!(%error, "discovery failed, trying again"),
            }
            tokio::time::sleep(limits::NAMESPACE_RETRY).await;
        }
    }

    fn has<P: Projection>(&self) -> bool {
        let served = |d: &crate::discovery::Discovered| d.resource == P::RESOURCE && d.can(&["list", "watch"]);
        self.0.resources.iter().any(served)
    }

    fn watch<P: Projection>(&self, informers: &Informers) {
        if self.has::<P>() {
            informers.watch::<P>();
        }
    }

    fn warm(&self, informers: &Informers) {
        self.watch::<StatefulSet>(informers);
        self.watch::<DaemonSet>(informers);
        self.watch::<ControllerRevision>(informers);
        self.watch::<Job>(informers);
        self.watch::<CronJob>(informers);
        self.watch::<Budget>(informers);
    }

    fn start(&self, all: &mut Running) {
        let revisions = self.has::<ControllerRevision>();
        if revisions && self.has::<StatefulSet>() {
            all.start("statefulset-controller", statefulset::run);
        }
        if revisions && self.has::<DaemonSet>() {
            all.start("daemonset-controller", daemonset::run);
        }
        if self.has::<Job>() {
            all.start("job-controller", job::run);
        }
        if self.has::<Budget>() {
            let stateful = self.has::<StatefulSet>();
            all.start("controllermanager", move |context| disruption::run(context, stateful));
        }
        if self.has::<Job>() && self.has::<CronJob>() {
            all.start("cronjob-controller", cronjob::run);
        }
    }
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

    /// What lets machines join: requests for certificates, and bootstrap tokens.
    fn start_joining(&mut self) {
        self.start(
            "certificatesigningrequest-approving-controller",
            certificates::approve::run,
        );
        self.start("certificatesigningrequest-cleaner-controller", certificates::clean::run);
        if let Some(signing) = self.config.signing.clone() {
            self.start("certificatesigningrequest-signing-controller", |context| {
                certificates::sign::run(context, signing)
            });
        }
        self.start("bootstrap-signer-controller", bootstrap::sign::run);
        self.start("token-cleaner-controller", bootstrap::clean::run);
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
