//! What an operator does to a store: members, leadership, backups, checks. Real processes with tables on disk.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::cluster::{Cluster, SOON, missing};
use crate::harness::{eventually, output, proreus, skip, text};

/// Runs a command that must succeed, and gives back what it prints as JSON.
#[track_caller]
fn json(arguments: &[&str]) -> Value {
    let result = output(proreus().args(arguments).args(["--output", "json"]));
    assert!(result.status.success(), "{arguments:?}: {}", text(&result.stderr));
    serde_json::from_slice(&result.stdout).unwrap_or_else(|e| panic!("{arguments:?} gives no JSON: {e}"))
}

/// Runs a command that must end with exit code 1, and gives back all it prints.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let result = output(proreus().args(arguments));
    assert_eq!(result.status.code(), Some(1), "{arguments:?}: {}", text(&result.stdout));
    text(&result.stdout) + &text(&result.stderr)
}

/// Changes a byte in the middle of the first batch of a master's log.
fn damage(directory: &Path) {
    let log = directory.join("master-1/var/lib/proreus/log");
    let mut segments: Vec<_> = log.read_dir().unwrap().flatten().map(|entry| entry.path()).collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "log"));
    segments.sort();
    let mut content = std::fs::read(&segments[0]).unwrap();
    content[4096 + 60] ^= 1;
    std::fs::write(&segments[0], content).unwrap();
}

