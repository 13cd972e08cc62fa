//! From resolved service ports to the table's contents. Pure.
//!
//! A connection's way through the table, in hook order:
//! 1. nat prerouting/output: `services` (virtual addresses), then `nodeports`, each look-up ending in a service chain;
//! 2. filter input/forward/output: `refused` (ports without endpoints), then `strays` (other ports of a virtual address);
//! 3. nat postrouting: masquerade what was marked, what returns to its own sender, and what leaves the cluster.

use std::{collections::BTreeSet, net::Ipv4Addr};

use client::objects;

use crate::{
    Config,
    limits::IDENTIFIER_BYTES_MAX,
    ports::{self, Protocol, ResolvedPort, Target},
    ruleset::{Kind, Ruleset, anonymous_set},
};

const ADDRESS_KEY: &str = "ip daddr . meta l4proto . th dport";
/// Node ports answer on every address of the node but loopback, where replies could not find their way back.
const NODE_PORT_KEY: &str = "fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport";

/// The desired table of this node.
pub fn build<'a>(
    services: impl IntoIterator<Item = &'a objects::Service>,
    slices: impl IntoIterator<Item = &'a objects::EndpointSlice>,
    config: &Config,
) -> Ruleset {
    let mut ruleset = frame(config);
    for port in ports::resolve(services, slices, config) {
        add_port(&mut ruleset, &port, config);
    }
    ruleset
}

/// What is there even without any Service: collections, hooks, helpers.
fn frame(config: &Config) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let by_address = "type ipv4_addr . inet_proto . inet_service : verdict";
    let by_port = "type inet_proto . inet_service : verdict";
    ruleset.declare(Kind::Map, "service-ports", by_address);
    ruleset.declare(Kind::Map, "node-ports", by_port);
    ruleset.declare(Kind::Map, "refused-service-ports", by_address);
    ruleset.declare(Kind::Map, "refused-node-ports", by_port);
    ruleset.declare(Kind::Set, "cluster-ips", "type ipv4_addr");
    ruleset.declare(Kind::Set, "hairpins", "type ipv4_addr . ipv4_addr");

    ruleset.chain("services", dispatch_rules(config));
    let refused = |map: &str, key: &str| vec![format!("{key} vmap @{map}")];
    ruleset.chain("refused", refused("refused-service-ports", ADDRESS_KEY));
    ruleset.chain("refused-local", refused("refused-node-ports", NODE_PORT_KEY));
    ruleset.chain("strays", vec!["ip daddr @cluster-ips goto reject-connection".into()]);
    // The kernel sends a stranger one ICMP error a second at most, so that a busy client would wait; a reset is not
    // rationed. The node itself gets the error without a packet.
    let reset = "fib saddr type != local meta l4proto tcp reject with tcp reset";
    ruleset.chain("reject-connection", vec![reset.into(), "reject".into()]);
    ruleset.chain(
        "mark-masquerade",
        vec![format!("meta mark set meta mark | {:#x}", config.masquerade_mark)],
    );
    ruleset.chain(
        "masquerade-marked",
        vec![
            format!("meta mark set meta mark ^ {:#x}", config.masquerade_mark),
            "masquerade fully-random".into(),
        ],
    );
    add_hooks(&mut ruleset, config);
    ruleset
}

fn dispatch_rules(config: &Config) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(cidr) = config.cluster_cidr {
        // A sender outside the Pod network would get its answer straight from the Pod, not from the virtual address.
        rules.push(format!("ip saddr != {cidr} ip daddr @cluster-ips jump mark-masquerade"));
    }
    rules.push(format!("{ADDRESS_KEY} vmap @service-ports"));
    rules.push(format!("{NODE_PORT_KEY} vmap @node-ports"));
    rules
}

