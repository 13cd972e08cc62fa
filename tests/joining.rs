//! A cluster of several machines by command: the first master, masters and nodes that join, and machines that leave and are
//! reset. Machines are network namespaces with a root directory of their own.

use crate::harness::cluster::{LATER, SOON, missing_for_nodes};
use crate::harness::hosts::{Hosts, missing_for_hosts};
use crate::harness::{eventually, images, skip};

/// The words of the command that `init` or `token create` prints for a master or a node, without the program.
fn join_words(said: &str, master: bool) -> String {
    let lines = said.lines().map(str::trim);
    let mut commands = lines.filter_map(|line| line.split_once(" join ").map(|(_, words)| format!("join {words}")));
    let command = commands.find(|words| words.contains("--token ") && words.contains("--control-plane") == master);
    command.unwrap_or_else(|| panic!("no command to join is in:\n{said}"))
}

/// The flag's value in a command.
fn value(words: &str, flag: &str) -> String {
    let mut words = words.split(' ').skip_while(|word| *word != flag);
    words.nth(1).expect("the flag is there").to_owned()
}

/// Changes the last character, which is a digit or a letter up to f.
fn changed(text: &str) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

fn voters(names: &[&str]) -> Vec<(String, bool)> {
    names.iter().map(|name| ((*name).to_owned(), true)).collect()
}

#[test]
fn masters_join_in_parallel_survive_one_and_leave_nothing() {
    if let Some(reason) = missing_for_hosts() {
        return skip(&reason);
    }
    let hosts = Hosts::new(3);
    let said = hosts.does(0, "init --node-name m0 --upload-certs --token-ttl 1h");
    let words = join_words(&said, true);
    assert_eq!(hosts.members(0), Some(voters(&["m0"])));
    let map = hosts.kubectl(
        0,
        "get configmap -n kube-system kubeadm-config -o jsonpath={.data.ClusterConfiguration}",
    );
    assert!(map.contains("10.96.0.0/12"), "{map}");

    // Both at once, and the store takes them one after the other.
    std::thread::scope(|scope| {
        let join = |host: usize| {
            let (hosts, words) = (&hosts, format!("{words} --node-name m{host}"));
            scope.spawn(move || hosts.does(host, &words))
        };
        for joined in [join(1), join(2)] {
            let said = joined.join().expect("it joins");
            assert!(said.contains("a voting member of the store"), "{said}");
        }
    });
    for host in 0..3 {
        assert_eq!(hosts.members(host), Some(voters(&["m0", "m1", "m2"])));
        hosts.kubectl(host, &format!("create configmap from-{host}"));
    }
    assert!(
        hosts
            .refuses(1, &format!("{words} --node-name m1"))
            .contains("[FileAvailable-server]")
    );

    // The first one is a master like the others.
    hosts.kill(0, "server.pid");
    eventually("the others go on", SOON, || {
        hosts.try_kubectl(1, "create configmap without-m0")
    });
    hosts.does(0, "init phase control-plane");
    hosts.does(0, "init phase wait-control-plane");
    eventually("it is back", SOON, || hosts.try_kubectl(0, "get configmap without-m0"));

    // Certificates are renewed in place, and the servers show the new ones.
    let listed = hosts.does(1, "certs list");
    for name in ["admin.conf", "apiserver", "etcd-server", "etcd-peer", "front-proxy-ca"] {
        assert!(listed.lines().any(|line| line.starts_with(name)), "{listed}");
    }
    hosts.does(1, "certs renew all");
    hosts.kubectl(1, "get configmap without-m0");

    assert!(hosts.does(2, "leave").contains("no member of the store any more"));
    assert_eq!(hosts.members(0), Some(voters(&["m0", "m1"])));
    // It comes back under a new id, with its data gone.
    hosts.does(2, "reset --force");
    hosts.nothing_is_left(2);
    hosts.does(2, &format!("{words} --node-name m2"));
    assert_eq!(hosts.members(0), Some(voters(&["m0", "m1", "m2"])));

    // A reset takes the machine out of the store by itself, down to the last.
    for (host, left) in [(0, &["m1", "m2"][..]), (1, &["m2"])] {
        hosts.does(host, "reset --force");
        hosts.nothing_is_left(host);
        assert_eq!(hosts.members(2), Some(voters(left)));
    }
    hosts.kubectl(2, "get configmap from-0 from-1 from-2 without-m0");
    assert!(hosts.refuses(2, "leave").contains("this is the last master"));
    hosts.does(2, "reset --force");
    hosts.nothing_is_left(2);
}