#[test]
fn a_cluster_is_seen_led_backed_up_checked_and_restored() {
    if let Some(reason) = missing("kubectl") {
        return skip(&reason);
    }
    let mut cluster = Cluster::start(3, 0, &[]);
    let directory = cluster.directory().to_path_buf();
    let data = directory.to_str().unwrap();
    let file = directory.join("backup.db");
    let file = file.to_str().unwrap();

    let members = json(&["member", "list", "--data-dir", data]);
    let names: Vec<&str> = members["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["master-1", "master-2", "master-3"]);
    // Leaders may change by themselves on a machine that is short of time.
    eventually("the leadership moves", SOON, || {
        let leader = json(&["leader", "show", "--data-dir", data]);
        let target = names.iter().find(|name| leader["name"] != **name)?;
        let moved = output(proreus().args(["leader", "move", target, "--data-dir", data]));
        let now = json(&["leader", "show", "--data-dir", data]);
        (moved.status.success() && now["name"] == **target).then_some(())
    });
    assert!(refused(&["member", "promote", "master-1", "--data-dir", data]).contains("can only promote a learner"));
    assert!(refused(&["member", "remove", "nobody", "--data-dir", data]).contains("no one member"));
    assert!(refused(&["compact", "999999999", "--data-dir", data]).contains("required revision is a future revision"));
    assert!(refused(&["verify", data]).contains("a member runs on"));

    cluster.kubectl(&["create", "configmap", "kept", "--from-literal=a=b"]);
    let saved = json(&["backup", "save", file, "--data-dir", data]);
    assert!(saved["revision"].as_i64().unwrap() > 1, "{saved}");
    assert_eq!(json(&["backup", "status", file])["sha256"], saved["sha256"]);
    cluster.kubectl(&["create", "configmap", "later", "--from-literal=a=b"]);
    assert!(refused(&["restore", file, "--data-dir", data]).contains("stop it first"));

    cluster.stop();
    let found = json(&["verify", data]);
    for member in found["members"].as_array().unwrap() {
        assert_eq!(member["problems"], Value::Array(vec![]), "{member}");
        assert!(member["tables"]["keys"].as_i64().unwrap() > 0, "{member}");
    }
    damage(&directory);
    let problems = refused(&["verify", data]);
    assert!(
        problems.contains(".log") && problems.contains("byte 4096"),
        "{problems}"
    );

    let restored = json(&["restore", file, "--data-dir", data]);
    assert!(restored["revision"].as_i64().unwrap() > 1_000_000_000, "{restored}");
    assert_eq!(json(&["verify", data])["members"][0]["problems"], Value::Array(vec![]));
    cluster.restart();
    assert_eq!(
        cluster.kubectl(&["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]),
        "b"
    );
    assert!(
        cluster
            .kubectl_fails(&["get", "configmap", "later"])
            .contains("not found")
    );
    cluster.kubectl(&["create", "configmap", "new", "--from-literal=a=b"]);
    cluster.stop();
    // It goes on as the restored cluster.
    cluster.restart();
    assert_eq!(
        cluster.kubectl(&["get", "configmap", "new", "-o", "jsonpath={.data.a}"]),
        "b"
    );
}

/// A `proreus store`, ended with the value.
struct Member {
    process: Child,
    url: String,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn store(name: &str, peer_url: &str, directory: &Path, variables: &Value) -> Member {
    let url = format!("http://127.0.0.1:{}", free_port());
    let mut command: Command = proreus();
    command
        .args(["store", "--name", name, "--data-dir"])
        .arg(directory.join(name));
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    command.args([
        "--listen-peer-urls",
        peer_url,
        "--initial-advertise-peer-urls",
        peer_url,
    ]);
    for (name, value) in variables.as_object().into_iter().flatten() {
        command.env(name, value.as_str().unwrap());
    }
    let process = command.stderr(Stdio::null()).spawn().unwrap();
    Member { process, url }
}

fn wait_for_voters(member: &Member, count: usize) {
    eventually("the members have joined", SOON, || {
        let list = output(proreus().args(["member", "list", "-o", "json", "--endpoints", &member.url]));
        let list: Value = serde_json::from_slice(&list.stdout).ok()?;
        let members = list["members"].as_array()?;
        let joined = |member: &Value| member["started"] == true && member["learner"] == false;
        (members.len() == count && members.iter().all(joined)).then_some(())
    });
}

#[test]
fn a_store_grows_by_a_member_and_a_restored_one_starts() {
    let directory = tempfile::tempdir().unwrap();
    let peer_url = || format!("http://127.0.0.1:{}", free_port());
    let one = store("one", &peer_url(), directory.path(), &Value::Null);
    wait_for_voters(&one, 1);
    let second = peer_url();
    let added = json(&["member", "add", "two", "--peer-urls", &second, "--endpoints", &one.url]);
    let two = store("two", &second, directory.path(), &added["startWith"]);
    wait_for_voters(&one, 2);
    let leader = json(&["leader", "show", "--endpoints", &two.url]);
    assert!(["one", "two"].contains(&leader["name"].as_str().unwrap()), "{leader}");
    let shown = output(proreus().args(["member", "list", "--endpoints", &two.url]));
    assert!(
        text(&shown.stdout).starts_with("ID"),
        "a table: {}",
        text(&shown.stdout)
    );

    let file = directory.path().join("backup.db");
    let file = file.to_str().unwrap();
    json(&["backup", "save", file, "--endpoints", &two.url]);
    drop((one, two));
    let restored = directory.path().join("three");
    let (third, restored) = (peer_url(), restored.to_str().unwrap());
    let restore = ["restore", file, "--data-dir", restored, "--name", "three"];
    json(&[&restore[..], &["--initial-advertise-peer-urls", &third]].concat());
    assert!(refused(&restore).contains("is not empty"));
    let three = store("three", &third, directory.path(), &Value::Null);
    wait_for_voters(&three, 1);
}

#[test]
fn a_cluster_that_cannot_be_reached_is_named() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let error = refused(&["member", "list", "--endpoints", &nobody]);
    assert!(error.contains("--endpoints") && error.contains(&nobody), "{error}");
    let error = refused(&["leader", "show", "--endpoints", &format!("https://{nobody}")]);
    assert!(error.contains("--cacert"), "{error}");
    let wrong = output(proreus().args(["compact", "none"]));
    assert_eq!(wrong.status.code(), Some(2), "a wrong command line");
}
