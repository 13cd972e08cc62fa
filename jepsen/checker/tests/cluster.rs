//! The promises of Pods and addresses, kept and broken.

use checker::cluster::PodState;
use checker::cluster::addresses::{self, Claim, Space};
use checker::cluster::pods::{self, Run};

fn state(resource_version: u64, uid: &str, node: Option<&str>, address: Option<&str>) -> PodState {
    PodState {
        resource_version,
        namespace: "default".into(),
        name: "web".into(),
        uid: uid.into(),
        node: node.map(String::from),
        address: address.map(String::from),
        ended: false,
    }
}

#[test]
fn a_pod_is_bound_once() {
    let fine = [
        state(3, "a", None, None),
        state(4, "a", Some("n1"), None),
        state(9, "b", Some("n2"), None),
    ];
    assert!(pods::bound_once(&fine).is_valid());
    let rebound = [state(9, "a", Some("n2"), None), state(4, "a", Some("n1"), None)];
    assert!(pods::bound_once(&rebound).has("bound-twice"));
    let unbound = [state(4, "a", Some("n1"), None), state(5, "a", None, None)];
    assert!(pods::bound_once(&unbound).has("unbound"));
}

#[test]
fn a_name_is_alive_on_one_node_at_a_time() {
    let run = |uid: &str, node: &str, started_ns, stopped_ns| Run {
        namespace: "default".into(),
        name: "db-0".into(),
        uid: uid.into(),
        node: node.into(),
        started_ns,
        stopped_ns,
    };
    let handed_over = [run("a", "n1", 0, Some(10)), run("b", "n2", 10, None)];
    assert!(pods::one_live_pod_of_a_name(&handed_over).is_valid());
    let restarted = [run("a", "n1", 0, None), run("a", "n1", 5, None)];
    assert!(
        pods::one_live_pod_of_a_name(&restarted).is_valid(),
        "one node may tell of one pod twice"
    );
    let split = [run("a", "n1", 0, None), run("b", "n2", 10, None)];
    assert!(pods::one_live_pod_of_a_name(&split).has("two-live-pods"));
}

#[test]
fn an_address_has_one_owner_at_a_time() {
    let claim = |owner: &str, from, until| Claim {
        space: Space::ClusterIp,
        address: "10.96.0.7".into(),
        owner: owner.into(),
        from,
        until,
    };
    assert!(addresses::given_once(&[claim("a", 1, Some(5)), claim("b", 5, None)]).is_valid());
    assert!(addresses::given_once(&[claim("b", 4, None), claim("a", 1, Some(5))]).has("address-given-twice"));
    let long = [claim("a", 1, None), claim("b", 2, Some(3)), claim("c", 4, Some(5))];
    assert_eq!(addresses::given_once(&long).anomaly_count, 2);
    let ended = PodState {
        ended: true,
        ..state(6, "a", Some("n1"), Some("10.244.0.2"))
    };
    let states = [
        state(4, "a", Some("n1"), Some("10.244.0.2")),
        ended,
        state(7, "b", Some("n1"), Some("10.244.0.2")),
    ];
    assert!(addresses::given_once(&addresses::of_pods(&states)).is_valid());
    let shared = [
        state(4, "a", None, Some("10.244.0.2")),
        state(7, "b", None, Some("10.244.0.2")),
    ];
    assert!(addresses::given_once(&addresses::of_pods(&shared)).has("address-given-twice"));
}
