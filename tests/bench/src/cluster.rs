//! A cluster of the binary beside this one, stopped when dropped.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

pub struct Cluster {
    up: Child,
    pub directory: tempfile::TempDir,
    pub ready_after: Duration,
}

impl Cluster {
    pub fn start(masters: u8, nodes: u8) -> anyhow::Result<Cluster> {
        let directory = tempfile::Builder::new().prefix("proreus-bench-").tempdir()?;
        let start = Instant::now();
        let mut up = Command::new(binary()?)
            .args([
                "up",
                "--masters",
                &masters.to_string(),
                "--nodes",
                &nodes.to_string(),
                "--data-dir",
            ])
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start proreus")?;
        let mut lines = BufReader::new(up.stdout.take().context("no output")?).lines();
        let ready = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("The cluster is ready"));
        ensure!(
            ready,
            "the cluster did not get ready; see {}/logs",
            directory.keep().display()
        );
        let ready_after = start.elapsed();
        // Reads on to the end, or `up` would block on a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(Cluster {
            up,
            directory,
            ready_after,
        })
    }

    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let config = self.directory.path().join("admin.conf");
        let output = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(config)
            .args(arguments)
            .output();
        let output = output.context("cannot run kubectl")?;
        ensure!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `proreus status --output json`.
    pub fn status(&self) -> anyhow::Result<serde_json::Value> {
        let mut command = Command::new(binary()?);
        command
            .args(["status", "--output", "json", "--data-dir"])
            .arg(self.directory.path());
        let output = command.output().context("cannot run proreus")?;
        serde_json::from_slice(&output.stdout).context("status is not JSON")
    }

    /// Process ids of the cluster's proreus processes, `up` included and containerd left out.
    pub fn processes(&self) -> anyhow::Result<Vec<u32>> {
        let own = self.directory.path().to_string_lossy().into_owned();
        let mut pids = Vec::new();
        for entry in std::fs::read_dir("/proc").context("cannot list /proc")?.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
                continue;
            };
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if name.trim() == "proreus" && String::from_utf8_lossy(&command).contains(&own) {
                pids.push(pid);
            }
        }
        Ok(pids)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.up.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.up.wait();
    }
}

/// The proreus beside this program.
pub fn binary() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()
        .context("cannot find this program")?
        .with_file_name("proreus");
    ensure!(
        path.exists(),
        "{} is missing: build it with `cargo build --release --workspace`",
        path.display()
    );
    Ok(path)
}
