//! The ruleset in a real kernel: real TCP between network namespaces that stand for a node, its Pods and the world.
//!
//! Needs root, `ip`, `nft` and `nsenter`; without them every test here says that it is skipped.
//!
//! ```text
//! pod a 10.244.1.2 ──┐
//! pod b 10.244.1.3 ──┤ node 172.30.0.11 (10.244.1.1) ── world 172.30.0.9
//! ```

mod lab;

use std::{collections::BTreeSet, net::Ipv4Addr};

use client::objects::{EndpointSlice, Service};
use lab::{Lab, Network, Reply};
use proxy::{Config, NftCommand, Syncer, remove_table};
use serde_json::json;

const TABLE: &str = "proreus-proxy";
const NODE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 11);
const WORLD: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 9);
const POD_A: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
const POD_B: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 3);

/// A TCP service with one port 80, and a slice of its endpoints on port 8080.
fn service(name: &str, ip: &str, spec: serde_json::Value, endpoints: &[Ipv4Addr]) -> (Service, EndpointSlice) {
    let mut service = json!({
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "clusterIP": ip, "clusterIPs": [ip], "ports": [{ "port": 80, "protocol": "TCP" }] },
    });
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|ip| json!({ "addresses": [ip], "nodeName": "node-1" }))
        .collect();
    let slice = json!({
        "metadata": { "name": name, "namespace": "default", "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{ "port": 8080, "protocol": "TCP" }],
    });
    (
        serde_json::from_value(service).unwrap(),
        serde_json::from_value(slice).unwrap(),
    )
}

struct Proxy {
    syncer: Syncer<NftCommand>,
    nft: NftCommand,
    runtime: tokio::runtime::Runtime,
}

impl Proxy {
    fn new(lab: &Lab) -> Self {
        let config = Config {
            cluster_cidr: Some("10.244.0.0/16".parse().unwrap()),
            masquerade_egress: true,
            ..Config::new("node-1")
        };
        let nft = NftCommand::behind(lab.enter("node"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            syncer: Syncer::new(nft.clone(), config).unwrap(),
            nft,
            runtime,
        }
    }

    fn sync(&mut self, objects: &[(Service, EndpointSlice)]) {
        let work = self
            .syncer
            .sync(objects.iter().map(|o| &o.0), objects.iter().map(|o| &o.1));
        self.runtime.block_on(work).unwrap();
    }
}

fn lab() -> Option<(Lab, Proxy)> {
    lab_with(Network::Routed)
}

fn lab_with(network: Network) -> Option<(Lab, Proxy)> {
    let lab = Lab::new(network)?;
    for name in ["a", "b", "world"] {
        lab.serve(name, 8080);
    }
    let proxy = Proxy::new(&lab);
    Some((lab, proxy))
}

fn names(lab: &Lab, from: &str, to: &str) -> BTreeSet<String> {
    // Each of the two endpoints is missed 40 times in a row once in 10^12 runs.
    (0..40).map(|_| lab.ask(from, to).served().0).collect()
}

#[test]
fn a_cluster_address_reaches_every_endpoint_from_everywhere() {
    let Some((lab, mut proxy)) = lab() else { return };
    proxy.sync(&[service("web", "10.96.0.50", json!({}), &[POD_A, POD_B])]);
    let both: BTreeSet<String> = ["a".into(), "b".into()].into();
    for from in ["a", "node", "world"] {
        assert_eq!(names(&lab, from, "10.96.0.50:80"), both, "from {from}");
    }
    // A Pod keeps its own address; a stranger is masqueraded, or the answer would go around the node.
    assert_eq!(lab.ask("world", "10.96.0.50:80").served().1.to_string(), "10.244.1.1");
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    let Some((lab, mut proxy)) = lab() else { return };
    proxy.sync(&[service("self", "10.96.0.51", json!({}), &[POD_A])]);
    assert_eq!(lab.ask("a", "10.96.0.51:80").served().0, "a");
    let (name, peer) = lab.ask("b", "10.96.0.51:80").served();
    assert_eq!((name.as_str(), peer), ("a", POD_B));
}

#[test]
fn pods_on_one_bridge_reach_each_other_and_themselves() {
    let Some((lab, mut proxy)) = lab_with(Network::Bridge) else {
        return;
    };
    proxy.sync(&[service("web", "10.96.0.50", json!({}), &[POD_A, POD_B])]);
    let both: BTreeSet<String> = ["a".into(), "b".into()].into();
    for from in ["a", "b", "node", "world"] {
        assert_eq!(names(&lab, from, "10.96.0.50:80"), both, "from {from}");
    }
    assert_eq!(lab.ask("a", "10.96.0.50:81"), Reply::Refused);
    assert_eq!(lab.ask("a", "172.30.0.9:8080").served(), ("world".into(), NODE));
}

#[test]
fn no_endpoints_and_unknown_ports_are_refused_at_once() {
    let Some((lab, mut proxy)) = lab() else { return };
    let ports = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] });
    proxy.sync(&[
        service("empty", "10.96.0.52", ports, &[]),
        service("web", "10.96.0.50", json!({}), &[POD_A]),
    ]);
    for from in ["a", "node", "world"] {
        assert_eq!(
            lab.ask(from, "10.96.0.52:80"),
            Reply::Refused,
            "no endpoints, from {from}"
        );
        assert_eq!(
            lab.ask(from, "10.96.0.50:81"),
            Reply::Refused,
            "no such port, from {from}"
        );
        assert_eq!(
            lab.ask(from, "172.30.0.11:30080"),
            Reply::Refused,
            "node port, from {from}"
        );
    }
}

