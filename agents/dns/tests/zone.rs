//! The zone as a function of the cluster's objects: one table of questions and answers.

use client::objects::{EndpointSlice, Service};
use dns::Zone;
use hickory_server::proto::rr::{Name, Record, RecordType};
use serde_json::{Value, json};

fn service(namespace: &str, name: &str, spec: Value) -> Service {
    serde_json::from_value(json!({ "metadata": { "name": name, "namespace": namespace }, "spec": spec })).unwrap()
}

fn slice(namespace: &str, service: &str, endpoints: Value, ports: Value) -> EndpointSlice {
    let labels = json!({ "kubernetes.io/service-name": service });
    let slice = json!({
        "metadata": { "name": service, "namespace": namespace, "labels": labels },
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
    });
    serde_json::from_value(slice).unwrap()
}

fn zone() -> Zone {
    let http = json!([{ "name": "http", "port": 80 }, { "name": "dns", "protocol": "UDP", "port": 53 }]);
    let services = [
        service(
            "default",
            "web",
            json!({ "clusterIP": "10.96.0.50", "clusterIPs": ["10.96.0.50", "fd00::50"], "ports": http }),
        ),
        service(
            "data",
            "db",
            json!({ "clusterIP": "None", "ports": [{ "name": "sql", "port": 5432 }] }),
        ),
        service("data", "empty", json!({ "clusterIP": "None" })),
        service("data", "pending", json!({ "clusterIP": "" })),
        service(
            "default",
            "ext",
            json!({ "type": "ExternalName", "externalName": "www.example.com" }),
        ),
        service(
            "default",
            "near",
            json!({ "type": "ExternalName", "externalName": "web.default.svc.cluster.local" }),
        ),
        service(
            "default",
            "loop",
            json!({ "type": "ExternalName", "externalName": "loop.default.svc.cluster.local" }),
        ),
    ];
    let endpoints = json!([
        { "addresses": ["10.244.1.2"], "hostname": "db-0", "conditions": { "ready": true } },
        { "addresses": ["10.244.1.3"] },
        { "addresses": ["10.244.1.4"], "conditions": { "ready": false } },
    ]);
    let slices = [
        slice(
            "data",
            "db",
            endpoints,
            json!([{ "name": "sql", "protocol": "TCP", "port": 15432 }]),
        ),
        slice("data", "empty", Value::Null, Value::Null),
    ];
    let networks = ["10.96.0.0/12".parse().unwrap()];
    dns::zone("cluster.local", &networks, &services, &slices).unwrap()
}

fn data(records: &[Record]) -> String {
    let mut lines: Vec<String> = records.iter().map(|record| record.data.to_string()).collect();
    lines.sort();
    lines.join(" | ")
}

/// `name TYPE` to `CODE: sorted data`, or `upstream`.
fn ask(zone: &Zone, question: &str) -> String {
    let (name, kind) = question.split_once(' ').unwrap();
    let (name, kind): (Name, RecordType) = (Name::from_ascii(format!("{name}.")).unwrap(), kind.parse().unwrap());
    let Some(answer) = zone.answer(&name, kind) else {
        return "upstream".into();
    };
    for record in answer
        .answers
        .iter()
        .chain(&answer.authorities)
        .chain(&answer.additionals)
    {
        assert_eq!(record.ttl, 5, "{question}");
    }
    let is_negative = answer.answers.is_empty();
    assert_eq!(
        answer.authorities.len(),
        usize::from(is_negative),
        "{question}: an SOA in every negative answer only"
    );
    let outside = answer.outside.map(|name| format!(" then {name}")).unwrap_or_default();
    format!("{:?}: {}{outside}", answer.code, data(&answer.answers))
        .trim()
        .to_string()
}

fn check(cases: &[(&str, &str)]) {
    let zone = zone();
    for (question, expected) in cases {
        assert_eq!(ask(&zone, question), *expected, "{question}");
    }
}

