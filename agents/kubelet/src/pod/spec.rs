//! Questions about a pod's spec that several parts of the agent ask.

use std::time::Duration;

use api::quantity::Quantity;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};

/// What a pod does with a container that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Starts it again.
    Always,
    /// Starts it again if it failed.
    OnFailure,
    /// Leaves it.
    Never,
}

impl RestartPolicy {
    /// Of a pod; what the API server would default is Always.
    pub fn of(spec: &PodSpec) -> Self {
        match spec.restart_policy.as_deref() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        }
    }
}

/// The class by which pods are treated when the node runs short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has limits for CPU and memory, and requests as much.
    Guaranteed,
    /// Some container requests something.
    Burstable,
    /// Nobody asks for anything.
    BestEffort,
}

impl QosClass {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "Guaranteed",
            QosClass::Burstable => "Burstable",
            QosClass::BestEffort => "BestEffort",
        }
    }

    /// The class of a pod.
    pub fn of(spec: &PodSpec) -> Self {
        let mut any = false;
        let mut guaranteed = true;
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
            for resource in ["cpu", "memory"] {
                let limit = amount(container, Kind::Limit, resource);
                let request = amount(container, Kind::Request, resource).or(limit);
                let is_set = |q: &Option<Quantity>| q.as_ref().is_some_and(|q| !q.is_zero());
                any |= is_set(&limit) || is_set(&request);
                let same = limit.as_ref().map(Quantity::milli) == request.as_ref().map(Quantity::milli);
                guaranteed &= is_set(&limit) && same;
            }
        }
        match (any, guaranteed) {
            (false, _) => QosClass::BestEffort,
            (true, true) => QosClass::Guaranteed,
            (true, false) => QosClass::Burstable,
        }
    }
}

/// Which of the two amounts of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What the container is promised.
    Request,
    /// What it may not exceed.
    Limit,
}

/// An amount in a container's resources; `None` if it is not set or not a quantity.
pub fn amount(container: &Container, kind: Kind, resource: &str) -> Option<Quantity> {
    amount_of(container.resources.as_ref()?, kind, resource)
}

/// An amount in resources.
pub fn amount_of(resources: &ResourceRequirements, kind: Kind, resource: &str) -> Option<Quantity> {
    let map = match kind {
        Kind::Request => resources.requests.as_ref(),
        Kind::Limit => resources.limits.as_ref(),
    };
    map?.get(resource).and_then(|q| Quantity::parse(&q.0).ok())
}

/// Whether an init container goes on running beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// A pod's uid; empty on an object that never came from the API.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// A pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// A pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The spec. A pod from the API always has one; an empty one runs nothing.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::OnceLock<PodSpec> = std::sync::OnceLock::new();
    pod.spec.as_ref().unwrap_or_else(|| EMPTY.get_or_init(PodSpec::default))
}

/// Whether the pod uses the node's network.
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network.unwrap_or(false)
}

/// A container of the pod by name, init containers included.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = spec(pod);
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .find(|c| c.name == name)
}

/// How long the pod's containers get to end: what the deletion says, else the spec.
pub fn grace(pod: &Pod) -> Duration {
    let seconds = pod
        .metadata
        .deletion_grace_period_seconds
        .or(spec(pod).termination_grace_period_seconds)
        .unwrap_or(DEFAULT_GRACE_SECONDS);
    Duration::from_secs(seconds.max(0).unsigned_abs())
}

/// What the API server defaults `terminationGracePeriodSeconds` to.
pub const DEFAULT_GRACE_SECONDS: i64 = 30;

/// When the pod's deletion was asked for and has to be done with: the API sets the timestamp to the end of the grace.
pub fn deletion_deadline(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.deletion_timestamp.as_ref().map(|t| t.0)
}

/// Whether the API already has the pod as finished. Such a pod never runs again.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(
        pod.status.as_ref().and_then(|s| s.phase.as_deref()),
        Some("Succeeded" | "Failed")
    )
}

/// What a container is made from, as far as a change of it means that the container has to be made again.
pub fn hash(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    crate::image::sha256_hex(format!("{}\0{image}", container.name).as_bytes())[..16].to_owned()
}
