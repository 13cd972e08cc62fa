//! Volumes: putting a pod's files where its containers mount them, keeping them current, taking them away.
//!
//! **Theory.** Every volume has one directory (or host path) that follows from the pod's uid and the volume's name, so
//! nothing has to be remembered: preparing is idempotent, and tearing down unmounts and removes whatever is below the
//! pod's directory. Volumes made of API objects are written by [`atomic`], which swaps a symbolic link, so that a
//! container sees the old files or the new ones. What may hold secrets (secret, projected, downwardAPI) is written to a
//! tmpfs of its own, never to a disk.
//!
//! **Left out.** Persistent volume claims, CSI, and network file systems: such a volume is refused with its name.

mod atomic;
mod delete;
pub mod mounts;
mod payload;
mod subpath;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource, Pod, Volume};

use crate::Error;
use crate::objects::Source;
use crate::pod::fields::Facts;
use crate::pod::spec;

pub use payload::Payload;
pub use subpath::bind as bind_subpath;

/// Where a pod's own things are on this node.
#[derive(Debug, Clone)]
pub struct PodPaths {
    /// `<root>/pods/<uid>`.
    pub root: PathBuf,
}

impl PodPaths {
    /// The directory of a volume of this plugin (as `kubernetes.io~secret`, the name tools know).
    fn volume(&self, plugin: &str, name: &str) -> PathBuf {
        self.root.join("volumes").join(plugin).join(name)
    }

    /// The pod's own hosts file.
    pub fn hosts(&self) -> PathBuf {
        self.root.join("etc-hosts")
    }

    /// The file for the last words of one start of a container.
    pub fn termination_log(&self, container: &str, restarts: u32) -> PathBuf {
        self.root.join("containers").join(container).join(restarts.to_string())
    }
}

/// The path of a volume on the node, or `None` if this kind is not supported.
pub fn host_path(paths: &PodPaths, volume: &Volume) -> Option<PathBuf> {
    let name = &volume.name;
    if let Some(host) = &volume.host_path {
        return Some(PathBuf::from(&host.path));
    }
    let plugin = if volume.empty_dir.is_some() {
        "kubernetes.io~empty-dir"
    } else if volume.config_map.is_some() {
        "kubernetes.io~configmap"
    } else if volume.secret.is_some() {
        "kubernetes.io~secret"
    } else if volume.projected.is_some() {
        "kubernetes.io~projected"
    } else if volume.downward_api.is_some() {
        "kubernetes.io~downward-api"
    } else {
        return None;
    };
    Some(paths.volume(plugin, name))
}

/// Puts every volume of the pod in place, or brings it up to date.
pub async fn prepare(source: &dyn Source, pod: &Pod, paths: &PodPaths, facts: &Facts) -> Result<(), Error> {
    create_dir(&paths.root, 0o750)?;
    let group = spec::spec(pod).security_context.as_ref().and_then(|c| c.fs_group);
    let group = group.and_then(|g| u32::try_from(g).ok());
    for volume in spec::spec(pod).volumes.iter().flatten() {
        prepare_one(source, pod, paths, facts, volume, group)
            .await
            .map_err(|e| Error::Pod(format!("MountVolume.SetUp failed for volume \"{}\" : {e}", volume.name)))?;
    }
    Ok(())
}

async fn prepare_one(
    source: &dyn Source,
    pod: &Pod,
    paths: &PodPaths,
    facts: &Facts,
    volume: &Volume,
    group: Option<u32>,
) -> Result<(), Error> {
    let Some(path) = host_path(paths, volume) else {
        return Err(Error::Pod("this kind of volume is not supported by this node".into()));
    };
    if let Some(host) = &volume.host_path {
        return check_host_path(host);
    }
    if let Some(empty) = &volume.empty_dir {
        return empty_dir(empty, &path, group);
    }
    let payload = payload::collect(source, pod, facts, volume, group).await?;
    create_dir(&path, PAYLOAD_MODE)?;
    if volume.config_map.is_none() && !mounts::is_mounted(&path)? {
        mounts::secret_tmpfs(&path, PAYLOAD_MODE)?;
    }
    atomic::write(&path, &payload, group)
}

/// The mode of a volume made of API objects: its files have modes of their own.
const PAYLOAD_MODE: u32 = 0o755;

/// Directories must have their mode whatever the process's umask is.
pub(crate) fn create_dir(path: &Path, mode: u32) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("create directory", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::file("set mode of", path))
}

