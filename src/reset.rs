//! `proreus reset`: undoes what `init` or `join` did to this machine. Its processes end, with the pods; what they made in the
//! kernel is removed, and every file that is the cluster's. A master leaves the store's members first, if there are others.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use crate::config::{AgentConfig, POD_CIDR};
use crate::host::{Host, process};
use crate::init::args::RootFlag;
use crate::leave::Left;
use crate::operate::block_on;
use crate::output::say;
use crate::up::{network, processes};
use crate::{agent, leave};

/// What `init` and `join` make, and the processes that they start. On a real machine, directories that belong to others as well
/// are not among them.
const OURS: [&str; 5] = [
    "/etc/proreus",
    "/etc/kubernetes",
    "/var/lib/proreus",
    "/run/proreus",
    "/var/log/proreus",
];
/// What a node leaves in directories that others may use: containerd's own data, and logs of other runtimes, stay.
const LEFT_BY_NODES: [&str; 4] = [
    "/var/lib/kubelet",
    "/etc/cni/net.d/10-proreus.conflist",
    "/var/lib/cni/networks/proreus",
    "/var/log/pods",
];

#[derive(Args)]
pub struct ResetArgs {
    /// Do not ask
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    root: RootFlag,
}

pub fn run(args: &ResetArgs) -> anyhow::Result<()> {
    block_on(async {
        let host = Host::at(&args.root.rootfs)?;
        if !is_ours(&host) {
            say!(
                "[reset] nothing that `init` or `join` made is below {}: nothing was done",
                host.root().display()
            );
            return Ok(());
        }
        if !args.force {
            confirm(&host)?;
        }
        let (server, agent) = (host.server_config(), host.agent_config());
        // A configuration that cannot be read is no reason to leave everything as it is.
        let agent = agent.unwrap_or_else(|error| {
            say!("[reset] {error:#}");
            None
        });
        if matches!(server, Ok(Some(_))) {
            leave_store(&host).await;
        }
        process::stop(&host, &host.agent()).await?;
        process::stop(&host, &host.server()).await?;
        say!("[reset] nothing of the cluster runs here any more");
        if let Some(agent) = &agent {
            clean_node(&host, agent).await;
        }
        remove_files(&host, agent.is_some())?;
        say!("[reset] done; kubeconfig files that were copied elsewhere, and images, stay");
        Ok(())
    })
}

/// Whether `init` or `join` was ever here. `/etc/kubernetes` may be another program's.
fn is_ours(host: &Host) -> bool {
    let ours = OURS.iter().filter(|path| **path != "/etc/kubernetes");
    ours.into_iter().any(|path| host.path(path).exists())
}

fn confirm(host: &Host) -> anyhow::Result<()> {
    print!(
        "This ends the master and the pods of this machine and removes their data below {}. Go on? [y/N]: ",
        host.root().display()
    );
    std::io::stdout().flush().context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("cannot read the answer; --force does not ask")?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("nothing was done; --force does not ask"),
    }
}

/// The others go on either way; without this they keep counting on a member that is gone.
async fn leave_store(host: &Host) {
    match leave::leave_store(host).await {
        Ok(Left::Others) => {}
        Ok(Left::Last) => say!("[reset] this was the last master: the cluster ends with it"),
        Err(error) => {
            say!("[reset] not taken out of the members of the store: {error:#}");
            say!("[reset] if other masters remain, run `proreus member remove` on one of them");
        }
    }
}

/// Removes what the node made in the kernel. What cannot be removed is said and passed over.
async fn clean_node(host: &Host, config: &AgentConfig) {
    // Pods of a simulated machine ended with its namespaces.
    if host.is_real()
        && let Err(error) = kubelet::remove_pods(&agent::kubelet_config(config)).await
    {
        say!("[reset] the pods could not be removed: {error}");
    }
    match agent::proxy_config(config) {
        Ok(proxy) => {
            if let Err(error) = proxy::cleanup(&proxy).await {
                say!("[reset] the service proxy's table could not be removed: {error}");
            }
        }
        Err(error) => say!("[reset] {error:#}"),
    }
    network::remove_host_node();
    remove_pod_routes();
    processes::remove_cgroups(&config.cgroup_parent);
    // Of a simulated machine there is one above. Nothing above `/kubepods` is ours.
    if let Some((above, _)) = config
        .cgroup_parent
        .rsplit_once('/')
        .filter(|(above, _)| !above.is_empty())
    {
        processes::remove_cgroups(above);
    }
}

