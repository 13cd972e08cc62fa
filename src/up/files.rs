//! What `up` writes into the data directory: certificates, the processes' configuration, `admin.conf` and `env`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::layout::{Layout, Node};
use crate::certs::Authorities;
use crate::config::{self, AgentConfig, Bind, Master, ServerConfig};
use crate::kubeconfig::Kubeconfig;
use crate::output::{say, word};

/// Directories that a node's programs expect at fixed paths, with the name under the node's own directory.
const NODE_BINDS: [(&str, &str); 6] = [
    ("containerd", "/var/lib/containerd"),
    ("kubelet", "/var/lib/kubelet"),
    ("cni-config", "/etc/cni/net.d"),
    ("cni", "/var/lib/cni"),
    ("pod-logs", "/var/log/pods"),
    ("container-logs", "/var/log/containers"),
];

/// The image archives that the flags name, directories expanded.
pub fn images(arguments: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut archives = Vec::new();
    for path in arguments {
        let meta = path
            .metadata()
            .with_context(|| format!("--images: cannot read {}", path.display()))?;
        if meta.is_dir() {
            let entries = path
                .read_dir()
                .with_context(|| format!("--images: cannot list {}", path.display()))?;
            archives.extend(
                entries
                    .flatten()
                    .map(|e| e.path())
                    .filter(|p| p.extension().is_some_and(|e| e == "tar")),
            );
        } else {
            let archive = path.extension().is_some_and(|e| e == "tar");
            ensure!(
                archive,
                "--images: {} is not an image archive: its name has to end in .tar",
                path.display()
            );
            archives.push(path.clone());
        }
    }
    let mut names = BTreeSet::new();
    for archive in &archives {
        ensure!(
            names.insert(archive.file_name()),
            "--images: there is another archive of the name of {}: rename one, the nodes keep them in one directory",
            archive.display()
        );
        ensure!(
            is_tar(archive).with_context(|| format!("--images: cannot read {}", archive.display()))?,
            "--images: {} is not a tar archive; write one with `docker save -o FILE IMAGE` or `ctr images export FILE IMAGE`",
            archive.display()
        );
    }
    Ok(archives)
}

/// The first header of a tar archive, of POSIX and of GNU, has this mark at this offset.
const TAR_MARK: &[u8] = b"ustar";
const TAR_MARK_OFFSET: u64 = 257;

fn is_tar(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let mut mark = [0; TAR_MARK.len()];
    file.seek(SeekFrom::Start(TAR_MARK_OFFSET))?;
    match file.read_exact(&mut mark) {
        Ok(()) => Ok(mark == TAR_MARK),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes everything the processes read.
pub fn write(directory: &Path, layout: &Layout, images: &[PathBuf]) -> anyhow::Result<()> {
    let pki = directory.join("pki");
    let logs = directory.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let authorities = Authorities::ensure(&pki)?;
    authorities.write_admin(&pki)?;
    for master in &layout.masters {
        write_master(directory, layout, master, &authorities)?;
    }
    for node in &layout.nodes {
        write_node(directory, layout, node, images, &authorities)?;
    }
    let admin = Kubeconfig {
        server: &format!("https://127.0.0.1:{}", layout.api_port),
        user: "kubernetes-admin",
        ca: &pki.join("ca.crt"),
        cert: &pki.join("admin.crt"),
        key: &pki.join("admin.key"),
    };
    admin.write(&admin_conf(directory))?;
    Ok(pki::write_public(
        &directory.join("env"),
        &environment(directory, layout),
    )?)
}

pub fn admin_conf(directory: &Path) -> PathBuf {
    directory.join("admin.conf")
}

fn write_master(directory: &Path, layout: &Layout, master: &Master, authorities: &Authorities) -> anyhow::Result<()> {
    let root = directory.join(&master.name);
    authorities.write_master(&directory.join("pki"), &root.join("etc/kubernetes/pki"), master)?;
    let server = ServerConfig {
        name: master.name.clone(),
        root: root.clone(),
        masters: layout.masters.clone(),
        cluster_token: layout.id.clone(),
        cluster_id: None,
        pid_file: Some(root.join("pid")),
        cluster_signing_duration_seconds: config::default_signing_duration(),
        access: apiserver::access::Options::default(),
        log: config::default_log(),
    };
    config::write(&root.join("config.yaml"), &server)
}

fn write_node(
    directory: &Path,
    layout: &Layout,
    node: &Node,
    images: &[PathBuf],
    authorities: &Authorities,
) -> anyhow::Result<()> {
    let root = directory.join(&node.name);
    authorities.write_node(&directory.join("pki"), &root.join("pki"), &node.name, node.address)?;
    copy_images(images, &root.join("images"))?;
    let bind = |(from, to): (&str, &str)| -> anyhow::Result<Bind> {
        let from = root.join(from);
        std::fs::create_dir_all(&from).with_context(|| format!("cannot create {}", from.display()))?;
        Ok(Bind { from, to: to.into() })
    };
    let agent = AgentConfig {
        name: node.name.clone(),
        address: node.address,
        servers: layout.api_addresses(),
        pki: root.join("pki"),
        images: root.join("images"),
        cri_endpoint: None,
        request_serving_certificate: false,
        control_plane: false,
        cgroup_parent: format!("{}/{}", layout.cgroup(), node.name),
        teardown: true,
        binds: NODE_BINDS.into_iter().map(bind).collect::<anyhow::Result<_>>()?,
        pid_file: Some(root.join("pid")),
        log: config::default_log(),
    };
    config::write(&root.join("config.yaml"), &agent)
}

fn copy_images(images: &[PathBuf], to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for image in images {
        let target = to.join(image.file_name().unwrap_or_default());
        std::fs::copy(image, &target).with_context(|| format!("cannot copy {} to the nodes", image.display()))?;
    }
    Ok(())
}

/// Shell exports after which kubectl and etcdctl just work.
fn environment(directory: &Path, layout: &Layout) -> String {
    let endpoints: Vec<String> = layout
        .masters
        .iter()
        .map(|m| format!("https://{}", m.client()))
        .collect();
    let pki = directory.join("pki/etcd");
    let lines = [
        ("KUBECONFIG", word(&admin_conf(directory))),
        ("ETCDCTL_API", "3".into()),
        ("ETCDCTL_ENDPOINTS", endpoints.join(",")),
        ("ETCDCTL_CACERT", word(&pki.join("ca.crt"))),
        ("ETCDCTL_CERT", word(&pki.join("client.crt"))),
        ("ETCDCTL_KEY", word(&pki.join("client.key"))),
    ];
    lines
        .iter()
        .map(|(name, value)| format!("export {name}={value}\n"))
        .collect()
}

/// Tells the user what to type next.
pub fn print_next_steps(directory: &Path, layout: &Layout) {
    say!("\nThe cluster is ready. In another terminal:\n");
    say!("  . {}", word(&directory.join("env")));
    say!(
        "  kubectl get {}",
        if layout.nodes.is_empty() { "namespaces" } else { "nodes" }
    );
    say!("  etcdctl endpoint status --write-out=table");
    let program = std::env::current_exe().unwrap_or_else(|_| "proreus".into());
    say!("  {} status --data-dir {}\n", word(&program), word(directory));
    say!("Ctrl-C stops it; the data stays.");
}
