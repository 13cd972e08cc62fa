//! Runs the node's own containerd.
//!
//! **Theory.** Containers are children of shims, not of containerd and not of the agent. So containerd can die, be
//! killed or be replaced while pods go on; this module only has to keep one instance alive, on one configuration that
//! it writes itself. A containerd left over from an earlier agent is stopped first, so that there is never a second
//! one on the same directories, and every instance is this agent's child.
//!
//! **Promises.** [`Containerd::start`] returns once the runtime answers. Afterwards it is started again whenever it
//! ends, with growing waits. [`Containerd::stop`] returns once it is gone.
//!
//! **Left out.** systemd's cgroup driver, nvidia and other runtime handlers, log rotation of containerd's own log
//! (it is cut at each start).

mod config;
mod import;
mod process;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cri::{Grpc, Runtime};
use crate::{Config, Error, limits};

pub use import::{Imported, import_images};

/// A running containerd and what keeps it running.
pub struct Containerd {
    stop: CancellationToken,
    supervisor: JoinHandle<()>,
    socket: PathBuf,
}

/// The files of one instance.
#[derive(Debug, Clone)]
struct Files {
    config: PathBuf,
    pid: PathBuf,
    log: PathBuf,
}

impl Files {
    fn of(config: &Config) -> Self {
        let file = |name: &str| config.root_dir.join(name);
        Files {
            config: file("containerd.toml"),
            pid: file("containerd.pid"),
            log: file("containerd.log"),
        }
    }
}

impl Containerd {
    /// Writes the configuration, starts containerd and waits until it answers.
    pub async fn start(config: &Config) -> Result<Containerd, Error> {
        let files = Files::of(config);
        for dir in [
            &config.root_dir,
            &config.containerd.root_dir,
            &config.containerd.state_dir,
        ] {
            std::fs::create_dir_all(dir).map_err(Error::file("create directory", dir))?;
        }
        if let Some(dir) = config.containerd.socket.parent() {
            std::fs::create_dir_all(dir).map_err(Error::file("create directory", dir))?;
        }
        process::stop_leftover(&files).await?;
        let text = config::render(config, process::lacks_sys_resource());
        std::fs::write(&files.config, text).map_err(Error::file("write", &files.config))?;

        let program = config.containerd.program.clone();
        let socket = config.containerd.socket.clone();
        let mut child = process::spawn(&program, &files)?;
        wait_healthy(&socket, &mut child, &files).await?;
        info!(socket = %socket.display(), "containerd is running");
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(supervise(child, program, files, socket.clone(), stop.clone()));
        Ok(Containerd {
            stop,
            supervisor,
            socket,
        })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A client of it.
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(Grpc::connect(&self.socket))
    }

    /// Stops it. Pods are not touched.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.supervisor.await {
            warn!(%error, "containerd's supervisor failed");
        }
    }
}

async fn wait_healthy(socket: &Path, child: &mut Child, files: &Files) -> Result<(), Error> {
    let deadline = Instant::now() + limits::RUNTIME_START_TIMEOUT;
    let runtime = Grpc::connect(socket);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            let tail = process::log_tail(&files.log);
            return Err(containerd_error(format!(
                "ended at once ({status}); its last words: {tail}"
            )));
        }
        let error = match timeout(limits::RUNTIME_RESTART_MAX, healthy(&runtime)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".into(),
        };
        if Instant::now() > deadline {
            return Err(containerd_error(format!(
                "not healthy in time: {error}; see {}",
                files.log.display()
            )));
        }
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The version alone is answered before the CRI plugin is ready.
async fn healthy(runtime: &Grpc) -> Result<(), Error> {
    runtime.version().await?;
    runtime.status().await.map(|_| ())
}

fn containerd_error(message: String) -> Error {
    Error::Program {
        program: "containerd".into(),
        message,
    }
}

async fn supervise(mut child: Child, program: PathBuf, files: Files, socket: PathBuf, stop: CancellationToken) {
    let mut pause = limits::RUNTIME_RESTART_MIN;
    loop {
        let started = Instant::now();
        tokio::select! {
            status = child.wait() => {
                let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
                warn!(status, "containerd ended; starting it again (pods go on)");
            }
            () = stop.cancelled() => {
                process::terminate(&mut child).await;
                let _ = std::fs::remove_file(&files.pid);
                return;
            }
        }
        if started.elapsed() > limits::RUNTIME_RESTART_MAX {
            pause = limits::RUNTIME_RESTART_MIN;
        }
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(limits::RUNTIME_RESTART_MAX);
            match process::spawn(&program, &files) {
                Ok(next) => {
                    child = next;
                    break;
                }
                Err(error) => warn!(%error, "cannot start containerd"),
            }
        }
        match wait_healthy(&socket, &mut child, &files).await {
            Ok(()) => info!("containerd is running again"),
            Err(error) => warn!(%error, "containerd does not come up"),
        }
    }
}
