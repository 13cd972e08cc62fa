//! The door over TLS: who has a certificate of the client authority gets in, nobody else; and the pages beside gRPC.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use etcd::{EtcdConfig, serve, services::etcdserverpb::kv_client::KvClient};
use pki::{
    Ca, Identity, Leaf,
    tls::{ClientAuth, server_config},
};
use proto::etcd::etcdserverpb::PutRequest;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

fn leaf(name: &str, server: bool) -> Leaf {
    Leaf {
        common_name: name.into(),
        organizations: vec![],
        dns_names: vec![],
        ip_addresses: vec![[127, 0, 0, 1].into()],
        server,
        client: !server,
        days: None,
    }
}

fn write(identity: &Identity, folder: &Path, name: &str) {
    identity
        .write(&folder.join(format!("{name}.crt")), &folder.join(format!("{name}.key")))
        .unwrap();
}

/// Certificates: `ca`, `server`, `client`, and a `stranger` whose authority is another.
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let ca = Ca::generate("test").unwrap();
    ca.write(&path.join("ca.crt"), &path.join("ca.key")).unwrap();
    write(&ca.issue(&leaf("server", true)).unwrap(), path, "server");
    write(&ca.issue(&leaf("client", false)).unwrap(), path, "client");
    let other = Ca::generate("test").unwrap();
    write(&other.issue(&leaf("stranger", false)).unwrap(), path, "stranger");
    folder
}

async fn open(certificates: Option<&Path>) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = certificates.map(|path| {
        let (cert, key, ca) = (path.join("server.crt"), path.join("server.key"), path.join("ca.crt"));
        server_config(&cert, &key, Some(&ca), ClientAuth::Required).unwrap()
    });
    let stop = CancellationToken::new();
    let store = memory::store().await.unwrap();
    let mut config = EtcdConfig::new("one", vec![]);
    config.bcrypt_cost = 4;
    tokio::spawn(serve(listener, tls, store, config, stop.clone()));
    (address, stop.drop_guard())
}

fn etcdctl(address: SocketAddr, folder: &Path, identity: Option<&str>) -> Command {
    let mut command = Command::new("etcdctl");
    let file = |name: &str| folder.join(name).display().to_string();
    command.env("ETCDCTL_API", "3").args([
        "--endpoints",
        &format!("https://{address}"),
        "--cacert",
        &file("ca.crt"),
    ]);
    if let Some(name) = identity {
        command.args([
            "--cert",
            &file(&format!("{name}.crt")),
            "--key",
            &file(&format!("{name}.key")),
        ]);
    }
    command.args(["--command-timeout=10s", "--dial-timeout=10s"]);
    command
}

/// Runs `etcdctl`, with `endpoint status` if it was given nothing to do.
async fn status(mut command: Command) -> Option<std::process::Output> {
    if command
        .get_args()
        .last()
        .is_some_and(|last| last == "--dial-timeout=10s")
    {
        command.args(["endpoint", "status"]);
    }
    let output = tokio::process::Command::from(command).output().await;
    if output.is_err() {
        skip::skip("there is no etcdctl (Debian: etcd-client)");
    }
    output.ok()
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_authority_get_in() {
    let certificates = certificates();
    let (address, _stop) = open(Some(certificates.path())).await;
    let Some(output) = status(etcdctl(address, certificates.path(), Some("client"))).await else {
        return;
    };
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(text.contains("3.6.5"), "{text}{errors}");
    for identity in [None, Some("stranger")] {
        let output = status(etcdctl(address, certificates.path(), identity)).await.unwrap();
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{identity:?} got in"
        );
    }
    // Whoever does not speak TLS is no harm to those who do.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"));
    let output = status(etcdctl(address, certificates.path(), Some("client")))
        .await
        .unwrap();
    assert!(output.status.success());
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .expect("no answer")
        .unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    format!("{} {}", head.split(' ').nth(1).unwrap(), body.trim_end())
}

