//! etcd, with TLS like proreus, and with checks for corruption on.

use std::process::Command;

use super::Db;

pub(super) fn command(db: &Db, index: usize) -> Command {
    let member = &db.members[index];
    let pki = member.root.join("etc/kubernetes/pki/etcd");
    let file = |name: &str| pki.join(name).display().to_string();
    let peers: Vec<String> = db
        .members
        .iter()
        .enumerate()
        .filter(|(other, _)| db.belongs(*other))
        .map(|(_, m)| format!("{}=https://{}:2380", m.name, m.address))
        .collect();
    let (client, peer) = (
        format!("https://{}:2379", member.address),
        format!("https://{}:2380", member.address),
    );
    let mut command = Command::new(&db.program);
    command.args([
        "--name",
        &member.name,
        "--initial-cluster",
        &peers.join(","),
        "--initial-cluster-token",
        "jepsen",
    ]);
    if db.rejoined(index).is_some() {
        command.args(["--initial-cluster-state", "existing"]);
    }
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args([
        "--cert-file",
        &file("server.crt"),
        "--key-file",
        &file("server.key"),
        "--client-cert-auth",
    ]);
    command.args([
        "--trusted-ca-file",
        &file("ca.crt"),
        "--peer-trusted-ca-file",
        &file("ca.crt"),
    ]);
    command.args([
        "--peer-cert-file",
        &file("peer.crt"),
        "--peer-key-file",
        &file("peer.key"),
    ]);
    command.args([
        "--peer-client-cert-auth",
        "--experimental-initial-corrupt-check",
        "--logger",
        "zap",
    ]);
    command.arg("--data-dir").arg(db.data(index));
    command
}