#[test]
fn node_ports_hide_the_client_unless_the_policy_is_local() {
    let Some((lab, mut proxy)) = lab() else { return };
    let port = |number| json!([{ "port": 80, "nodePort": number }]);
    let local = json!({ "type": "NodePort", "ports": port(30081), "externalTrafficPolicy": "Local" });
    proxy.sync(&[
        service(
            "wide",
            "10.96.0.53",
            json!({ "type": "NodePort", "ports": port(30080) }),
            &[POD_A],
        ),
        service("local", "10.96.0.54", local, &[POD_A]),
    ]);
    assert_eq!(
        lab.ask("world", "172.30.0.11:30080").served().1.to_string(),
        "10.244.1.1"
    );
    assert_eq!(lab.ask("world", "172.30.0.11:30081").served().1, WORLD);
    for from in ["a", "b", "node"] {
        assert_eq!(lab.ask(from, "172.30.0.11:30080").served().0, "a", "from {from}");
        assert_eq!(lab.ask(from, "172.30.0.11:30081").served().0, "a", "from {from}");
    }
}

#[test]
fn affinity_survives_changes_of_other_services() {
    let Some((lab, mut proxy)) = lab() else { return };
    let sticky = || {
        service(
            "sticky",
            "10.96.0.55",
            json!({ "sessionAffinity": "ClientIP" }),
            &[POD_A, POD_B],
        )
    };
    proxy.sync(&[sticky()]);
    let chosen = lab.ask("world", "10.96.0.55:80").served().0;
    proxy.sync(&[sticky(), service("web", "10.96.0.50", json!({}), &[POD_A])]);
    proxy.sync(&[sticky()]);
    assert_eq!(names(&lab, "world", "10.96.0.55:80"), [chosen].into());
}

#[test]
fn endpoints_follow_the_slices() {
    let Some((lab, mut proxy)) = lab() else { return };
    proxy.sync(&[service("web", "10.96.0.50", json!({}), &[POD_A])]);
    assert_eq!(names(&lab, "node", "10.96.0.50:80"), ["a".into()].into());
    proxy.sync(&[service("web", "10.96.0.50", json!({}), &[POD_B])]);
    assert_eq!(names(&lab, "node", "10.96.0.50:80"), ["b".into()].into());
    proxy.sync(&[service("web", "10.96.0.50", json!({}), &[])]);
    assert_eq!(lab.ask("node", "10.96.0.50:80"), Reply::Refused);
    proxy.sync(&[]);
    assert_eq!(lab.tables("node"), [format!("table ip {TABLE}")]);
}

#[test]
fn pods_leave_the_cluster_under_the_nodes_address() {
    let Some((lab, mut proxy)) = lab() else { return };
    proxy.sync(&[]);
    assert_eq!(lab.ask("a", "172.30.0.9:8080").served(), ("world".into(), NODE));
    assert_eq!(
        lab.ask("a", "10.244.1.3:8080").served(),
        ("b".into(), POD_A),
        "not within the cluster"
    );
}

#[test]
fn a_vanished_table_is_noticed_and_cleanup_leaves_nothing() {
    let Some((lab, mut proxy)) = lab() else { return };
    let web = [service("web", "10.96.0.50", json!({}), &[POD_A])];
    proxy.sync(&web);
    let Proxy { syncer, nft, runtime } = &mut proxy;
    runtime.block_on(remove_table(nft, TABLE)).unwrap();
    assert!(lab.tables("node").is_empty());
    runtime.block_on(syncer.check()).unwrap();
    proxy.sync(&web);
    assert_eq!(lab.ask("node", "10.96.0.50:80").served().0, "a");
    let Proxy { nft, runtime, .. } = &mut proxy;
    runtime.block_on(remove_table(nft, TABLE)).unwrap();
    runtime.block_on(remove_table(nft, TABLE)).unwrap();
    assert!(lab.tables("node").is_empty());
}
