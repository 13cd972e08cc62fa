//! A node's surroundings: directories of its own, certificates, an image, and ways to look at the outcome.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use client::Client;
use kubelet::config::Network;
use kubelet::image::{ImageConfig, Layer, OciImage};
use kubelet::{Config, Error};
use pki::{Ca, Leaf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::Api;

pub const IMAGE: &str = "proreus.io/test-busybox:1";
pub const SUBNET: [u8; 3] = [10, 251, 7];
const BRIDGE: &str = "prkubelet0";
const STATUS: &[u8] = b"{\"metadata\":{}";
const APPLETS: &[&str] = &["sh", "cat", "echo", "sleep", "test", "kill", "ls", "true", "false"];

pub struct Machine {
    dir: tempfile::TempDir,
    port: u16,
}

pub struct Agent {
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Agent {
    pub async fn stop(self) {
        self.stop.cancel();
        self.task
            .await
            .expect("the agent does not panic")
            .expect("the agent ends well");
    }
}

fn busybox() -> Option<PathBuf> {
    let static_one = |p: &PathBuf| {
        let bytes = std::fs::read(p).unwrap_or_default();
        // A dynamic program names its loader.
        !bytes.is_empty() && !bytes.windows(7).take(4096).any(|w| w == b"ld-linu")
    };
    ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .map(PathBuf::from)
        .find(static_one)
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}

impl Machine {
    /// `None` where such a node cannot run.
    pub fn new() -> Option<Machine> {
        let able = nix::unistd::geteuid().is_root() && ["containerd", "ctr", "runc", "ip"].iter().all(|p| has(p));
        let plugins = Config::new("x", IpAddr::from([127, 0, 0, 1]))
            .cni_bin_dir
            .join("bridge")
            .exists();
        if !able || !plugins {
            return None;
        }
        let busybox = busybox()?;
        let dir = tempfile::Builder::new().prefix("kubelet").tempdir().unwrap();
        let root = dir.path();
        for sub in ["images", "net.d", "pki"] {
            std::fs::create_dir_all(root.join(sub)).unwrap();
        }
        write_image(&busybox, &root.join("images/busybox.tar"));
        write_network(root);
        write_certificates(&root.join("pki"));
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Some(Machine { dir, port })
    }

    fn config(&self) -> Config {
        let root = self.dir.path();
        let mut config = Config::new("test-node", IpAddr::V4(Ipv4Addr::LOCALHOST));
        config.root_dir = root.join("kubelet");
        config.pod_logs_dir = root.join("logs");
        config.images_dir = root.join("images");
        config.cni_conf_dir = root.join("net.d");
        config.cni_state_dir = root.join("cni");
        config.network = Network::External;
        config.containerd.root_dir = root.join("ctrd");
        config.containerd.state_dir = root.join("run");
        config.containerd.socket = root.join("c.sock");
        config.serving_cert = root.join("pki/server.crt");
        config.serving_key = root.join("pki/server.key");
        config.client_ca = root.join("pki/ca.crt");
        config.server_address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        config.server_port = self.port;
        config.cgroup_parent = self.cgroup();
        config
    }

    fn cgroup(&self) -> String {
        format!("/proreus-test-{}", std::process::id())
    }

    pub fn start(&self, api: &Api, teardown: bool) -> Agent {
        let mut config = self.config();
        config.teardown_on_stop = teardown;
        let stop = CancellationToken::new();
        let task = tokio::spawn(kubelet::run(config, Client::local(api.router()), stop.clone()));
        Agent { stop, task }
    }

    async fn connect(&self, certificate: bool) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let pki = self.dir.path().join("pki");
        let (cert, key) = (pki.join("client.crt"), pki.join("client.key"));
        let identity = certificate.then_some((cert.as_path(), key.as_path()));
        let config = pki::tls::client_config(&pki.join("ca.crt"), identity).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        tokio_rustls::TlsConnector::from(Arc::clone(&config))
            .connect(name, stream)
            .await
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        self.request(path, true).await
    }

    pub async fn get_anonymously(&self, path: &str) -> (u16, String) {
        self.request(path, false).await
    }

    async fn request(&self, path: &str, certificate: bool) -> (u16, String) {
        use http_body_util::BodyExt;
        let stream = hyper_util::rt::TokioIo::new(self.connect(certificate).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(path)
            .header("host", "node")
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8_lossy(&body).into_owned())
    }

    /// What a command prints, read from the raw frames of a websocket.
    pub async fn exec(&self, path: &str) -> String {
        self.try_exec(path).await.expect("exec works")
    }

    /// The same, while the node may still be coming up.
    pub async fn exec_when_possible(&self, path: &str) -> String {
        for _ in 0..200 {
            if let Some(said) = self.try_exec(path).await {
                return said;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("exec does not become possible: {path}");
    }

    async fn try_exec(&self, path: &str) -> Option<String> {
        let mut stream = self.connect(true).await.ok()?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut said = Vec::new();
        // The last frame before the close is a Status. A client closes then, so the server need not.
        while !said.windows(STATUS.len()).any(|w| w == STATUS) {
            let read = stream.read_buf(&mut said);
            match tokio::time::timeout(Duration::from_secs(20), read).await {
                Ok(Ok(n)) if n > 0 => {}
                _ => break,
            }
            // A refusal leaves the connection open.
            if said.len() > 12 && !said.starts_with(b"HTTP/1.1 101") {
                return None;
            }
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        said.starts_with("HTTP/1.1 101").then_some(said)
    }

    /// Kills containerd and waits until the agent has started another.
    pub async fn kill_containerd(&self) {
        let file = self.dir.path().join("kubelet/containerd.pid");
        let pid = std::fs::read_to_string(&file).unwrap();
        let target = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        nix::sys::signal::kill(target, nix::sys::signal::Signal::SIGKILL).unwrap();
        while std::fs::read_to_string(&file).unwrap() == pid {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn assert_no_pod_is_left(&self) {
        let root = self.dir.path();
        assert_eq!(std::fs::read_dir(root.join("kubelet/pods")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(root.join("logs")).unwrap().count(), 0);
        assert!(!mounts().contains(&format!("{}/kubelet", root.display())));
        let burstable = format!("/sys/fs/cgroup/memory{}/burstable", self.cgroup());
        let left = std::fs::read_dir(burstable).into_iter().flatten().flatten();
        assert!(
            !left
                .into_iter()
                .any(|e| e.file_name().to_string_lossy().starts_with("pod"))
        );
    }

    pub fn assert_nothing_is_left(&self) {
        let root = self.dir.path().to_str().unwrap().to_owned();
        let left: Vec<_> = mounts()
            .lines()
            .filter(|l| l.contains(&root))
            .map(str::to_owned)
            .collect();
        assert!(left.is_empty(), "mounts: {left:#?}");
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let own = process.file_name().to_string_lossy() == std::process::id().to_string();
            assert!(own || !command.contains(&root), "a process is left: {command}");
        }
        for controller in ["cpu", "memory", "pids", "systemd"] {
            assert!(
                !Path::new(&format!("/sys/fs/cgroup/{controller}{}", self.cgroup())).exists(),
                "{controller}"
            );
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", BRIDGE]).output();
    }
}

fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}

fn write_image(busybox: &Path, out: &Path) {
    let program = std::fs::read(busybox).unwrap();
    let mut layer = Layer::new()
        .directory("bin", 0o755)
        .unwrap()
        .file("bin/busybox", 0o755, &program)
        .unwrap();
    for applet in APPLETS {
        layer = layer.hard_link(&format!("bin/{applet}"), "bin/busybox").unwrap();
    }
    for dir in ["etc", "proc", "sys", "dev", "tmp"] {
        layer = layer.directory(dir, 0o755).unwrap();
    }
    let config = ImageConfig {
        environment: vec!["PATH=/bin".into()],
        ..Default::default()
    };
    let image = OciImage {
        name: IMAGE.into(),
        layer,
        config,
    };
    image.write(&mut std::fs::File::create(out).unwrap()).unwrap();
}

fn write_network(root: &Path) {
    let [a, b, c] = SUBNET;
    let conflist = serde_json::json!({ "cniVersion": "0.4.0", "name": "test", "plugins": [{
        "type": "bridge", "bridge": BRIDGE, "isGateway": true,
        "ipam": { "type": "host-local", "dataDir": root.join("cni"),
                  "ranges": [[{ "subnet": format!("{a}.{b}.{c}.0/24") }]] } }] });
    std::fs::write(root.join("net.d/10-test.conflist"), conflist.to_string()).unwrap();
}

fn write_certificates(dir: &Path) {
    let ca = Ca::generate("test").unwrap();
    ca.write(&dir.join("ca.crt"), &dir.join("ca.key")).unwrap();
    let leaf = |name: &str, group: &str| Leaf {
        common_name: name.into(),
        organizations: vec![group.into()],
        dns_names: vec![],
        ip_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        server: true,
        client: true,
        days: Some(1),
    };
    let server = ca.issue(&leaf("system:node:test-node", "system:nodes")).unwrap();
    server.write(&dir.join("server.crt"), &dir.join("server.key")).unwrap();
    let client = ca
        .issue(&leaf("kube-apiserver-kubelet-client", "kubeadm:cluster-admins"))
        .unwrap();
    client.write(&dir.join("client.crt"), &dir.join("client.key")).unwrap();
}