/// Routes to the pods of other nodes.
fn remove_pod_routes() {
    let Ok(output) = Command::new("ip").args(["-4", "-o", "route"]).output() else {
        return;
    };
    for network in pod_routes(&String::from_utf8_lossy(&output.stdout)) {
        // Gone already is as good.
        let _ = Command::new("ip").args(["route", "del", &network]).output();
    }
}

/// The networks below the pods' network that are reached through other machines.
fn pod_routes(routes: &str) -> Vec<String> {
    let pods = POD_CIDR.split('.').take(2).collect::<Vec<_>>().join(".") + ".";
    let leads_there = |line: &&str| line.starts_with(&pods) && line.contains(" via ");
    let lines = routes.lines().filter(leads_there);
    lines
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn remove_files(host: &Host, node: bool) -> anyhow::Result<()> {
    for path in LEFT_BY_NODES.iter().filter(|_| node).chain(&OURS) {
        remove(&host.path(path))?;
    }
    // Below another root everything is this machine's.
    for path in crate::host::NODE_DIRECTORIES.iter().filter(|_| !host.is_real()) {
        remove(&host.path(path))?;
    }
    Ok(())
}

/// Removes a file or a directory with all that is in it. What is mounted below is unmounted first, never removed.
fn remove(path: &Path) -> anyhow::Result<()> {
    unmount_below(path)?;
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        // Something of the machine's own is mounted right there: it is empty now, and stays.
        Err(error) if error.kind() == ErrorKind::ResourceBusy => Ok(()),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn unmount_below(path: &Path) -> anyhow::Result<()> {
    let table = std::fs::read_to_string("/proc/self/mounts").context("cannot read what is mounted")?;
    for point in mounted_below(&table, path) {
        nix::mount::umount2(point.as_str(), nix::mount::MntFlags::MNT_DETACH)
            .with_context(|| format!("cannot unmount {point}"))?;
    }
    Ok(())
}

/// What is mounted below a path, the deepest first. A mount at the path itself is the machine's own.
fn mounted_below(table: &str, path: &Path) -> Vec<String> {
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    // The kernel writes spaces so.
    let points = points.map(|point| point.replace("\\040", " "));
    let mut points: Vec<String> = points
        .filter(|point| Path::new(point).starts_with(path) && Path::new(point) != path)
        .collect();
    points.sort_by_key(|point| std::cmp::Reverse(Path::new(point).components().count()));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_programs_files_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path()).unwrap();
        std::fs::create_dir_all(host.path("/etc/kubernetes/pki")).unwrap();
        assert!(!is_ours(&host));
        std::fs::create_dir_all(host.path("/etc/proreus")).unwrap();
        assert!(is_ours(&host));
    }

    #[test]
    fn routes_to_other_nodes_pods_are_told_from_others() {
        let routes = "default via 10.0.0.1 dev eth0\n10.244.1.0/24 via 10.0.0.2 dev eth0\n\
                      10.244.0.0/24 dev cni0 proto kernel\n10.24.4.0/24 via 10.0.0.9 dev eth0";
        assert_eq!(pod_routes(routes), ["10.244.1.0/24"]);
    }

    #[test]
    fn mounts_below_a_path_are_found_deepest_first() {
        let table = "o /x/kubelet t\na /x/kubelet/a t\nb /x/kubelet/a/b\\040c t\nc /x/kubelets t\nd / t";
        let found = mounted_below(table, Path::new("/x/kubelet"));
        assert_eq!(found, ["/x/kubelet/a/b c", "/x/kubelet/a"]);
    }
}