fn empty_dir(empty: &EmptyDirVolumeSource, path: &Path, group: Option<u32>) -> Result<(), Error> {
    if path.exists() && (empty.medium.as_deref() != Some("Memory") || mounts::is_mounted(path)?) {
        return Ok(());
    }
    // A fsGroup volume is made so that what is created in it belongs to the group, too.
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    create_dir(path, mode)?;
    match empty.medium.as_deref() {
        Some("Memory") => {
            let limit = empty
                .size_limit
                .as_ref()
                .and_then(|q| api::quantity::Quantity::parse(&q.0).ok());
            mounts::tmpfs(path, limit.map(|q| q.value()), mode)?;
        }
        None | Some("") => {}
        Some(other) => return Err(Error::Pod(format!("emptyDir medium {other} is not supported"))),
    }
    match group {
        Some(group) => {
            std::os::unix::fs::chown(path, None, Some(group)).map_err(Error::file("change group of", path))?;
            // Changing the group clears the set-group-id bit.
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::file("set mode of", path))
        }
        None => Ok(()),
    }
}

fn check_host_path(host: &HostPathVolumeSource) -> Result<(), Error> {
    use std::os::unix::fs::FileTypeExt;
    let path = Path::new(&host.path);
    let kind = host.type_.as_deref().unwrap_or_default();
    let refuse = |what: &str| {
        Err(Error::Pod(format!(
            "hostPath type check failed: {} is not {what}",
            host.path
        )))
    };
    match kind {
        "DirectoryOrCreate" if !path.exists() => return create_dir(path, 0o755),
        "FileOrCreate" if !path.exists() => {
            return fs::write(path, []).map_err(Error::file("create", path));
        }
        _ => {}
    }
    let found = fs::metadata(path).map(|m| m.file_type()).ok();
    let is = |check: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(check);
    match kind {
        "" => Ok(()),
        "Directory" | "DirectoryOrCreate" if !is(fs::FileType::is_dir) => refuse("a directory"),
        "File" | "FileOrCreate" if !is(fs::FileType::is_file) => refuse("a file"),
        "Socket" if !is(FileTypeExt::is_socket) => refuse("a socket file"),
        "CharDevice" if !is(FileTypeExt::is_char_device) => refuse("a character device"),
        "BlockDevice" if !is(FileTypeExt::is_block_device) => refuse("a block device"),
        "Directory" | "DirectoryOrCreate" | "File" | "FileOrCreate" | "Socket" | "CharDevice" | "BlockDevice" => Ok(()),
        other => Err(Error::Pod(format!("unknown hostPath type {other}"))),
    }
}

/// Unmounts everything below the pod's directory. Data stays.
pub fn release(paths: &PodPaths) -> Result<(), Error> {
    mounts::unmount_below(&paths.root)
}

/// Unmounts everything below the pod's directory and removes it. What is mounted there all the same, perhaps something of
/// the node, is not touched.
pub fn remove(paths: &PodPaths) -> Result<(), Error> {
    release(paths)?;
    delete::tree(&paths.root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::Fixed;

    fn pod() -> Pod {
        let json = serde_json::json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "u" },
            "spec": { "containers": [], "volumes": [
                { "name": "a", "secret": { "secretName": "sec" } },
                { "name": "b", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } },
                { "name": "c", "configMap": { "name": "cm" } },
                { "name": "d", "downwardAPI": { "items": [
                    { "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] } },
            ] },
        });
        serde_json::from_value(json).unwrap()
    }

    fn is_tmpfs(path: &Path) -> bool {
        let found = nix::sys::statfs::statfs(path).unwrap().filesystem_type();
        found == nix::sys::statfs::TMPFS_MAGIC
    }

    #[tokio::test]
    async fn secrets_never_touch_the_disk_and_leave_no_mount() {
        if !nix::unistd::geteuid().is_root() {
            return skip::skip("only root may mount");
        }
        let dir = tempfile::tempdir().unwrap();
        // The agent's directory may be a link: mounts must be found behind it all the same.
        let link = dir.path().join("link");
        fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let paths = PodPaths { root: link.join("u") };
        let at = |plugin: &str, name: &str| paths.volume(&format!("kubernetes.io~{plugin}"), name);
        let prepare = || async { prepare(&Fixed, &pod(), &paths, &Facts::default()).await.unwrap() };
        prepare().await;
        // A second time is an update, or another agent that takes over: nothing is mounted twice.
        prepare().await;
        assert_eq!(fs::read_to_string(at("secret", "a").join("s")).unwrap(), "hush");
        for (plugin, name) in [("secret", "a"), ("projected", "b"), ("downward-api", "d")] {
            let path = at(plugin, name);
            assert!(is_tmpfs(&path) && mounts::is_mounted(&path).unwrap(), "{plugin}");
        }
        assert!(!mounts::is_mounted(&at("configmap", "c")).unwrap());
        assert_eq!(mounts::count_below(&paths.root), 3);

        // The mounts are gone, as after a loss of power: they are made again.
        release(&paths).unwrap();
        assert_eq!(
            fs::read_dir(at("secret", "a")).unwrap().count(),
            0,
            "nothing was below the mount"
        );
        prepare().await;
        assert!(is_tmpfs(&at("secret", "a")));

        remove(&paths).unwrap();
        assert_eq!(mounts::count_below(dir.path()), 0);
        assert!(!paths.root.exists());
    }
}
