//! From API objects to resolved service ports: which addresses lead to which endpoints. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use client::objects;
use ipnet::Ipv4Net;

use crate::{Config, limits};

/// Services and slices with this label belong to another proxy.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// A transport protocol, as nft spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// Kubernetes' spelling; an absent protocol is TCP.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Where a connection may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub address: Ipv4Addr,
    pub port: u16,
}

/// The endpoints of one service port: everywhere, and on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pools {
    /// Empty only if `local` is empty too.
    pub cluster: BTreeSet<Target>,
    /// Not always a subset of `cluster`: a node whose only endpoint is terminating still serves local-only traffic.
    pub local: BTreeSet<Target>,
}

/// One port of one Service with everything the rules need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPort {
    /// `namespace/name/protocol/port`: unique, and made of characters nft accepts in identifiers.
    pub id: String,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
    pub cluster_ips: BTreeSet<Ipv4Addr>,
    pub external_ips: BTreeSet<Ipv4Addr>,
    pub balancer_ips: BTreeSet<Ipv4Addr>,
    /// Who may use `balancer_ips`; empty means everyone.
    pub balancer_sources: Vec<Ipv4Net>,
    pub affinity_seconds: Option<u32>,
    pub internal_local: bool,
    pub external_local: bool,
    pub pools: Pools,
}

impl ResolvedPort {
    /// Whether anything can address this port at all.
    pub fn is_reachable(&self) -> bool {
        !self.cluster_ips.is_empty() || self.is_external()
    }

    /// Whether anything outside the cluster can address this port.
    pub fn is_external(&self) -> bool {
        self.node_port.is_some() || !self.external_ips.is_empty() || !self.balancer_ips.is_empty()
    }
}

/// Resolves every service port this node must serve, in a stable order.
pub fn resolve<'a>(
    services: impl IntoIterator<Item = &'a objects::Service>,
    slices: impl IntoIterator<Item = &'a objects::EndpointSlice>,
    config: &Config,
) -> Vec<ResolvedPort> {
    let by_service = group_slices(slices);
    let mut ports: Vec<ResolvedPort> = services
        .into_iter()
        .filter(|service| is_ours(service))
        .flat_map(|service| {
            let key = (service.metadata.namespace.as_str(), service.metadata.name.as_str());
            let slices = by_service.get(&key).map(Vec::as_slice).unwrap_or_default();
            service
                .spec
                .ports
                .iter()
                .filter_map(move |port| resolve_port(service, port, slices, config))
        })
        .collect();
    ports.retain(ResolvedPort::is_reachable);
    ports.sort_by(|a, b| a.id.cmp(&b.id));
    ports.dedup_by(|a, b| a.id == b.id);
    ports
}

type SlicesByService<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a objects::EndpointSlice>>;

fn group_slices<'a>(slices: impl IntoIterator<Item = &'a objects::EndpointSlice>) -> SlicesByService<'a> {
    let mut groups = SlicesByService::new();
    for slice in slices {
        if slice.address_type != "IPv4" || slice.metadata.labels.contains_key(PROXY_NAME_LABEL) {
            continue;
        }
        if let Some(service) = slice.service() {
            groups
                .entry((slice.metadata.namespace.as_str(), service))
                .or_default()
                .push(slice);
        }
    }
    groups
}

fn is_ours(service: &objects::Service) -> bool {
    let spec = &service.spec;
    let headless = spec.cluster_ip.is_empty() || spec.cluster_ip == "None";
    let plain = is_label(&service.metadata.name) && is_label(&service.metadata.namespace);
    !headless && spec.kind != "ExternalName" && plain && !service.metadata.labels.contains_key(PROXY_NAME_LABEL)
}

/// The API server accepts nothing else, but these names become nft text, so it is checked here again.
fn is_label(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 63 && name.chars().all(plain)
}