#[test]
fn who_joins_knows_the_cluster_and_the_cluster_knows_them() {
    if let Some(reason) = missing_for_hosts() {
        return skip(&reason);
    }
    let hosts = Hosts::new(2);
    let said = hosts.does(0, "init --node-name m0 --upload-certs");
    let words = join_words(&said, true);
    let (token, pin) = (
        value(&words, "--token"),
        value(&words, "--discovery-token-ca-cert-hash"),
    );
    let key = value(&words, "--certificate-key");
    let with = |old: &str, new: &str| words.replace(old, new);
    assert!(!hosts.does(0, "token list").contains("<expired>"));

    // Tokens that the cluster never knew, does not know any more, and does not know long enough.
    let deleted = hosts.does(0, "token create --ttl 1h --description to-be-deleted");
    let deleted = deleted.trim();
    assert!(hosts.does(0, "token list").contains("to-be-deleted"));
    hosts.does(0, &format!("token delete {deleted}"));
    assert!(!hosts.does(0, "token list").contains("to-be-deleted"));
    let expired = hosts.does(0, "token create --ttl 1s");
    let expired = expired.trim();
    eventually("it has expired", SOON, || {
        let list = hosts.does(0, "token list");
        (!list.contains(expired) || list.contains("<expired>")).then_some(())
    });
    let unknown = hosts.does(0, "token generate");
    std::thread::scope(|scope| {
        let tokens = [unknown.trim(), deleted, expired];
        let tries = tokens.map(|other| {
            let (words, hosts) = (with(&token, other), &hosts);
            scope.spawn(move || hosts.refuses(1, &words))
        });
        for refused in tries {
            let why = refused.join().unwrap();
            assert!(why.contains("--token: the cluster knows no token"), "{why}");
        }
    });
    // The id of one that is known does not help.
    let why = hosts.refuses(1, &with(&token, &changed(&token)));
    assert!(why.contains("did not sign with this token"), "{why}");
    let why = hosts.refuses(1, &with(&pin, &changed(&pin)));
    assert!(
        why.contains("--discovery-token-ca-cert-hash") && why.contains(&pin),
        "{why}"
    );
    let why = hosts.refuses(1, &with(&key, &changed(&key)));
    assert!(
        why.contains("--certificate-key: ca.crt: it was sealed with another key"),
        "{why}"
    );
    assert!(
        !hosts.root(1).join("etc/kubernetes/pki/ca.key").exists(),
        "nothing was decided"
    );
    assert_eq!(hosts.members(0), Some(voters(&["m0"])), "nobody was added");

    // A token does what it is for and no more.
    let kubectl = format!(
        "--kubeconfig /dev/null --insecure-skip-tls-verify --server https://{}:6443 --token {token}",
        hosts.address(0)
    );
    assert!(
        hosts
            .try_kubectl(1, &format!("{kubectl} get secret -n kube-system kubeadm-certs"))
            .is_some()
    );
    for forbidden in [
        "get secrets -n kube-system",
        "get secret -n kube-system bootstrap-token-abcdef",
        "get pods",
        "delete configmap -n kube-public cluster-info",
    ] {
        assert!(
            hosts.try_kubectl(1, &format!("{kubectl} {forbidden}")).is_none(),
            "{forbidden}"
        );
    }
    hosts.does(1, &format!("{words} --node-name m1"));
    hosts.does(1, "reset --force");
    hosts.nothing_is_left(1);

    // Whoever founded the cluster does not found another one in its place.
    hosts.kill(0, "server.pid");
    std::fs::remove_dir_all(hosts.root(0).join("var/lib/proreus")).unwrap();
    let config = hosts.root(0).join("etc/proreus/server.yaml");
    let why = hosts.refuses(0, &format!("server --config {}", config.display()));
    assert!(why.contains("the data of this master is gone"), "{why}");
    hosts.does(0, "reset --force");
    hosts.nothing_is_left(0);
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: 'proreus.test/web:1'}
";

#[test]
fn nodes_join_run_pods_and_leave_nothing() {
    if let Some(reason) = missing_for_hosts().or_else(missing_for_nodes) {
        return skip(&reason);
    }
    let hosts = Hosts::new(3);
    let archives = hosts.directory().join("images");
    std::fs::create_dir(&archives).unwrap();
    images::web(&archives, 1);
    hosts.does(0, "init --node-name m0");
    let said = hosts.does(0, "token create --print-join-command");
    let words = join_words(&said, false);
    std::thread::scope(|scope| {
        for (host, name) in [(0, "m0"), (1, "n1"), (2, "n2")] {
            let words = format!("{words} --node-name {name} --images {}", archives.display());
            let hosts = &hosts;
            scope.spawn(move || hosts.does(host, &words));
        }
    });
    hosts.kubectl(0, "wait --for=condition=Ready node/m0 node/n1 node/n2 --timeout=120s");
    let roles = hosts.kubectl(0, "get node -l node-role.kubernetes.io/control-plane -o jsonpath={.items[*].metadata.name}{.items[*].spec.taints[*].key}");
    assert!(
        roles.starts_with("m0") && roles.contains("node-role.kubernetes.io/control-plane"),
        "{roles}"
    );
    let manifest = hosts.directory().join("pod.yaml");
    std::fs::write(&manifest, POD).unwrap();
    eventually("the pod is taken", SOON, || {
        hosts.try_kubectl(0, &format!("apply -f {}", manifest.display()))
    });
    hosts.kubectl(0, "wait --for=condition=Ready pod/a --timeout=120s");

    // Nobody is trusted as a node's API until somebody has said so.
    assert!(hosts.try_kubectl(0, "logs a").is_none(), "the certificate is nobody's");
    let requests = eventually("all ask for certificates to serve with", SOON, || {
        let path = "jsonpath={.items[?(@.spec.signerName=='kubernetes.io/kubelet-serving')].metadata.name}";
        let names = hosts.kubectl(0, &format!("get csr -o {path}"));
        (names.split_whitespace().count() == 3).then_some(names)
    });
    hosts.kubectl(0, &format!("certificate approve {}", requests.trim()));
    let log = eventually("the log can be read", LATER, || hosts.try_kubectl(0, "logs a"));
    assert!(log.contains("serving version 1"), "{log}");
    let taken = hosts.refuses(2, &format!("{words} --node-name n1 --ignore-preflight-errors=all"));
    assert!(taken.contains("there is a node n1 already"), "{taken}");

    // A node that leaves is no node any more; one that is only reset stays known, and not ready.
    let admin = hosts.kubeconfig(0);
    hosts.does(1, &format!("leave --kubeconfig {}", admin.display()));
    assert!(hosts.try_kubectl(0, "get node n1").is_none());
    for host in [1, 2] {
        hosts.does(host, "reset --force");
        hosts.nothing_is_left(host);
    }
    hosts.kubectl(0, "get node n2");
    hosts.does(0, "reset --force");
    hosts.nothing_is_left(0);
}
