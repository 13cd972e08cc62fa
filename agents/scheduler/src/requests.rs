//! What Pods ask of a node and what nodes offer, in the units that are compared.

use std::collections::BTreeMap;

use api::Quantity;
use client::objects::{Container, Node, PodSpec, ResourceRequirements};

/// Amounts of resources. CPU in thousandths of a core, memory and storage in bytes, everything else in whole units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    pub ephemeral_bytes: i64,
    /// Number of Pods.
    pub pods: i64,
    /// Extended resources and huge pages, by name.
    pub extended: BTreeMap<String, i64>,
}

impl Requests {
    /// What a Pod needs: the larger of its containers together (with sidecars) and its largest init step, plus overhead.
    pub fn of_pod(spec: &PodSpec) -> Requests {
        let mut running = Requests {
            pods: 1,
            ..Requests::default()
        };
        let mut peak = Requests::default();
        for container in &spec.init_containers {
            let own = Requests::of_container(container);
            if container.restart_policy.as_deref() == Some("Always") {
                running.add(&own);
                peak.raise_to(&running);
            } else {
                let mut step = running.clone();
                step.add(&own);
                peak.raise_to(&step);
            }
        }
        for container in &spec.containers {
            running.add(&Requests::of_container(container));
        }
        running.raise_to(&peak);
        if let Some(resources) = &spec.resources {
            running.replace_by(resources);
        }
        running.add(&Requests::parse(&spec.overhead));
        running
    }

    /// What a node offers to Pods.
    pub fn of_node(node: &Node) -> Requests {
        let mut offered = Requests::parse(&node.status.allocatable);
        offered.pods = offered.extended.remove("pods").unwrap_or(0);
        offered
    }

    fn of_container(container: &Container) -> Requests {
        Requests::parse(&container.resources.requests)
    }

    fn parse(quantities: &BTreeMap<String, String>) -> Requests {
        let mut parsed = Requests::default();
        for (name, text) in quantities {
            // The API has validated them; what is broken all the same counts as nothing.
            let quantity = Quantity::parse(text).unwrap_or(Quantity::ZERO);
            match name.as_str() {
                "cpu" => parsed.cpu_milli = quantity.milli(),
                "memory" => parsed.memory_bytes = quantity.value(),
                "ephemeral-storage" => parsed.ephemeral_bytes = quantity.value(),
                _ => drop(parsed.extended.insert(name.clone(), quantity.value())),
            }
        }
        parsed
    }

    /// Requests of the Pod as a whole take the place of its containers'.
    fn replace_by(&mut self, resources: &ResourceRequirements) {
        let whole = Requests::parse(&resources.requests);
        if resources.requests.contains_key("cpu") {
            self.cpu_milli = whole.cpu_milli;
        }
        if resources.requests.contains_key("memory") {
            self.memory_bytes = whole.memory_bytes;
        }
    }

    pub fn add(&mut self, other: &Requests) {
        self.combine(other, i64::saturating_add);
    }

    pub fn subtract(&mut self, other: &Requests) {
        self.combine(other, i64::saturating_sub);
    }

    fn raise_to(&mut self, other: &Requests) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Requests, with: fn(i64, i64) -> i64) {
        self.cpu_milli = with(self.cpu_milli, other.cpu_milli);
        self.memory_bytes = with(self.memory_bytes, other.memory_bytes);
        self.ephemeral_bytes = with(self.ephemeral_bytes, other.ephemeral_bytes);
        self.pods = with(self.pods, other.pods);
        for (name, amount) in &other.extended {
            let own = self.extended.entry(name.clone()).or_default();
            *own = with(*own, *amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(cpu: &str, always: bool) -> Container {
        Container {
            resources: ResourceRequirements {
                requests: BTreeMap::from([("cpu".into(), cpu.into())]),
                ..Default::default()
            },
            restart_policy: always.then(|| "Always".to_string()),
            ..Container::default()
        }
    }

    #[test]
    fn a_pod_needs_the_larger_of_its_init_steps_and_its_containers() {
        let spec = PodSpec {
            init_containers: vec![container("2", false), container("100m", true), container("1", false)],
            containers: vec![container("500m", false), container("300m", false)],
            overhead: BTreeMap::from([("cpu".into(), "10m".into())]),
            ..PodSpec::default()
        };
        assert_eq!(Requests::of_pod(&spec).cpu_milli, 2010);
        let spec = PodSpec {
            init_containers: vec![container("100m", true)],
            containers: vec![container("1", false)],
            ..spec
        };
        assert_eq!(Requests::of_pod(&spec).cpu_milli, 1110);
    }

    #[test]
    fn a_node_offers_what_is_allocatable() {
        let mut node = Node::default();
        for (name, text) in [
            ("cpu", "2"),
            ("memory", "1Gi"),
            ("pods", "110"),
            ("example.com/gpu", "4"),
        ] {
            node.status.allocatable.insert(name.into(), text.into());
        }
        let offered = Requests::of_node(&node);
        assert_eq!(
            (offered.cpu_milli, offered.memory_bytes, offered.pods),
            (2000, 1 << 30, 110)
        );
        assert_eq!(offered.extended, BTreeMap::from([("example.com/gpu".into(), 4)]));
    }
}
