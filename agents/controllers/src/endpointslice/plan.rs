//! Which slices a Service should have, and the fewest writes that lead there. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::objects::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Pod, Service};

use crate::limits;
use crate::serving::{address, addressed, hostname, ports, ready, target};

/// Slices whose endpoints may stand together: one address family, the same ports.
type Group = (String, Vec<EndpointPort>);

/// What stands in a slice.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Content {
    pub address_type: String,
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

/// The writes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub create: Vec<Content>,
    pub update: Vec<(Arc<EndpointSlice>, Content)>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// The endpoints a Service should have, by group, each under its address. A family without any endpoint has an empty
/// group: its slice says that the Service is known and has none.
pub(super) fn desired(
    service: &Service,
    pods: &[Arc<Pod>],
    zone: impl Fn(&str) -> Option<String>,
) -> BTreeMap<Group, BTreeMap<String, Endpoint>> {
    let mut groups: BTreeMap<Group, BTreeMap<String, Endpoint>> = BTreeMap::new();
    for family in families(service) {
        let before = groups.len();
        for pod in pods.iter().filter(|p| addressed(p)) {
            let Some(address) = address(pod, &family) else { continue };
            let mut ports = ports(service, pod);
            ports.sort();
            let group = groups.entry((family.clone(), ports)).or_default();
            group.insert(address.to_owned(), endpoint(service, pod, address, &zone));
        }
        if groups.len() == before {
            groups.insert((family, Vec::new()), BTreeMap::new());
        }
    }
    groups
}

fn families(service: &Service) -> Vec<String> {
    match service.spec.ip_families.is_empty() {
        true if service.spec.cluster_ip.contains(':') => vec!["IPv6".to_owned()],
        true => vec!["IPv4".to_owned()],
        false => service.spec.ip_families.clone(),
    }
}

fn endpoint(service: &Service, pod: &Pod, address: &str, zone: impl Fn(&str) -> Option<String>) -> Endpoint {
    let node = (!pod.spec.node_name.is_empty()).then(|| pod.spec.node_name.clone());
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: EndpointConditions {
            ready: Some(ready(service, pod)),
            serving: Some(service.spec.publish_not_ready_addresses || pod.is_ready()),
            terminating: Some(pod.metadata.is_deleting()),
        },
        hostname: hostname(service, pod),
        zone: node.as_deref().and_then(zone),
        node_name: node,
        target_ref: Some(target(pod)),
    }
}

/// The writes that lead from the existing slices to the desired endpoints. An endpoint stays in its slice.
pub(super) fn plan(
    desired: BTreeMap<Group, BTreeMap<String, Endpoint>>,
    existing: &[Arc<EndpointSlice>],
    labels: &BTreeMap<String, String>,
) -> Plan {
    let mut by_group: HashMap<Group, Vec<Arc<EndpointSlice>>> = HashMap::new();
    for slice in existing {
        let mut ports = slice.ports.clone();
        ports.sort();
        by_group
            .entry((slice.address_type.clone(), ports))
            .or_default()
            .push(slice.clone());
    }
    let mut plan = Plan::default();
    for (group, endpoints) in desired {
        let slices = by_group.remove(&group).unwrap_or_default();
        fit(&mut plan, group, endpoints, slices, labels);
    }
    plan.delete.extend(by_group.into_values().flatten());
    plan
}

