//! The cluster's promises, kept and broken.

use checker::History;
use checker::cluster::PodState;
use checker::cluster::addresses::{self, Claim, Space};
use checker::cluster::objects::{self, Call, Object, Return};
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

fn object(uid: &str, resource_version: u64) -> Object {
    Object {
        key: "web".into(),
        uid: uid.into(),
        resource_version,
        value: "v".into(),
    }
}

fn answer(objects: Vec<Object>) -> Return {
    Return {
        resource_version: objects.last().map(|object| object.resource_version),
        objects,
    }
}

fn judge(ops: Vec<(Call, Return)>) -> checker::Verdict {
    let mut history = History::new();
    for (call, answer) in ops {
        history.invoke(1, 0, call);
        history.ok(1, 0, answer);
    }
    objects::check(&history.operations().unwrap())
}

#[test]
fn objects_keep_their_promises() {
    let create = (
        Call::Create {
            key: "web".into(),
            value: "v".into(),
        },
        answer(vec![object("a", 5)]),
    );
    let update = |version| {
        (
            Call::Update {
                key: "web".into(),
                resource_version: 5,
                value: "w".into(),
            },
            answer(vec![object("a", version)]),
        )
    };
    let delete = (
        Call::Delete {
            key: "web".into(),
            uid: "a".into(),
        },
        answer(vec![]),
    );
    let get = |uid, version| (Call::Get { key: "web".into() }, answer(vec![object(uid, version)]));
    let list = |version| {
        (
            Call::List,
            Return {
                resource_version: Some(version),
                objects: vec![],
            },
        )
    };
    let fine = vec![
        create.clone(),
        update(6),
        get("a", 6),
        list(7),
        delete.clone(),
        get("b", 9),
        list(9),
    ];
    assert!(judge(fine).is_valid());
    assert!(judge(vec![list(7), list(6)]).has("resource-version-backwards"));
    assert!(judge(vec![create.clone(), delete, get("a", 5)]).has("deleted-came-back"));
    assert!(judge(vec![create.clone(), update(6), update(7)]).has("two-winners"));
    assert!(judge(vec![create, update(6), get("a", 5)]).has("stale-read"));
    let other = Object {
        key: "other".into(),
        ..object("a", 3)
    };
    assert!(judge(vec![(Call::List, answer(vec![other, object("a", 5)]))]).has("uid-reused"));
}
