//! Who needs which certificate: kubeadm's file names, common names and organizations.

use std::net::IpAddr;
use std::path::Path;

use crate::{Ca, Error, Leaf, files, write_private, write_public};

/// Files that every master has alike.
pub const SHARED: [&str; 8] = [
    "ca.crt",
    "ca.key",
    "etcd/ca.crt",
    "etcd/ca.key",
    "front-proxy-ca.crt",
    "front-proxy-ca.key",
    "sa.key",
    "sa.pub",
];

/// What a master is called and reached by.
#[derive(Clone, Copy, Debug)]
pub struct MasterNames<'a> {
    /// The member's name.
    pub name: &'a str,
    /// Its address.
    pub address: IpAddr,
    /// The API's names inside the cluster.
    pub service_names: &'a [String],
    /// The API's address inside the cluster.
    pub service_address: IpAddr,
}

/// What becomes of a certificate that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// It stays.
    Stays,
    /// A new one, with a new key, takes its place.
    IsReplaced,
}

/// The authorities of one cluster.
pub struct Authorities {
    /// Of the API and its clients.
    pub cluster: Ca,
    /// Of the store's members and clients.
    pub etcd: Ca,
    /// Of the front proxy.
    pub front_proxy: Ca,
}

impl Authorities {
    /// Reads the authorities below `pki`, making those that are missing, and the service-account key pair.
    pub fn ensure(pki: &Path) -> Result<Authorities, Error> {
        let ca = |common_name: &str, file: &str| {
            let (cert, key) = (pki.join(format!("{file}.crt")), pki.join(format!("{file}.key")));
            Ca::load_or_generate(common_name, &cert, &key)
        };
        crate::jwt::ensure_key_pair(&pki.join("sa.key"), &pki.join("sa.pub"))?;
        Ok(Authorities {
            cluster: ca("kubernetes", "ca")?,
            etcd: ca("etcd-ca", "etcd/ca")?,
            front_proxy: ca("front-proxy-ca", "front-proxy-ca")?,
        })
    }

    /// Fills `to`, a master's `/etc/kubernetes/pki`, from the cluster's `from`.
    pub fn write_master(
        &self,
        from: &Path,
        to: &Path,
        master: &MasterNames<'_>,
        present: Present,
    ) -> Result<(), Error> {
        for file in SHARED {
            copy(&from.join(file), &to.join(file))?;
        }
        self.issue_master(to, master, &[], present)
    }

    /// The certificates of one master below `to`. The API's is good for `extra` addresses, too.
    pub fn issue_master(
        &self,
        to: &Path,
        master: &MasterNames<'_>,
        extra: &[IpAddr],
        present: Present,
    ) -> Result<(), Error> {
        let names = [master.name, "localhost"].map(String::from);
        let addresses = [master.address, IpAddr::from([127, 0, 0, 1])];
        let api_addresses = addresses.iter().copied().chain([master.service_address]);
        let serving = Leaf {
            common_name: "kube-apiserver".into(),
            dns_names: names.iter().chain(master.service_names).cloned().collect(),
            ip_addresses: api_addresses.chain(extra.iter().copied()).collect(),
            server: true,
            ..Leaf::default()
        };
        issue(&self.cluster, &serving, to, "apiserver", present)?;
        let kubelet_client = client("kube-apiserver-kubelet-client", "kubeadm:cluster-admins");
        issue(&self.cluster, &kubelet_client, to, "apiserver-kubelet-client", present)?;
        let proxy_client = client("front-proxy-client", "");
        issue(&self.front_proxy, &proxy_client, to, "front-proxy-client", present)?;
        let member = Leaf {
            common_name: master.name.into(),
            dns_names: names.to_vec(),
            ip_addresses: addresses.to_vec(),
            server: true,
            client: true,
            ..Leaf::default()
        };
        issue(&self.etcd, &member, to, "etcd/server", present)?;
        issue(&self.etcd, &member, to, "etcd/peer", present)
    }

    /// Fills a node's certificate directory: its client identity and its serving certificate. Those that are there stay.
    pub fn write_node(&self, from: &Path, to: &Path, name: &str, address: IpAddr) -> Result<(), Error> {
        copy(&from.join("ca.crt"), &to.join("ca.crt"))?;
        let identity = client(&format!("system:node:{name}"), "system:nodes");
        issue(&self.cluster, &identity, to, "kubelet-client", Present::Stays)?;
        let serving = Leaf {
            dns_names: vec![name.into(), "localhost".into()],
            ip_addresses: vec![address, [127, 0, 0, 1].into()],
            ..node_serving(name, address)
        };
        issue(&self.cluster, &serving, to, "kubelet", Present::Stays)
    }
}

/// What a node's API shows its clients.
pub fn node_serving(name: &str, address: IpAddr) -> Leaf {
    Leaf {
        common_name: format!("system:node:{name}"),
        organizations: vec!["system:nodes".into()],
        dns_names: vec![name.into()],
        ip_addresses: vec![address],
        server: true,
        ..Leaf::default()
    }
}

/// The same from an authority that nobody knows: a node can listen before the cluster has signed for it, and is trusted by
/// nobody until then.
pub fn write_provisional_serving(directory: &Path, name: &str, address: IpAddr) -> Result<(), Error> {
    let nobody = Ca::generate("provisional")?;
    issue(
        &nobody,
        &node_serving(name, address),
        directory,
        "kubelet",
        Present::Stays,
    )
}

/// A client's identity; without an organization if that is empty.
pub fn client(common_name: &str, organization: &str) -> Leaf {
    let organizations = [organization].into_iter().filter(|name| !name.is_empty());
    Leaf {
        common_name: common_name.into(),
        organizations: organizations.map(String::from).collect(),
        client: true,
        ..Leaf::default()
    }
}

/// Writes `name.crt` and `name.key` below `directory`.
pub fn issue(ca: &Ca, leaf: &Leaf, directory: &Path, name: &str, present: Present) -> Result<(), Error> {
    let (cert, key) = (
        directory.join(format!("{name}.crt")),
        directory.join(format!("{name}.key")),
    );
    if present == Present::Stays && cert.exists() && key.exists() {
        return Ok(());
    }
    ca.issue(leaf)?.write(&cert, &key)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let text = files::read(from)?;
    if to.extension().is_some_and(|extension| extension == "key") {
        write_private(to, &text)
    } else {
        write_public(to, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masters_certificates_stay_until_they_are_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("shared"), directory.path().join("m1"));
        let authorities = Authorities::ensure(&from).unwrap();
        let master = MasterNames {
            name: "m1",
            address: [10, 0, 0, 1].into(),
            service_names: &["kubernetes".into()],
            service_address: [10, 96, 0, 1].into(),
        };
        let written = |present| {
            authorities.write_master(&from, &to, &master, present).unwrap();
            ["apiserver", "etcd/server", "etcd/peer", "front-proxy-client"]
                .map(|name| std::fs::read_to_string(to.join(format!("{name}.crt"))).unwrap())
        };
        let first = written(Present::Stays);
        assert_eq!(written(Present::Stays), first);
        let second = written(Present::IsReplaced);
        assert!(first.iter().zip(&second).all(|(first, second)| first != second));
        let authority = |directory: &Path| std::fs::read_to_string(directory.join("etcd/ca.crt")).unwrap();
        assert_eq!(authority(&to), authority(&from));
    }
}
