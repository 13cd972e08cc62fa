//! Who needs which certificate: kubeadm's file names, common names and organizations.

use std::net::IpAddr;
use std::path::Path;

use anyhow::Context;
use pki::{Ca, Leaf};

use crate::config::{API_SERVICE_ADDRESS, CLUSTER_DOMAIN, Master};

/// The authorities of one cluster, in `pki/` of the data directory.
pub struct Authorities {
    pub cluster: Ca,
    pub etcd: Ca,
    pub front_proxy: Ca,
}

/// Files every master has alike.
const SHARED: [&str; 8] = [
    "ca.crt",
    "ca.key",
    "etcd/ca.crt",
    "etcd/ca.key",
    "front-proxy-ca.crt",
    "front-proxy-ca.key",
    "sa.key",
    "sa.pub",
];

impl Authorities {
    /// Reads the authorities below `pki`, making those that are missing, and the service-account key pair.
    pub fn ensure(pki: &Path) -> anyhow::Result<Authorities> {
        let ca = |common_name: &str, file: &str| {
            Ca::load_or_generate(
                common_name,
                &pki.join(format!("{file}.crt")),
                &pki.join(format!("{file}.key")),
            )
        };
        pki::jwt::ensure_key_pair(&pki.join("sa.key"), &pki.join("sa.pub"))?;
        Ok(Authorities {
            cluster: ca("kubernetes", "ca")?,
            etcd: ca("etcd-ca", "etcd/ca")?,
            front_proxy: ca("front-proxy-ca", "front-proxy-ca")?,
        })
    }

    /// Fills `to`, a master's `/etc/kubernetes/pki`, from the cluster's `from`. Existing certificates stay.
    pub fn write_master(&self, from: &Path, to: &Path, master: &Master) -> anyhow::Result<()> {
        for file in SHARED {
            copy(&from.join(file), &to.join(file))?;
        }
        let names = [&master.name, "localhost"].map(|n| n.to_string());
        let addresses = [master.address, IpAddr::from([127, 0, 0, 1])];
        let serving = Leaf {
            common_name: "kube-apiserver".into(),
            dns_names: names.iter().cloned().chain(api_service_names()).collect(),
            ip_addresses: addresses.iter().copied().chain([API_SERVICE_ADDRESS.into()]).collect(),
            server: true,
            ..Leaf::default()
        };
        issue(&self.cluster, &serving, to, "apiserver")?;
        issue(
            &self.cluster,
            &client("kube-apiserver-kubelet-client", "kubeadm:cluster-admins"),
            to,
            "apiserver-kubelet-client",
        )?;
        issue(
            &self.front_proxy,
            &client("front-proxy-client", ""),
            to,
            "front-proxy-client",
        )?;
        let member = Leaf {
            common_name: master.name.clone(),
            dns_names: names.to_vec(),
            ip_addresses: addresses.to_vec(),
            server: true,
            client: true,
            ..Leaf::default()
        };
        issue(&self.etcd, &member, to, "etcd/server")?;
        issue(&self.etcd, &member, to, "etcd/peer")
    }

    /// Fills a node's certificate directory: its client identity and its serving certificate.
    pub fn write_node(&self, from: &Path, to: &Path, name: &str, address: IpAddr) -> anyhow::Result<()> {
        copy(&from.join("ca.crt"), &to.join("ca.crt"))?;
        issue(
            &self.cluster,
            &client(&format!("system:node:{name}"), "system:nodes"),
            to,
            "kubelet-client",
        )?;
        let serving = Leaf {
            common_name: format!("system:node:{name}"),
            organizations: vec!["system:nodes".into()],
            dns_names: vec![name.into(), "localhost".into()],
            ip_addresses: vec![address, [127, 0, 0, 1].into()],
            server: true,
            ..Leaf::default()
        };
        issue(&self.cluster, &serving, to, "kubelet")
    }

    /// The operator's identities: `admin` for the API, `etcd/client` for the etcd door.
    pub fn write_admin(&self, to: &Path) -> anyhow::Result<()> {
        issue(
            &self.cluster,
            &client("kubernetes-admin", "kubeadm:cluster-admins"),
            to,
            "admin",
        )?;
        issue(&self.etcd, &client("root", ""), to, "etcd/client")
    }
}

fn api_service_names() -> [String; 4] {
    let short = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(String::from);
    let [a, b, c] = short;
    [a, b, c, format!("kubernetes.default.svc.{CLUSTER_DOMAIN}")]
}

fn client(common_name: &str, organization: &str) -> Leaf {
    let organizations = if organization.is_empty() {
        vec![]
    } else {
        vec![organization.to_string()]
    };
    Leaf {
        common_name: common_name.into(),
        organizations,
        client: true,
        ..Leaf::default()
    }
}

fn issue(ca: &Ca, leaf: &Leaf, directory: &Path, name: &str) -> anyhow::Result<()> {
    let (cert, key) = (
        directory.join(format!("{name}.crt")),
        directory.join(format!("{name}.key")),
    );
    if cert.exists() && key.exists() {
        return Ok(());
    }
    Ok(ca.issue(leaf)?.write(&cert, &key)?)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(from).with_context(|| format!("cannot read {}", from.display()))?;
    let private = to.extension().is_some_and(|e| e == "key");
    if private {
        pki::write_private(to, &text)?;
    } else {
        pki::write_public(to, &text)?;
    }
    Ok(())
}
