//! The store under a cluster: three masters, real etcdctl and kubectl, and members killed without warning.

use std::time::Instant;

use crate::harness::cluster::{self, Cluster, SOON, missing, nothing_is_left};
use crate::harness::{eventually, output, proreus, skip, text};

#[test]
fn acknowledged_writes_survive_any_killed_master() {
    if let Some(reason) = missing("etcdctl").or_else(|| missing("kubectl")) {
        return skip(&reason);
    }
    let mut cluster = Cluster::start(3, 0, &[]);
    for round in 0..3 {
        let acknowledged: Vec<String> = (0..20).map(|n| format!("round-{round}-{n}")).collect();
        for key in &acknowledged {
            cluster.etcdctl(&format!("put {key} value"));
        }
        let killed = cluster.kill_leader();
        let start = Instant::now();
        eventually("writes are accepted again", SOON, || {
            write_somewhere(&cluster, &format!("after-{round}"))
        });
        println!("writes again after {} ms", start.elapsed().as_millis());
        let seen = text(
            &output(&mut etcdctl(
                &cluster,
                &format!("get round-{round}- --prefix --keys-only"),
            ))
            .stdout,
        );
        for key in &acknowledged {
            assert!(seen.contains(key.as_str()), "{key} was acknowledged and is lost");
        }
        cluster.kubectl(&["create", "configmap", &format!("round-{round}"), "--from-literal=a=b"]);
        cluster.start_again(&killed);
    }
    cluster.restart();
    assert!(
        cluster.etcdctl("get round-0-0").contains("value"),
        "data survives a restart of all masters"
    );
    assert!(
        cluster
            .kubectl(&["get", "configmap", "round-2", "-o", "jsonpath={.data.a}"])
            .contains('b')
    );
}

fn etcdctl(cluster: &Cluster, arguments: &str) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    let directory = cluster.directory().display().to_string();
    command.args([
        "-c",
        &format!(
            ". '{directory}/env' && exec {} --command-timeout=2s {arguments}",
            cluster::etcdctl(arguments)
        ),
    ]);
    command
}

fn write_somewhere(cluster: &Cluster, key: &str) -> Option<()> {
    output(&mut etcdctl(cluster, &format!("put {key} value")))
        .status
        .success()
        .then_some(())
}

#[test]
fn etcdctl_works_against_each_member() {
    if let Some(reason) = missing("etcdctl") {
        return skip(&reason);
    }
    let cluster = Cluster::start(3, 0, &[]);
    let members = cluster.etcdctl("member list -w json");
    let members: serde_json::Value = serde_json::from_str(&members).unwrap();
    assert_eq!(members["members"].as_array().unwrap().len(), 3);
    for member in members["members"].as_array().unwrap() {
        let endpoint = member["clientURLs"][0].as_str().unwrap();
        let name = member["name"].as_str().unwrap();
        let at = |arguments: &str| cluster.etcdctl(&format!("--endpoints={endpoint} {arguments}"));
        at(&format!("put dir/{name} one"));
        at(&format!("put dir/{name} two"));
        assert!(at("get dir/ --prefix").contains(&format!("dir/{name}\ntwo")));
        let txn = format!("txn <<'X'\nversion(\"dir/{name}\") = \"2\"\n\nput dir/{name} three\n\nget nothing\n\nX");
        assert!(at(&txn).contains("SUCCESS"));
        let lease = at("lease grant 600");
        let id = lease.split_whitespace().nth(1).unwrap().to_string();
        at(&format!("put leased value --lease={id}"));
        assert!(at(&format!("lease timetolive {id} --keys")).contains("leased"));
        at(&format!("lease revoke {id}"));
        assert!(!at("get leased").contains("value"), "revoking a lease deletes its keys");
        assert!(at("endpoint status -w json").contains("\"leader\""));
        let revision: serde_json::Value = serde_json::from_str(&at(&format!("get dir/{name} -w json"))).unwrap();
        let first = revision["kvs"][0]["create_revision"].as_i64().unwrap();
        let watched = watch_past(&cluster, endpoint, &format!("dir/{name}"), first);
        assert!(
            watched.contains("one") && watched.contains("two") && watched.contains("three"),
            "{watched}"
        );
        assert!(at(&format!("del dir/{name}")).contains('1'));
        assert!(at("get /registry/namespaces/ --prefix --keys-only").contains("/registry/namespaces/default"));
    }
}

/// What a watch from an old revision delivers at once: it is read until the last of the three values has come.
fn watch_past(cluster: &Cluster, endpoint: &str, key: &str, revision: i64) -> String {
    let file = cluster.directory().join("watched");
    let mut command = etcdctl(cluster, &format!("--endpoints={endpoint} watch {key} --rev={revision}"));
    let mut child = command.stdout(std::fs::File::create(&file).unwrap()).spawn().unwrap();
    let read = || {
        std::fs::read_to_string(&file)
            .ok()
            .filter(|seen| seen.contains("three"))
    };
    let seen = eventually("the watch delivers the past", SOON, read);
    let _ = child.kill();
    let _ = child.wait();
    seen
}

#[test]
fn a_second_server_on_the_same_data_disturbs_nothing() {
    let mut cluster = Cluster::start(1, 0, &[]);
    let before = cluster.leader();
    let config = cluster.directory().join("master-1/config.yaml");
    let refused = output(proreus().args(["server", "--config"]).arg(config));
    assert!(!refused.status.success());
    let message = text(&refused.stderr);
    assert!(message.contains("another `proreus server`"), "{message}");
    assert_eq!(
        cluster.leader()["pid"],
        before["pid"],
        "the status still finds the one that runs"
    );
    cluster.stop();
    nothing_is_left(&cluster);
}