/// Fits the endpoints of one group into its slices.
fn fit(
    plan: &mut Plan,
    (address_type, ports): Group,
    mut endpoints: BTreeMap<String, Endpoint>,
    slices: Vec<Arc<EndpointSlice>>,
    labels: &BTreeMap<String, String>,
) {
    let mut kept: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)> = Vec::new();
    for slice in slices {
        let stay = slice
            .endpoints
            .iter()
            .filter_map(|e| endpoints.remove(e.addresses.first()?))
            .collect();
        kept.push((slice, stay));
    }
    let mut rest: Vec<Endpoint> = endpoints.into_values().collect();
    // The fullest slices first: they fill up, and the emptiest may go.
    kept.sort_by_key(|(_, stay)| std::cmp::Reverse(stay.len()));
    for (_, stay) in &mut kept {
        let room = limits::ENDPOINTS_PER_SLICE_MAX
            .saturating_sub(stay.len())
            .min(rest.len());
        stay.extend(rest.drain(..room));
    }
    let content = |endpoints| Content {
        address_type: address_type.clone(),
        ports: ports.clone(),
        endpoints,
    };
    let nothing_yet = kept.is_empty();
    let mut placeholder_needed = rest.is_empty() && kept.iter().all(|(_, stay)| stay.is_empty());
    for (slice, stay) in kept {
        if stay.is_empty() && !placeholder_needed {
            plan.delete.push(slice);
            continue;
        }
        placeholder_needed &= !stay.is_empty();
        if stay != slice.endpoints || *labels != slice.metadata.labels {
            plan.update.push((slice, content(stay)));
        }
    }
    if nothing_yet && rest.is_empty() {
        plan.create.push(content(Vec::new()));
    }
    for chunk in rest.chunks(limits::ENDPOINTS_PER_SLICE_MAX) {
        plan.create.push(content(chunk.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service() -> Service {
        let ports = json!([{ "name": "http", "port": 80, "targetPort": 8080 }]);
        serde_json::from_value(
            json!({ "metadata": { "name": "s" }, "spec": { "ports": ports, "ipFamilies": ["IPv4"] } }),
        )
        .unwrap()
    }

    fn pods(count: usize) -> Vec<Arc<Pod>> {
        let one = |i: usize| {
            let ready = json!([{ "type": "Ready", "status": "True" }]);
            let status = json!({ "podIP": format!("10.0.{}.{}", i / 250, i % 250), "conditions": ready });
            let object =
                json!({ "metadata": { "name": format!("p{i}") }, "spec": { "nodeName": "n" }, "status": status });
            Arc::new(serde_json::from_value(object).unwrap())
        };
        (0..count).map(one).collect()
    }

    fn run(pods: &[Arc<Pod>], existing: &[Arc<EndpointSlice>]) -> Plan {
        plan(desired(&service(), pods, |_| None), existing, &BTreeMap::new())
    }

    fn applied(plan: Plan, existing: &[Arc<EndpointSlice>]) -> Vec<Arc<EndpointSlice>> {
        let slice = |content: &Content, name: String| EndpointSlice {
            metadata: client::Meta {
                name,
                ..client::Meta::default()
            },
            address_type: content.address_type.clone(),
            endpoints: content.endpoints.clone(),
            ports: content.ports.clone(),
        };
        let touched: Vec<_> = plan
            .delete
            .iter()
            .chain(plan.update.iter().map(|(s, _)| s))
            .map(|s| s.metadata.name.clone())
            .collect();
        let mut slices: Vec<_> = existing
            .iter()
            .filter(|s| !touched.contains(&s.metadata.name))
            .cloned()
            .collect();
        slices.extend(
            plan.update
                .iter()
                .map(|(old, new)| Arc::new(slice(new, old.metadata.name.clone()))),
        );
        let fresh = plan.create.iter().enumerate();
        slices.extend(fresh.map(|(i, new)| Arc::new(slice(new, format!("new{i}-{}", existing.len())))));
        slices
    }

    fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
        let mut sizes: Vec<_> = slices.iter().map(|s| s.endpoints.len()).collect();
        sizes.sort();
        sizes
    }

    #[test]
    fn slices_are_bounded_and_settle() {
        let pods = pods(230);
        let slices = applied(run(&pods, &[]), &[]);
        assert_eq!(sizes(&slices), [30, 100, 100]);
        let again = run(&pods, &slices);
        assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
    }

    #[test]
    fn one_more_pod_is_one_write() {
        let slices = applied(run(&pods(130), &[]), &[]);
        let plan = run(&pods(131), &slices);
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (0, 1, 0));
    }

    #[test]
    fn a_service_without_pods_keeps_one_empty_slice() {
        let first = run(&[], &[]);
        assert_eq!((first.create.len(), first.create[0].endpoints.len()), (1, 0));
        let slices = applied(first, &[]);
        assert!(run(&[], &slices).create.is_empty() && run(&[], &slices).delete.is_empty());
    }

    #[test]
    fn the_last_pods_leave_and_the_ports_differ_from_an_empty_slice() {
        let slices = applied(run(&pods(3), &[]), &[]);
        let plan = run(&[], &slices);
        assert_eq!((plan.create.len(), plan.delete.len()), (1, 1));
    }

    #[test]
    fn states() {
        let mut going = (*pods(1)[0]).clone();
        going.metadata.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH);
        let endpoint = run(&[Arc::new(going)], &[]).create.remove(0).endpoints.remove(0);
        let conditions = endpoint.conditions;
        assert_eq!(
            (conditions.ready, conditions.serving, conditions.terminating),
            (Some(false), Some(true), Some(true))
        );
        let mut ended = (*pods(1)[0]).clone();
        ended.status.phase = "Failed".to_owned();
        assert!(run(&[Arc::new(ended)], &[]).create[0].endpoints.is_empty());
    }
}