/// The base chains. Numeric priorities: nft 1.0.6 knows the names only in some hooks.
fn add_hooks(ruleset: &mut Ruleset, config: &Config) {
    let jumps = |chains: &[&str]| {
        chains
            .iter()
            .map(|chain| format!("ct state new jump {chain}"))
            .collect::<Vec<_>>()
    };
    let nat = || vec!["jump services".to_string()];
    ruleset.base_chain("nat-prerouting", "type nat hook prerouting priority -100", nat());
    ruleset.base_chain("nat-output", "type nat hook output priority -100", nat());
    let refusals = ["refused", "refused-local"];
    ruleset.base_chain("filter-input", "type filter hook input priority -110", jumps(&refusals));
    ruleset.base_chain(
        "filter-forward",
        "type filter hook forward priority -110",
        jumps(&["refused", "strays"]),
    );
    ruleset.base_chain(
        "filter-output",
        "type filter hook output priority -110",
        jumps(&refusals),
    );
    // After DNAT: whatever still goes to a virtual address has no such port.
    ruleset.base_chain(
        "filter-output-strays",
        "type filter hook output priority -90",
        jumps(&["strays"]),
    );
    ruleset.base_chain(
        "nat-postrouting",
        "type nat hook postrouting priority 100",
        postrouting_rules(config),
    );
}

fn postrouting_rules(config: &Config) -> Vec<String> {
    let mut rules = vec![
        format!("meta mark & {:#x} != 0 goto masquerade-marked", config.masquerade_mark),
        // A Pod that was given itself as the endpoint would answer itself directly and drop the reply as unknown.
        "ct status dnat ip saddr . ip daddr @hairpins masquerade fully-random".into(),
    ];
    if let Some(cidr) = config.cluster_cidr.filter(|_| config.masquerade_egress) {
        let inside = anonymous_set([cidr.to_string(), "224.0.0.0/4".into()]);
        rules.push(format!(
            "ip saddr {cidr} ip daddr != {inside} oifname != \"lo\" masquerade fully-random"
        ));
    }
    rules
}

/// The chain names of one service port.
struct Names {
    cluster: String,
    local: String,
    external: String,
    firewall: String,
}

impl Names {
    fn of(port: &ResolvedPort) -> Self {
        let name = |prefix| format!("{prefix}-{}", port.id);
        Self {
            cluster: name("svc"),
            local: name("loc"),
            external: name("ext"),
            firewall: name("fw"),
        }
    }
}

fn add_port(ruleset: &mut Ruleset, port: &ResolvedPort, config: &Config) {
    for ip in &port.cluster_ips {
        ruleset.element("cluster-ips", ip.to_string(), None);
    }
    if port.pools.cluster.is_empty() {
        return refuse_everywhere(ruleset, port);
    }
    for target in &port.pools.local {
        ruleset.element("hairpins", format!("{0} . {0}", target.address), None);
    }
    let names = Names::of(port);
    add_internal(ruleset, port, &names);
    if port.is_external() {
        add_external(ruleset, port, &names, config);
    }
}

/// Nobody serves this port: say so at once instead of letting the client wait.
fn refuse_everywhere(ruleset: &mut Ruleset, port: &ResolvedPort) {
    let reject = || Some("goto reject-connection".to_string());
    for ip in port
        .cluster_ips
        .iter()
        .chain(&port.external_ips)
        .chain(&port.balancer_ips)
    {
        ruleset.element("refused-service-ports", address_key(*ip, port), reject());
    }
    if let Some(node_port) = port.node_port {
        ruleset.element(
            "refused-node-ports",
            format!("{} . {node_port}", port.protocol),
            reject(),
        );
    }
}

fn add_internal(ruleset: &mut Ruleset, port: &ResolvedPort, names: &Names) {
    if !port.internal_local || port.is_external() {
        pool_chain(ruleset, &names.cluster, &port.pools.cluster, port);
    }
    let chain = if port.internal_local {
        if port.pools.local.is_empty() {
            // Kubernetes drops here: the Service exists, this node just must not use it.
            for ip in &port.cluster_ips {
                ruleset.element("refused-service-ports", address_key(*ip, port), Some("drop".into()));
            }
            return;
        }
        pool_chain(ruleset, &names.local, &port.pools.local, port);
        &names.local
    } else {
        &names.cluster
    };
    for ip in &port.cluster_ips {
        ruleset.element("service-ports", address_key(*ip, port), Some(format!("goto {chain}")));
    }
}

