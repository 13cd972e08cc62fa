//! A door over a store in memory, and etcdctl before it.

use std::{
    net::SocketAddr,
    process::{Command, Output, Stdio},
    sync::LazyLock,
    time::Duration,
};

use etcd::{EtcdConfig, serve};
use raftstore::Store;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

static HAS_ETCDCTL: LazyLock<bool> = LazyLock::new(|| {
    Command::new("etcdctl")
        .arg("version")
        .env("ETCDCTL_API", "3")
        .output()
        .is_ok()
});

/// Whether etcdctl is here; says so if not.
fn has_etcdctl() -> bool {
    if !*HAS_ETCDCTL {
        skip::skip("there is no etcdctl (Debian: etcd-client)");
    }
    *HAS_ETCDCTL
}

/// Nothing here takes long; what takes this long never ends.
const HANG: Duration = Duration::from_secs(60);

pub struct Door {
    pub address: SocketAddr,
    pub store: Store,
    _stop: DropGuard,
}

impl Door {
    pub async fn open() -> Option<Self> {
        if !has_etcdctl() {
            return None;
        }
        Some(Self::of(memory::store().await.unwrap()).await)
    }

    /// The doors of the members of a cluster.
    pub async fn open_cluster(members: u64) -> Option<Vec<Self>> {
        if !has_etcdctl() {
            return None;
        }
        let stores = memory::cluster(members).await.unwrap();
        Some(futures::future::join_all(stores.into_iter().map(Self::of)).await)
    }

    async fn of(store: Store) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut config = EtcdConfig::new("one", vec![format!("http://{address}")]);
        config.bcrypt_cost = 4;
        tokio::spawn(serve(listener, None, store.clone(), config, stop.clone()));
        Self {
            address,
            store,
            _stop: stop.drop_guard(),
        }
    }

    pub fn command(&self, line: &str) -> tokio::process::Command {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.address.to_string()])
            // A slow machine is no reason to fail.
            .args(["--command-timeout=60s", "--dial-timeout=60s"]);
        command.args(line.split(' ').map(|word| word.replace('_', " ")));
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        command
    }

    pub async fn run(&self, line: &str, input: &str) -> Output {
        use tokio::io::AsyncWriteExt;
        let mut command = self.command(line);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        tokio::time::timeout(HANG, child.wait_with_output())
            .await
            .expect("etcdctl does not end")
            .unwrap()
    }

    /// What etcdctl prints, lines joined by `|`.
    pub async fn ok(&self, line: &str) -> String {
        self.ok_with(line, "").await
    }

    pub async fn ok_with(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "etcdctl {line}: {errors}");
        String::from_utf8(output.stdout).unwrap().trim_end().replace('\n', "|")
    }

    pub async fn error(&self, line: &str) -> String {
        let output = self.run(line, "").await;
        assert!(!output.status.success(), "etcdctl {line} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }

    pub async fn check(&self, cases: &[(&str, &str)]) {
        for (line, expected) in cases {
            assert_eq!(self.ok(line).await, *expected, "etcdctl {line}");
        }
    }
}
