//! `proreus certs`: when this machine's certificates end, and new ones in their places, under kubeadm's names. Servers pick a
//! renewed file up by themselves. Left out: renewing authorities, and a node's own certificate, which its agent renews.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use pki::{Ca, again};
use serde_json::{Value, json};

use crate::commands::Output;
use crate::duration;
use crate::host::Host;
use crate::init::args::RootFlag;
use crate::kubeconfig::Kubeconfig;
use crate::operate::show;
use crate::output::say;

#[derive(Args)]
pub struct CertsArgs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Subcommand)]
enum CertsCommand {
    /// Show when certificates end
    #[command(visible_alias = "check-expiration")]
    List {
        /// Output format
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        root: RootFlag,
    },
    /// Put new certificates in the place of old ones; names and addresses stay
    Renew {
        /// A name that `certs list` shows, or `all`
        name: String,
        #[command(flatten)]
        root: RootFlag,
    },
}

/// Where a certificate is: a pair of files below `pki`, or a kubeconfig.
enum Place {
    Pair(&'static str),
    Kubeconfig(&'static str),
}

/// One certificate: its name in kubeadm's words, where it is, and the files of its authority below `pki`.
type Known = (&'static str, Place, &'static str);

const KNOWN: [Known; 8] = [
    ("admin.conf", Place::Kubeconfig("admin.conf"), "ca"),
    ("apiserver", Place::Pair("apiserver"), "ca"),
    (
        "apiserver-kubelet-client",
        Place::Pair("apiserver-kubelet-client"),
        "ca",
    ),
    (
        "etcd-healthcheck-client",
        Place::Pair("etcd/healthcheck-client"),
        "etcd/ca",
    ),
    ("etcd-peer", Place::Pair("etcd/peer"), "etcd/ca"),
    ("etcd-server", Place::Pair("etcd/server"), "etcd/ca"),
    (
        "front-proxy-client",
        Place::Pair("front-proxy-client"),
        "front-proxy-ca",
    ),
    ("super-admin.conf", Place::Kubeconfig("super-admin.conf"), "ca"),
];
const AUTHORITIES: [(&str, &str); 3] = [
    ("ca", "ca"),
    ("etcd-ca", "etcd/ca"),
    ("front-proxy-ca", "front-proxy-ca"),
];
/// What the agent of a node renews.
const NODE: &str = "kubelet-client";

pub fn run(args: &CertsArgs) -> anyhow::Result<()> {
    match &args.command {
        CertsCommand::List { output, root } => list(&Host::at(&root.rootfs)?, *output),
        CertsCommand::Renew { name, root } => renew(&Host::at(&root.rootfs)?, name),
    }
}

struct Line {
    name: String,
    authority: String,
    /// When it ends; the error says why that cannot be told.
    end: Result<SystemTime, String>,
}

fn list(host: &Host, output: Output) -> anyhow::Result<()> {
    let lines = lines(host);
    if lines.is_empty() {
        bail!("there are no certificates in {}", host.pki().display());
    }
    let now = SystemTime::now();
    if output == Output::Json {
        let document = |line: &Line| {
            let end = line.end.as_ref().map(|end| timestamp(*end));
            json!({ "name": line.name, "authority": line.authority, "expires": end.as_ref().ok(), "problem": end.err() })
        };
        return show::json(&json!({ "certificates": lines.iter().map(document).collect::<Vec<_>>() }));
    }
    let rows: Vec<Vec<String>> = lines.iter().map(|line| line.row(now)).collect();
    show::table(&["CERTIFICATE", "EXPIRES", "RESIDUAL TIME", "AUTHORITY"], &rows);
    Ok(())
}

impl Line {
    fn row(&self, now: SystemTime) -> Vec<String> {
        let (expires, left) = match &self.end {
            Ok(end) => (timestamp(*end), left(*end, now)),
            Err(problem) => (problem.clone(), "<unknown>".into()),
        };
        vec![self.name.clone(), expires, left, self.authority.clone()]
    }
}

fn left(end: SystemTime, now: SystemTime) -> String {
    match end.duration_since(now) {
        Ok(left) if left > Duration::ZERO => duration::shown(left),
        _ => "<expired>".into(),
    }
}

fn timestamp(time: SystemTime) -> String {
    let read = k8s_openapi::jiff::Timestamp::try_from(time);
    read.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// The certificates that this machine has.
fn lines(host: &Host) -> Vec<Line> {
    let pki = host.pki();
    let of_file = |name: &str, authority: &str, path: PathBuf| {
        path.exists().then(|| Line {
            name: name.to_owned(),
            authority: authority.to_owned(),
            end: pki::certificate_expiry(&path).map_err(|error| error.to_string()),
        })
    };
    let known = KNOWN.iter().filter_map(|(name, place, authority)| match place {
        Place::Pair(file) => of_file(name, &authority.replace('/', "-"), pki.join(format!("{file}.crt"))),
        Place::Kubeconfig(file) => {
            let path = host.kubeconfig(file);
            let end = || Inside::read(&path).map_err(|error| format!("{error:#}"))?.expiry();
            path.exists().then(|| Line {
                name: (*name).to_owned(),
                authority: authority.replace('/', "-"),
                end: end(),
            })
        }
    });
    let node = of_file(NODE, "ca", host.node_pki().join("kubelet-client.crt"));
    let authorities = AUTHORITIES
        .iter()
        .filter_map(|(name, file)| of_file(name, "", pki.join(format!("{file}.crt"))));
    known.chain(node).chain(authorities).collect()
}

fn renew(host: &Host, wanted: &str) -> anyhow::Result<()> {
    if wanted == NODE {
        bail!("{NODE}: the agent renews it before it ends");
    }
    let all: Vec<&Known> = KNOWN
        .iter()
        .filter(|(name, ..)| wanted == "all" || *name == wanted)
        .collect();
    if all.is_empty() {
        let names: Vec<&str> = KNOWN.iter().map(|(name, ..)| *name).collect();
        bail!(
            "{wanted:?} is no certificate that can be renewed; there are all, {}",
            names.join(", ")
        );
    }
    let mut renewed = 0;
    for (name, place, authority) in all {
        let pki = host.pki();
        let path = match place {
            Place::Pair(file) => pki.join(format!("{file}.crt")),
            Place::Kubeconfig(file) => host.kubeconfig(file),
        };
        if wanted == "all" && !path.exists() {
            continue;
        }
        let (cert, key) = (
            pki.join(format!("{authority}.crt")),
            pki.join(format!("{authority}.key")),
        );
        let ca = Ca::load(&cert, &key).with_context(|| format!("{name}: its authority cannot be used"))?;
        match place {
            Place::Pair(file) => {
                let leaf = again::leaf_of_file(&path)?;
                ca.issue(&leaf)?.write(&path, &pki.join(format!("{file}.key")))?;
            }
            Place::Kubeconfig(_) => Inside::read(&path)?.renew(&path, &ca)?,
        }
        say!("{name} renewed");
        renewed += 1;
    }
    if renewed == 0 {
        bail!("there are no certificates in {}", host.pki().display());
    }
    say!(
        "servers of this machine read renewed files by themselves; copies of admin.conf elsewhere are as old as they are"
    );
    Ok(())
}

/// What is in a kubeconfig of ours.
struct Inside {
    server: String,
    user: String,
    certificate: String,
}

impl Inside {
    fn read(path: &Path) -> anyhow::Result<Inside> {
        let document: Value = crate::config::read(path)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (cluster, user) = (&document["clusters"][0]["cluster"], &document["users"][0]);
        let certificate = text(&user["user"]["client-certificate-data"]).and_then(|data| STANDARD.decode(data).ok());
        let certificate = certificate.and_then(|bytes| String::from_utf8(bytes).ok());
        let inside = || {
            Some(Inside {
                server: text(&cluster["server"])?,
                user: text(&user["name"])?,
                certificate: certificate?,
            })
        };
        inside().with_context(|| format!("{} has no certificate in it", path.display()))
    }

    fn expiry(&self) -> Result<SystemTime, String> {
        pki::pem_expiry(&self.certificate)
    }

    fn renew(&self, path: &Path, ca: &Ca) -> anyhow::Result<()> {
        let leaf = again::leaf_of(&self.certificate).map_err(anyhow::Error::msg);
        let identity = ca.issue(&leaf.with_context(|| path.display().to_string())?)?;
        let (cert, key) = (&identity.cert_pem, &identity.key_pem);
        Kubeconfig::write_texts(path, &self.server, &self.user, ca.cert_pem(), cert, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pki::kubeadm;

    #[test]
    fn a_kubeconfig_is_renewed_for_the_same_user() {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::at(directory.path()).unwrap();
        let authorities = kubeadm::Authorities::ensure(&host.pki()).unwrap();
        let admin = kubeadm::client("kubernetes-admin", "kubeadm:cluster-admins");
        let identity = authorities.cluster.issue(&admin).unwrap();
        let path = host.kubeconfig("admin.conf");
        let ca = authorities.cluster.cert_pem();
        Kubeconfig::write_texts(
            &path,
            "https://h:1",
            "kubernetes-admin",
            ca,
            &identity.cert_pem,
            &identity.key_pem,
        )
        .unwrap();
        let before = Inside::read(&path).unwrap();
        renew(&host, "admin.conf").unwrap();
        let after = Inside::read(&path).unwrap();
        assert_ne!(before.certificate, after.certificate);
        assert_eq!((before.server, before.user), (after.server, after.user));
        let leaf = again::leaf_of(&after.certificate).unwrap();
        assert_eq!(leaf.organizations, ["kubeadm:cluster-admins"]);
        let names: Vec<String> = lines(&host).into_iter().map(|line| line.name).collect();
        assert_eq!(names, ["admin.conf", "ca", "etcd-ca", "front-proxy-ca"]);
        assert!(renew(&host, "other").unwrap_err().to_string().contains("apiserver"));
    }
}
