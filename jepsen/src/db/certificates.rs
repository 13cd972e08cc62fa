//! One set of certificates, under kubeadm's names, for either database.

use std::net::IpAddr;
use std::path::Path;

use pki::{Ca, Leaf};

use super::Member;

/// Certificates of each master that the clients do not use, and their common names.
const FROM_CLUSTER_CA: [(&str, &str); 1] = [("apiserver-kubelet-client", "kube-apiserver-kubelet-client")];

pub(super) fn write(directory: &Path, members: &[Member]) -> anyhow::Result<()> {
    let cluster = Ca::generate("kubernetes")?;
    let etcd = Ca::generate("etcd-ca")?;
    let proxy = Ca::generate("front-proxy-ca")?;
    let shared = directory.join("pki/shared");
    std::fs::create_dir_all(shared.join("etcd"))?;
    cluster.write(&shared.join("ca.crt"), &shared.join("ca.key"))?;
    etcd.write(&shared.join("etcd/ca.crt"), &shared.join("etcd/ca.key"))?;
    proxy.write(&shared.join("front-proxy-ca.crt"), &shared.join("front-proxy-ca.key"))?;
    pki::jwt::ensure_key_pair(&shared.join("sa.key"), &shared.join("sa.pub"))?;
    for member in members {
        write_member(
            &shared,
            &member.root.join("etc/kubernetes/pki"),
            member,
            [&cluster, &etcd, &proxy],
        )?;
    }
    let client = directory.join("pki/client");
    std::fs::create_dir_all(&client)?;
    let leaf = |name: &str, organization: Option<&str>| Leaf {
        common_name: name.into(),
        organizations: organization.into_iter().map(String::from).collect(),
        client: true,
        ..Leaf::default()
    };
    etcd.issue(&leaf("root", None))?
        .write(&client.join("client.crt"), &client.join("client.key"))?;
    let admin = cluster.issue(&leaf("jepsen", Some("system:masters")))?;
    admin.write(&client.join("api-client.crt"), &client.join("api-client.key"))?;
    std::fs::copy(shared.join("etcd/ca.crt"), client.join("ca.crt"))?;
    std::fs::copy(shared.join("ca.crt"), client.join("api-ca.crt"))?;
    Ok(())
}

fn write_member(shared: &Path, to: &Path, member: &Member, [cluster, etcd, proxy]: [&Ca; 3]) -> anyhow::Result<()> {
    std::fs::create_dir_all(to.join("etcd"))?;
    for file in [
        "ca.crt",
        "ca.key",
        "etcd/ca.crt",
        "etcd/ca.key",
        "front-proxy-ca.crt",
        "front-proxy-ca.key",
        "sa.key",
        "sa.pub",
    ] {
        std::fs::copy(shared.join(file), to.join(file))?;
    }
    let both = |name: &str| Leaf {
        common_name: name.into(),
        dns_names: vec![member.name.clone(), "localhost".into(), "kubernetes.default.svc".into()],
        ip_addresses: vec![IpAddr::V4(member.address), [127, 0, 0, 1].into(), [10, 96, 0, 1].into()],
        server: true,
        client: true,
        ..Leaf::default()
    };
    let write = |ca: &Ca, leaf: &Leaf, name: &str| -> anyhow::Result<()> {
        Ok(ca
            .issue(leaf)?
            .write(&to.join(format!("{name}.crt")), &to.join(format!("{name}.key")))?)
    };
    write(etcd, &both(&member.name), "etcd/server")?;
    write(etcd, &both(&member.name), "etcd/peer")?;
    write(cluster, &both("kube-apiserver"), "apiserver")?;
    for (file, name) in FROM_CLUSTER_CA {
        let leaf = Leaf {
            common_name: name.into(),
            organizations: vec!["kubeadm:cluster-admins".into()],
            client: true,
            ..Leaf::default()
        };
        write(cluster, &leaf, file)?;
    }
    let leaf = Leaf {
        common_name: "front-proxy-client".into(),
        client: true,
        ..Leaf::default()
    };
    write(proxy, &leaf, "front-proxy-client")
}