#[tokio::test]
async fn plain_pages_tell_of_health_and_version() {
    let (address, _stop) = open(None).await;
    let cases = [
        ("/health", "200 {\"health\":\"true\",\"reason\":\"\"}"),
        (
            "/health?serializable=true&exclude=NOSPACE",
            "200 {\"health\":\"true\",\"reason\":\"\"}",
        ),
        ("/version", "200 {\"etcdserver\":\"3.6.5\",\"etcdcluster\":\"3.6.0\"}"),
        ("/livez", "200 ok"),
        ("/readyz", "200 ok"),
        ("/nothing", "404 404 page not found"),
    ];
    for (path, expected) in cases {
        assert_eq!(get(address, path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn metrics_have_etcds_names() {
    let (address, _stop) = open(None).await;
    // Two calls to be counted: one that is answered and one that is refused.
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).unwrap();
    let mut kv = KvClient::new(channel.connect().await.unwrap());
    let put = |key: &str| PutRequest {
        key: key.to_owned().into(),
        ..Default::default()
    };
    kv.put(put("k")).await.unwrap();
    kv.put(put("")).await.unwrap_err();
    let page = get(address, "/metrics").await;
    for line in [
        "etcd_mvcc_put_total 1",
        "etcd_mvcc_delete_total 0",
        "etcd_server_leader_changes_seen_total 1",
        "grpc_server_started_total{grpc_type=\"unary\",grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\"} 2",
        "grpc_server_handled_total{grpc_type=\"unary\",grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\",grpc_code=\"OK\"} 1",
        "grpc_server_handled_total{grpc_type=\"unary\",grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\",grpc_code=\"InvalidArgument\"} 1",
        "grpc_server_handling_seconds_count{grpc_type=\"unary\",grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\"} 2",
        "grpc_server_started_total{grpc_type=\"bidi_stream\",grpc_service=\"etcdserverpb.Watch\",grpc_method=\"Watch\"} 0",
        "# TYPE etcd_disk_wal_fsync_duration_seconds histogram",
        "# TYPE etcd_network_peer_round_trip_time_seconds histogram",
        "etcd_server_has_leader 1",
        "etcd_server_is_leader 1",
        "etcd_server_version{server_version=\"3.6.5\"} 1",
        "etcd_debugging_mvcc_current_revision 2",
        "# TYPE etcd_mvcc_db_total_size_in_bytes gauge",
    ] {
        assert!(page.lines().any(|have| have == line), "{line} is not in {page}");
    }
    // What was written was synced and applied, so it was measured.
    for name in [
        "etcd_disk_wal_fsync_duration_seconds",
        "etcd_disk_backend_commit_duration_seconds",
    ] {
        let count = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}_count ")));
        assert!(count.is_some_and(|count| count != "0"), "{name}: {page}");
        let all = format!("{name}_bucket{{le=\"+Inf\"}} {}", count.unwrap());
        assert!(page.contains(&all), "{all} is not in {page}");
    }
}

/// With authentication enabled, a certificate's common name is a user; a token goes before it.
#[tokio::test]
async fn a_certificate_names_a_user() {
    let certificates = certificates();
    let (address, _stop) = open(Some(certificates.path())).await;
    let run = async |line: &str| {
        let mut command = etcdctl(address, certificates.path(), Some("client"));
        command.args(line.split(' '));
        status(command).await
    };
    for line in [
        "user add client --no-password",
        "role add mine",
        "role grant-permission mine readwrite mine/ --prefix",
        "user grant-role client mine",
        "user add root:secret",
        "user grant-role root root",
        "auth enable",
    ] {
        let Some(output) = run(line).await else { return };
        assert!(output.status.success(), "{line}: {output:?}");
    }
    assert!(run("put mine/a 1").await.unwrap().status.success());
    let refused = run("put yours 1").await.unwrap();
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("permission denied"),
        "{refused:?}"
    );
    assert!(run("--user=root:secret put yours 1").await.unwrap().status.success());
    // A password that a user does not have is never right.
    let refused = run("--user=client:x get mine/a").await.unwrap();
    assert!(!refused.status.success(), "{refused:?}");
}