#[test]
fn services_have_addresses_ports_and_a_way_back() {
    check(&[
        ("web.default.svc.cluster.local A", "NoError: 10.96.0.50"),
        ("WEB.Default.SVC.cluster.LOCAL A", "NoError: 10.96.0.50"),
        ("web.default.svc.cluster.local AAAA", "NoError: fd00::50"),
        (
            "_http._tcp.web.default.svc.cluster.local SRV",
            "NoError: 0 100 80 web.default.svc.cluster.local.",
        ),
        (
            "_dns._udp.web.default.svc.cluster.local SRV",
            "NoError: 0 100 53 web.default.svc.cluster.local.",
        ),
        ("50.0.96.10.in-addr.arpa PTR", "NoError: web.default.svc.cluster.local."),
        ("dns-version.cluster.local TXT", "NoError: 1.1.0"),
    ]);
}

#[test]
fn headless_services_name_each_ready_endpoint() {
    check(&[
        ("db.data.svc.cluster.local A", "NoError: 10.244.1.2 | 10.244.1.3"),
        ("db-0.db.data.svc.cluster.local A", "NoError: 10.244.1.2"),
        ("10-244-1-3.db.data.svc.cluster.local A", "NoError: 10.244.1.3"),
        ("10-244-1-4.db.data.svc.cluster.local A", "NXDomain:"),
        (
            "_sql._tcp.db.data.svc.cluster.local SRV",
            "NoError: 0 50 15432 10-244-1-3.db.data.svc.cluster.local. | 0 50 15432 db-0.db.data.svc.cluster.local.",
        ),
        (
            "2.1.244.10.in-addr.arpa PTR",
            "NoError: db-0.db.data.svc.cluster.local.",
        ),
        ("empty.data.svc.cluster.local A", "NoError:"),
    ]);
}

#[test]
fn a_name_without_such_records_is_nodata_and_an_unknown_one_nxdomain() {
    check(&[
        ("db.data.svc.cluster.local AAAA", "NoError:"),
        ("web.default.svc.cluster.local MX", "NoError:"),
        ("_tcp.web.default.svc.cluster.local A", "NoError:"),
        ("default.svc.cluster.local A", "NoError:"),
        ("svc.cluster.local A", "NoError:"),
        ("cluster.local A", "NoError:"),
        ("nothing.default.svc.cluster.local A", "NXDomain:"),
        ("web.nowhere.svc.cluster.local A", "NXDomain:"),
        ("pending.data.svc.cluster.local A", "NXDomain:"),
        ("example.com.default.svc.cluster.local A", "NXDomain:"),
        ("99.0.96.10.in-addr.arpa PTR", "NXDomain:"),
    ]);
}

#[test]
fn other_names_go_upstream() {
    check(&[
        ("example.com A", "upstream"),
        ("local A", "upstream"),
        ("xcluster.local A", "upstream"),
        ("1.1.1.1.in-addr.arpa PTR", "upstream"),
    ]);
}

#[test]
fn pod_names_spell_their_address() {
    check(&[
        ("10-244-1-2.default.pod.cluster.local A", "NoError: 10.244.1.2"),
        ("10-244-1-2.default.pod.cluster.local AAAA", "NoError:"),
        ("10-244-1-999.default.pod.cluster.local A", "NXDomain:"),
        ("10-244-1-2.pod.cluster.local A", "NXDomain:"),
    ]);
}

#[test]
fn aliases_are_followed_inside_and_handed_on_outside() {
    check(&[
        (
            "ext.default.svc.cluster.local A",
            "NoError: www.example.com. then www.example.com.",
        ),
        ("ext.default.svc.cluster.local CNAME", "NoError: www.example.com."),
        (
            "near.default.svc.cluster.local A",
            "NoError: 10.96.0.50 | web.default.svc.cluster.local.",
        ),
    ]);
    // A name that is its own alias must end, whatever the answer.
    assert!(ask(&zone(), "loop.default.svc.cluster.local A").starts_with("NoError: loop."));
}

#[test]
fn srv_answers_bring_the_addresses_of_their_targets() {
    let name = Name::from_ascii("_sql._tcp.db.data.svc.cluster.local.").unwrap();
    let answer = zone().answer(&name, RecordType::SRV).unwrap();
    assert_eq!(data(&answer.additionals), "10.244.1.2 | 10.244.1.3");
}

#[test]
fn the_apex_has_an_soa_and_a_bad_domain_is_refused() {
    assert!(ask(&zone(), "cluster.local SOA").starts_with("NoError: ns.dns.cluster.local. hostmaster."));
    for domain in ["", ".", "a..b"] {
        let error = Zone::new(domain, &[]).unwrap_err().to_string();
        assert!(error.contains("cluster.local"), "{error}");
    }
}
