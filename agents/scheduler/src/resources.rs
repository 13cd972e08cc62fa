//! What a Pod asks for and what a node has.

use std::collections::BTreeMap;

use client::objects::{Container, PodSpec};

use crate::quantity;

/// What a container without a CPU request counts as in scoring: thousandths of a CPU.
const DEFAULT_MILLI_CPU: i64 = 100;
/// What a container without a memory request counts as in scoring: bytes.
const DEFAULT_MEMORY: i64 = 200 << 20;

/// Amounts of resources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Resources {
    /// Thousandths of a CPU.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of local storage.
    pub ephemeral: i64,
    /// Pods. Of a Pod: 1.
    pub pods: i64,
    /// Everything else by name (huge pages, devices).
    pub extended: BTreeMap<String, i64>,
}

impl Resources {
    /// From a map of quantities. What is no quantity counts as nothing: the API server has checked them.
    pub fn parse(quantities: &BTreeMap<String, String>) -> Self {
        let mut resources = Resources::default();
        for (name, text) in quantities {
            let value = if name == "cpu" {
                quantity::milli(text)
            } else {
                quantity::whole(text)
            };
            resources.set(name, value.unwrap_or(0));
        }
        resources
    }

    fn set(&mut self, name: &str, value: i64) {
        match name {
            "cpu" => self.milli_cpu = value,
            "memory" => self.memory = value,
            "ephemeral-storage" => self.ephemeral = value,
            "pods" => self.pods = value,
            _ => {
                self.extended.insert(name.to_owned(), value);
            }
        }
    }

    /// Adds what another takes.
    pub fn add(&mut self, other: &Resources) {
        self.each(other, |a, b| a.saturating_add(b));
    }

    /// Takes away what another took.
    pub fn subtract(&mut self, other: &Resources) {
        self.each(other, |a, b| a.saturating_sub(b));
    }

    /// Raises each amount to at least the other's.
    pub fn raise(&mut self, other: &Resources) {
        self.each(other, i64::max);
    }

    fn each(&mut self, other: &Resources, f: impl Fn(i64, i64) -> i64) {
        self.milli_cpu = f(self.milli_cpu, other.milli_cpu);
        self.memory = f(self.memory, other.memory);
        self.ephemeral = f(self.ephemeral, other.ephemeral);
        self.pods = f(self.pods, other.pods);
        for (name, value) in &other.extended {
            let mine = self.extended.entry(name.clone()).or_insert(0);
            *mine = f(*mine, *value);
        }
    }
}

/// What a Pod asks for: the larger of what runs together and what its start needs at any moment.
pub(crate) fn pod_requests(spec: &PodSpec) -> Resources {
    let mut total = sum(spec, |c| Resources::parse(&c.resources.requests));
    if let Some(whole_pod) = &spec.resources {
        for (name, text) in &whole_pod.requests {
            let value = if name == "cpu" {
                quantity::milli(text)
            } else {
                quantity::whole(text)
            };
            total.set(name, value.unwrap_or(0));
        }
    }
    total.add(&Resources::parse(&spec.overhead));
    total.pods = 1;
    total
}

/// The same for scoring, where a container that asks for nothing still counts as something.
pub(crate) fn pod_requests_for_scoring(spec: &PodSpec) -> Resources {
    let mut total = sum(spec, |c| {
        let mut requests = Resources::parse(&c.resources.requests);
        if !c.resources.requests.contains_key("cpu") {
            requests.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !c.resources.requests.contains_key("memory") {
            requests.memory = DEFAULT_MEMORY;
        }
        requests
    });
    total.add(&Resources::parse(&spec.overhead));
    total
}

fn sum(spec: &PodSpec, requests: impl Fn(&Container) -> Resources) -> Resources {
    let mut together = Resources::default();
    for container in &spec.containers {
        together.add(&requests(container));
    }
    // Sidecars run beside the containers, and beside the init containers after them.
    let (mut sidecars, mut start) = (Resources::default(), Resources::default());
    for container in &spec.init_containers {
        let mut now = requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&now);
            start.raise(&sidecars);
        } else {
            now.add(&sidecars);
            start.raise(&now);
        }
    }
    together.add(&sidecars);
    together.raise(&start);
    together
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> PodSpec {
        serde_json::from_value(json).unwrap()
    }

    fn cpu(amount: &str) -> serde_json::Value {
        serde_json::json!({ "resources": { "requests": { "cpu": amount } } })
    }

    #[test]
    fn the_largest_init_container_counts_against_the_sum() {
        let spec = spec(serde_json::json!({
            "containers": [cpu("1"), cpu("500m")], "initContainers": [cpu("2"), cpu("1")],
        }));
        assert_eq!(pod_requests(&spec).milli_cpu, 2000);
    }

    #[test]
    fn sidecars_run_beside_what_follows() {
        let mut sidecar = cpu("1");
        sidecar["restartPolicy"] = "Always".into();
        let spec = spec(serde_json::json!({ "containers": [cpu("1")], "initContainers": [sidecar, cpu("3")] }));
        assert_eq!(pod_requests(&spec).milli_cpu, 4000);
    }

    #[test]
    fn overhead_is_added_and_a_pod_is_one_pod() {
        let spec = spec(serde_json::json!({ "containers": [cpu("1")], "overhead": { "cpu": "250m", "x/y": "2" } }));
        let requests = pod_requests(&spec);
        assert_eq!(
            (requests.milli_cpu, requests.pods, requests.extended["x/y"]),
            (1250, 1, 2)
        );
    }

    #[test]
    fn scoring_counts_something_for_nothing() {
        let spec = spec(serde_json::json!({ "containers": [{}, cpu("1")] }));
        let requests = pod_requests_for_scoring(&spec);
        assert_eq!((requests.milli_cpu, requests.memory), (1100, 2 * DEFAULT_MEMORY));
        assert_eq!(pod_requests(&spec).memory, 0);
    }
}
