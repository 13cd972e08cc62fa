//! Members come to a running cluster and go, as the operators of an etcd do it: with etcdctl, and with what it prints.

use std::process::Stdio;

use crate::member::{HANG, Running, flags, free_port, url};

/// Runs etcdctl before a member; `None`, visibly, if there is none.
async fn etcdctl(member: &Running, arguments: &[&str]) -> Option<String> {
    let mut command = tokio::process::Command::new("etcdctl");
    command
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &url(member.client_port)])
        .args(["--command-timeout=60s", "--dial-timeout=60s"])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let Ok(output) = tokio::time::timeout(HANG, command.output())
        .await
        .expect("etcdctl ends")
    else {
        skip::skip("there is no etcdctl (Debian: etcd-client)");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "etcdctl {arguments:?}: {errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The variables that `member add` prints for the new member.
fn printed(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let variables = pairs.filter(|(name, _)| name.starts_with("ETCD_"));
    variables
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// Adds a member and starts it with what etcdctl printed and no more than it must be told besides.
async fn join(name: &str, peer: u16, data: &std::path::Path, through: &Running) -> Option<Running> {
    let add = ["member", "add", name, &format!("--peer-urls={}", url(peer))];
    let said = etcdctl(through, &add).await?;
    let variables = printed(&said);
    assert_eq!(variables.len(), 4, "{said}");
    Some(Running::start(flags(name, peer, data), variables))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_becomes_three_by_etcdctl() {
    let data = tempfile::tempdir().unwrap();
    let mut line = flags("a", free_port(), data.path());
    // Nobody tells the others of the token.
    line.push("--initial-cluster-token=apart".into());
    let first = Running::start(line, vec![]);
    first.put("k", "v").await;
    let cluster = first.ids().await.0;
    let mut joined = Vec::new();
    for (count, name) in [(2, "b"), (3, "c")] {
        let Some(running) = join(name, free_port(), data.path(), &first).await else {
            return first.stop().await;
        };
        let members = first.wait_for_members(count).await;
        assert_eq!(running.get("k").await, "v");
        let (its_cluster, id) = running.ids().await;
        assert_eq!(its_cluster, cluster);
        let known = members.iter().find(|member| member.id == id);
        assert_eq!(known.expect("it is a member").name, name);
        joined.push(running);
    }
    // They carry the cluster without the first, and one comes back on its data.
    first.stop().await;
    joined[0].put("k", "w").await;
    assert_eq!(joined[1].get("k").await, "w");
    for running in joined {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_joined_comes_back_on_its_data() {
    let data = tempfile::tempdir().unwrap();
    let first = Running::start(flags("a", free_port(), data.path()), vec![]);
    first.put("k", "v").await;
    let peer = free_port();
    let add = ["member", "add", "b", &format!("--peer-urls={}", url(peer))];
    let Some(said) = etcdctl(&first, &add).await else {
        return first.stop().await;
    };
    let line = flags("b", peer, data.path());
    let second = Running::start(line.clone(), printed(&said));
    first.wait_for_members(2).await;
    let ids = second.ids().await;
    second.stop().await;
    // As a unit file would that nobody touched since; the list in it could be as old as it is.
    let mut variables = printed(&said);
    for (name, value) in &mut variables {
        if name == "ETCD_INITIAL_CLUSTER" {
            *value = format!("b={}", url(peer));
        }
    }
    let second = Running::start(line, variables);
    assert_eq!(second.get("k").await, "v");
    assert_eq!(second.ids().await, ids);
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_says_so_and_comes_back_under_a_new_id() {
    let data = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port(), free_port()];
    let names = ["a", "b", "c"];
    let list = names
        .iter()
        .zip(ports)
        .map(|(name, port)| format!("{name}={}", url(port)));
    let cluster = format!("--initial-cluster={}", list.collect::<Vec<_>>().join(","));
    let start = |index: usize| {
        let mut line = flags(names[index], ports[index], data.path());
        line.push(cluster.clone());
        Running::start(line, vec![])
    };
    let (first, second, third) = (start(0), start(1), start(2));
    first.put("k", "v").await;
    first.wait_for_members(3).await;
    let (_, old) = third.ids().await;
    if etcdctl(&first, &["member", "remove", &format!("{old:x}")])
        .await
        .is_none()
    {
        return;
    }
    let reason = third.wait_for_fault().await;
    assert!(reason.contains("was removed from the cluster"), "{reason}");
    third.stop().await;
    std::fs::remove_dir_all(data.path().join("c")).unwrap();
    let third = join("c", ports[2], data.path(), &first)
        .await
        .expect("etcdctl is there");
    first.wait_for_members(3).await;
    assert_ne!(third.ids().await.1, old, "ids are never used again");
    assert_eq!(third.get("k").await, "v");
    for running in [first, second, third] {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_list_is_refused_naming_the_flag() {
    let data = tempfile::tempdir().unwrap();
    let (peer, own, nobody) = (free_port(), free_port(), free_port());
    let first = Running::start(flags("a", peer, data.path()), vec![]);
    first.put("k", "v").await;
    for (list, expected) in [
        // It was not added.
        (format!("a={},b={}", url(peer), url(own)), "member count is unequal"),
        (format!("b={}", url(own)), "it lists this member alone"),
        (
            format!("a={},b={}", url(nobody), url(own)),
            "could not retrieve cluster information from the given URLs",
        ),
    ] {
        let mut line = flags("b", own, data.path());
        line.extend([
            format!("--initial-cluster={list}"),
            "--initial-cluster-state=existing".into(),
        ]);
        let refusal = Running::start(line, vec![]).refusal().await;
        assert!(
            refusal.starts_with("--initial-cluster: ") && refusal.contains(expected),
            "{list}: {refusal}"
        );
        assert!(!data.path().join("b/member").exists(), "nothing was decided");
    }
    first.stop().await;
}
