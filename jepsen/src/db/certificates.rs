//! One set of certificates, under kubeadm's names, for either database.

use std::net::IpAddr;
use std::path::Path;

use pki::kubeadm::{self, Authorities, MasterNames, Present};

use super::Member;

/// Certificates of the test's cluster, below the test's directory.
const SHARED: &str = "pki/shared";
const CLIENTS: &str = "pki/client";

pub(super) fn write(directory: &Path, members: &[Member]) -> anyhow::Result<()> {
    let shared = directory.join(SHARED);
    let authorities = Authorities::ensure(&shared)?;
    for member in members {
        write_member(&authorities, &shared, member, Present::Stays)?;
    }
    let clients = directory.join(CLIENTS);
    write_clients(&authorities, &clients, Present::Stays)?;
    std::fs::copy(shared.join("etcd/ca.crt"), clients.join("ca.crt"))?;
    std::fs::copy(shared.join("ca.crt"), clients.join("api-ca.crt"))?;
    Ok(())
}

/// New certificates, with new keys, of a member and of the clients.
pub(super) fn rotate(directory: &Path, member: &Member) -> anyhow::Result<()> {
    let shared = directory.join(SHARED);
    let authorities = Authorities::ensure(&shared)?;
    write_member(&authorities, &shared, member, Present::IsReplaced)?;
    write_clients(&authorities, &directory.join(CLIENTS), Present::IsReplaced)
}

fn write_member(authorities: &Authorities, shared: &Path, member: &Member, present: Present) -> anyhow::Result<()> {
    let names = MasterNames {
        name: &member.name,
        address: member.address.into(),
        service_names: &["kubernetes.default.svc".into()],
        service_address: IpAddr::from([10, 96, 0, 1]),
    };
    let to = member.root.join("etc/kubernetes/pki");
    Ok(authorities.write_master(shared, &to, &names, present)?)
}

fn write_clients(authorities: &Authorities, to: &Path, present: Present) -> anyhow::Result<()> {
    let root = kubeadm::client("root", "");
    kubeadm::issue(&authorities.etcd, &root, to, "client", present)?;
    let admin = kubeadm::client("jepsen", "system:masters");
    Ok(kubeadm::issue(&authorities.cluster, &admin, to, "api-client", present)?)
}
