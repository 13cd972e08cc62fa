//! Who may import whom. Crates cannot import in circles; these are the rules beyond that: the loop of the control plane
//! closes only through the API, and what must stay deterministic stays free of I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Crate, its directory, and the crates of this workspace it may use.
const LAYERS: [(&str, &str, &[&str]); 23] = [
    ("proto", "proto", &[]),
    ("api", "proto/api", &[]),
    ("pki", "proto/pki", &[]),
    ("mvcc", "raftstore/mvcc", &["proto"]),
    ("backend", "raftstore/backend", &["mvcc"]),
    ("raftstore", "raftstore", &["proto", "mvcc", "pki"]),
    ("durable", "raftstore/durable", &["raftstore", "backend"]),
    ("memory", "raftstore/memory", &["raftstore", "mvcc"]),
    ("etcd", "raftstore/etcd", &["proto", "raftstore", "mvcc", "pki"]),
    ("storage", "apiserver/storage", &["api", "raftstore", "mvcc", "proto"]),
    ("apiserver", "apiserver", &["api", "pki", "storage"]),
    ("client", "agents/client", &["api", "pki"]),
    ("scheduler", "agents/scheduler", &["api", "client"]),
    ("controllers", "agents/controllers", &["api", "client", "pki"]),
    ("kubelet", "agents/kubelet", &["api", "client", "pki"]),
    ("proxy", "agents/proxy", &["api", "client"]),
    ("dns", "agents/dns", &["api", "client"]),
    ("checker", "jepsen/checker", &[]),
    (
        "simulator",
        "jepsen/simulator",
        &["raftstore", "mvcc", "proto", "storage"],
    ),
    ("jepsen", "jepsen", &["checker", "proto", "pki"]),
    ("skip", "tests/skip", &[]),
    ("bench", "tests/bench", &["proto"]),
    ("proreus", ".", &["*"]),
];

/// What a crate's own tests may use beyond its layer, and why. Nothing of it is linked into the product.
const TESTED_WITH: [(&str, &[&str], &str); 5] = [
    (
        "controllers",
        &["apiserver", "memory"],
        "what RBAC or validation would refuse the controllers is refused in their tests",
    ),
    (
        "apiserver",
        &["raftstore", "memory"],
        "its tests serve a real store in memory",
    ),
    ("storage", &["memory"], "its tests write to a real store in memory"),
    ("etcd", &["memory"], "its tests open the door of a real store in memory"),
    (
        "backend",
        &["proto"],
        "its tests are mvcc's scripts, whose commands are messages",
    ),
];

/// External crates that may be linked in one place only, or not at all there, and why.
const CONFINED: [(&str, &[&str], &str); 3] = [
    ("rocksdb", &["backend"], "only the backend links RocksDB"),
    (
        "openraft",
        &["raftstore", "memory", "simulator"],
        "consensus is raftstore's; the simulator is its runtime and network, and memory names its usual runtime",
    ),
    ("hickory-server", &["dns"], "DNS is the dns crate's"),
];

/// Crates that must stay pure: no runtime, no network.
const PURE: [(&str, &[&str]); 3] = [
    ("mvcc", &["tokio", "tonic", "rocksdb", "openraft"]),
    ("api", &["tokio", "tonic", "hyper"]),
    ("checker", &["tokio", "tonic", "hyper"]),
];

#[test]
fn crates_import_only_what_their_layer_may() {
    let ours: BTreeSet<&str> = LAYERS.iter().map(|(name, ..)| *name).collect();
    for (name, directory, allowed) in LAYERS {
        for dependency in section(directory, "dependencies")
            .iter()
            .filter(|d| ours.contains(d.as_str()))
        {
            let fine = allowed.contains(&"*") || allowed.contains(&dependency.as_str());
            assert!(fine, "{name} must not depend on {dependency}: see docs/architecture.md");
        }
        let tested_with = TESTED_WITH.iter().find(|(of, ..)| *of == name);
        let tested_with = tested_with.map_or(&[][..], |(_, crates, _)| crates);
        let everywhere = &["skip"];
        for dependency in section(directory, "dev-dependencies")
            .iter()
            .filter(|d| ours.contains(d.as_str()))
        {
            let fine = allowed
                .iter()
                .chain(tested_with)
                .chain(everywhere)
                .any(|a| [dependency, "*"].contains(a));
            assert!(
                fine,
                "the tests of {name} must not use {dependency}: name it in TESTED_WITH if they need it"
            );
        }
    }
}

#[test]
fn confined_and_impure_crates_stay_where_they_belong() {
    let all: BTreeMap<&str, BTreeSet<String>> = LAYERS
        .iter()
        .map(|(name, dir, _)| (*name, section(dir, "dependencies")))
        .collect();
    for (external, places, why) in CONFINED {
        for (name, _) in all.iter().filter(|(_, used)| used.contains(external)) {
            assert!(places.contains(name), "{name} must not depend on {external}: {why}");
        }
    }
    for (name, banned) in PURE {
        let used: Vec<_> = banned.iter().filter(|b| all[name].contains(**b)).collect();
        assert!(used.is_empty(), "{name} is pure and must not depend on {used:?}");
    }
}

#[test]
fn every_workspace_member_is_in_the_table() {
    let listed: BTreeSet<&str> = LAYERS.iter().map(|(_, directory, _)| *directory).collect();
    let manifest = read(".");
    let members = manifest
        .split("members = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next())
        .unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        assert!(listed.contains(member), "{member} is missing from the table of layers");
    }
}

#[test]
fn one_crypto_provider_is_linked() {
    let lock = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    assert!(
        !lock.contains("name = \"aws-lc-sys\""),
        "a second crypto provider makes rustls panic at run time"
    );
}

#[test]
fn host_names_are_ascii() {
    let lock = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    assert!(
        !lock.contains("name = \"icu_normalizer\""),
        "Unicode tables for host names that Kubernetes forbids take minutes to compile: \
         cargo update -p idna_adapter --precise 1.0.0"
    );
}

/// The names in a section of a crate's manifest. Build dependencies may cross layers.
fn section(directory: &str, name: &str) -> BTreeSet<String> {
    let manifest = read(directory);
    let section = manifest.split(&format!("\n[{name}]\n")).nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    names
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(String::from)
        .collect()
}

fn read(directory: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory).join("Cargo.toml");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}