fn add_external(ruleset: &mut Ruleset, port: &ResolvedPort, names: &Names, config: &Config) {
    let rules = external_rules(ruleset, port, names, config);
    ruleset.chain(&names.external, rules);
    let goto = |chain: &str| Some(format!("goto {chain}"));
    for ip in &port.external_ips {
        ruleset.element("service-ports", address_key(*ip, port), goto(&names.external));
    }
    if !port.balancer_ips.is_empty() && !port.balancer_sources.is_empty() {
        let sources = anonymous_set(&port.balancer_sources);
        let rules = vec![
            format!("ip saddr != {sources} drop"),
            format!("goto {}", names.external),
        ];
        ruleset.chain(&names.firewall, rules);
    }
    let balancer = if port.balancer_sources.is_empty() {
        &names.external
    } else {
        &names.firewall
    };
    for ip in &port.balancer_ips {
        ruleset.element("service-ports", address_key(*ip, port), goto(balancer));
    }
    if let Some(node_port) = port.node_port {
        ruleset.element(
            "node-ports",
            format!("{} . {node_port}", port.protocol),
            goto(&names.external),
        );
    }
}

fn external_rules(ruleset: &mut Ruleset, port: &ResolvedPort, names: &Names, config: &Config) -> Vec<String> {
    let everywhere = format!("goto {}", names.cluster);
    if !port.external_local {
        return vec!["jump mark-masquerade".into(), everywhere];
    }
    let mut rules = Vec::new();
    if let Some(cidr) = config.cluster_cidr {
        rules.push(format!("ip saddr {cidr} {everywhere}"));
    }
    rules.push("fib saddr type local jump mark-masquerade".into());
    rules.push(format!("fib saddr type local {everywhere}"));
    if port.pools.local.is_empty() {
        rules.push("drop".into());
    } else {
        pool_chain(ruleset, &names.local, &port.pools.local, port);
        rules.push(format!("goto {}", names.local));
    }
    rules
}

fn address_key(ip: Ipv4Addr, port: &ResolvedPort) -> String {
    format!("{ip} . {} . {}", port.protocol, port.port)
}

/// A chain that sends a connection to one endpoint of `pool`.
fn pool_chain(ruleset: &mut Ruleset, name: &str, pool: &BTreeSet<Target>, port: &ResolvedPort) {
    let rules = match port.affinity_seconds {
        None => spread_rules(pool, port.protocol),
        Some(seconds) => affinity_rules(ruleset, pool, port, seconds),
    };
    ruleset.chain(name, rules);
}

fn spread_rules(pool: &BTreeSet<Target>, protocol: Protocol) -> Vec<String> {
    let mut targets = pool.iter().enumerate();
    match pool.len() {
        0 => Vec::new(),
        1 => pool.iter().map(|target| dnat_rule(*target, protocol)).collect(),
        count => {
            let arms = targets
                .by_ref()
                .map(|(index, target)| format!("{index} : {} . {}", target.address, target.port));
            let arms = arms.collect::<Vec<_>>().join(", ");
            vec![format!(
                "meta l4proto {protocol} dnat ip addr . port to numgen random mod {count} map {{ {arms} }}"
            )]
        }
    }
}

fn dnat_rule(target: Target, protocol: Protocol) -> String {
    format!("meta l4proto {protocol} dnat to {}:{}", target.address, target.port)
}

/// A client seen within `seconds` goes where it went before; others are spread and remembered.
fn affinity_rules(ruleset: &mut Ruleset, pool: &BTreeSet<Target>, port: &ResolvedPort, seconds: u32) -> Vec<String> {
    let mut rules = Vec::with_capacity(pool.len() + 1);
    let mut arms = Vec::with_capacity(pool.len());
    for (index, target) in pool.iter().enumerate() {
        let chain = format!("ep-{seconds}-{}/{}/{}", port.id, target.address, target.port);
        // The timeout is part of the name because a set's declaration cannot be changed.
        let clients = format!("clients-{seconds}-{}/{}/{}", port.id, target.address, target.port);
        debug_assert!(clients.len() <= IDENTIFIER_BYTES_MAX);
        ruleset.declare(
            Kind::Set,
            &clients,
            format!("type ipv4_addr ; flags dynamic,timeout ; timeout {seconds}s"),
        );
        ruleset.chain(
            &chain,
            vec![
                format!("update @{clients} {{ ip saddr }}"),
                dnat_rule(*target, port.protocol),
            ],
        );
        rules.push(format!("ip saddr @{clients} goto {chain}"));
        arms.push(format!("{index} : goto {chain}"));
    }
    if !arms.is_empty() {
        rules.push(format!(
            "numgen random mod {} vmap {{ {} }}",
            arms.len(),
            arms.join(", ")
        ));
    }
    rules
}