fn resolve_port(
    service: &objects::Service,
    port: &objects::ServicePort,
    slices: &[&objects::EndpointSlice],
    config: &Config,
) -> Option<ResolvedPort> {
    let (meta, spec) = (&service.metadata, &service.spec);
    let protocol = Protocol::parse(&port.protocol)?;
    let own = |ip: &Ipv4Addr| !config.local_addresses.contains(ip);
    let cluster_ips = addresses(spec.cluster_ips.iter().chain([&spec.cluster_ip]))
        .into_iter()
        .filter(own)
        .collect();
    let balancer = service.status.load_balancer.ingress.iter();
    let balancer = balancer
        .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
        .map(|ingress| &ingress.ip);
    Some(ResolvedPort {
        id: format!("{}/{}/{protocol}/{}", meta.namespace, meta.name, port.port),
        protocol,
        port: port.port,
        node_port: (port.node_port != 0).then_some(port.node_port),
        cluster_ips,
        external_ips: addresses(&spec.external_ips),
        balancer_ips: addresses(balancer),
        balancer_sources: source_ranges(spec),
        affinity_seconds: affinity_seconds(spec),
        internal_local: spec.internal_traffic_policy == "Local",
        external_local: spec.external_traffic_policy == "Local",
        pools: pools(slices, port, protocol, &config.node_name),
    })
}

fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> BTreeSet<Ipv4Addr> {
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

/// nft refuses a set whose ranges overlap, so they are merged.
fn source_ranges(spec: &objects::ServiceSpec) -> Vec<Ipv4Net> {
    let ranges = spec
        .load_balancer_source_ranges
        .iter()
        .filter_map(|range| range.trim().parse().ok());
    Ipv4Net::aggregate(&ranges.collect())
}

fn affinity_seconds(spec: &objects::ServiceSpec) -> Option<u32> {
    if spec.session_affinity != "ClientIP" {
        return None;
    }
    let configured = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    Some(
        configured
            .filter(|seconds| *seconds > 0)
            .unwrap_or(limits::AFFINITY_SECONDS_DEFAULT),
    )
}

/// Usable endpoints of every slice port that matches; ready ones, or else those that still serve while terminating.
fn pools(
    slices: &[&objects::EndpointSlice],
    port: &objects::ServicePort,
    protocol: Protocol,
    node_name: &str,
) -> Pools {
    let mut ready = Pools::default();
    let mut draining = Pools::default();
    for (target, endpoint) in slices.iter().flat_map(|slice| targets(slice, port, protocol)) {
        let conditions = &endpoint.conditions;
        let is_ready = conditions.ready.unwrap_or(true);
        let serves = conditions.serving.unwrap_or(is_ready);
        let pools = match (is_ready, serves && conditions.terminating == Some(true)) {
            (true, _) => &mut ready,
            (false, true) => &mut draining,
            (false, false) => continue,
        };
        pools.cluster.insert(target);
        if endpoint.node_name.as_deref() == Some(node_name) {
            pools.local.insert(target);
        }
    }
    let pick = |ready: BTreeSet<Target>, draining| if ready.is_empty() { draining } else { ready };
    Pools {
        cluster: pick(ready.cluster, draining.cluster),
        local: pick(ready.local, draining.local),
    }
}

fn targets<'a>(
    slice: &'a objects::EndpointSlice,
    port: &'a objects::ServicePort,
    protocol: Protocol,
) -> impl Iterator<Item = (Target, &'a objects::Endpoint)> {
    let matches = move |candidate: &&objects::EndpointPort| {
        candidate.name.as_deref().unwrap_or_default() == port.name
            && Protocol::parse(candidate.protocol.as_deref().unwrap_or_default()) == Some(protocol)
    };
    let numbers = slice
        .ports
        .iter()
        .filter(matches)
        .filter_map(|candidate| candidate.port)
        .filter(|port| *port != 0);
    numbers.flat_map(move |number| {
        slice.endpoints.iter().filter_map(move |endpoint| {
            // All addresses of one endpoint are the same Pod; clients of the API use the first.
            let address = endpoint.addresses.first()?.parse().ok()?;
            Some((Target { address, port: number }, endpoint))
        })
    })
}
