//! Keeps container logs from filling the disk: a log that is too large is renamed, the runtime is told to write to a
//! new one, and the oldest is removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::cri::Runtime;
use crate::pod::view::ContainerState;
use crate::relist::Relist;
use crate::{Error, limits};

/// Looks at the logs of running containers from time to time, until `stop`.
pub async fn run(runtime: Arc<dyn Runtime>, relist: Arc<Relist>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = sleep(limits::LOG_ROTATE_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        for pod in relist.pods() {
            let view = relist.view(&pod.uid);
            for container in view.containers.iter().filter(|c| c.state == ContainerState::Running) {
                let path = Path::new(&container.log_path);
                if let Err(error) = rotate(&*runtime, &container.id, path, limits::LOG_BYTES_MAX).await {
                    warn!(pod = pod.name, container = container.name, %error, "cannot rotate the log");
                }
            }
        }
    }
}

async fn rotate(runtime: &dyn Runtime, id: &str, path: &Path, bytes_max: u64) -> Result<(), Error> {
    if fs::metadata(path).map_or(0, |m| m.len()) <= bytes_max {
        return Ok(());
    }
    let old = |n: usize| PathBuf::from(format!("{}.{n}", path.display()));
    for n in (1..limits::LOG_FILES_MAX - 1).rev() {
        if old(n).exists() {
            fs::rename(old(n), old(n + 1)).map_err(Error::file("rename", old(n)))?;
        }
    }
    fs::rename(path, old(1)).map_err(Error::file("rename", path))?;
    if let Err(error) = runtime.reopen_container_log(id).await {
        // The runtime still writes to the renamed file: give it its name back, so that nothing is lost.
        let _ = fs::rename(old(1), path);
        return Err(error);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::fake::Fake;
    use k8s_cri::v1;

    #[tokio::test]
    async fn the_oldest_goes_and_a_refusal_changes_nothing() {
        let runtime = Fake::default();
        let pod = runtime
            .run_pod_sandbox(v1::PodSandboxConfig::default(), "")
            .await
            .unwrap();
        let id = runtime
            .create_container(&pod, Default::default(), Default::default())
            .await
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        for n in 0..8 {
            fs::write(&path, format!("content {n}")).unwrap();
            rotate(&runtime, &id, &path, 3).await.unwrap();
            assert!(!path.exists(), "the runtime makes the new file");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), limits::LOG_FILES_MAX - 1);
        assert_eq!(fs::read_to_string(dir.path().join("0.log.1")).unwrap(), "content 7");
        fs::write(&path, "kept").unwrap();
        rotate(&runtime, "gone", &path, 3).await.unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    }
}
