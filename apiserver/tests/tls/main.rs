//! The server on a real socket: who a connection is, both protocols, upgrades of identity that must not work, and the drain.

use apiserver::access::Options;
use apiserver::{Config, ServeError, Server, Storage};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pki::tls::{self, ClientAuth};
use pki::{Ca, Leaf};
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod oidc;
mod service;
mod signing_in;
mod webhooks;

struct Cluster {
    dir: tempfile::TempDir,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Cluster {
    async fn start() -> Cluster {
        Cluster::with(|_, _| {}).await
    }

    /// A cluster whose access is configured by `set`, which may write files into the directory.
    async fn with(set: impl FnOnce(&Path, &mut Options)) -> Cluster {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let ca = Ca::generate("kubernetes").unwrap();
        ca.write(&path("ca.crt"), &path("ca.key")).unwrap();
        issue(
            &ca,
            dir.path(),
            "server",
            Leaf {
                common_name: "kube-apiserver".into(),
                dns_names: vec!["localhost".into()],
                server: true,
                ..Leaf::default()
            },
        );
        let admin = Leaf {
            common_name: "admin".into(),
            organizations: vec!["system:masters".into()],
            client: true,
            ..Leaf::default()
        };
        issue(&ca, dir.path(), "admin", admin);
        let node = Leaf {
            common_name: "system:node:n".into(),
            organizations: vec!["system:nodes".into()],
            client: true,
            ..Leaf::default()
        };
        issue(&ca, dir.path(), "node", node);
        let proxies = Ca::generate("front-proxy-ca").unwrap();
        proxies.write(&path("proxies.crt"), &path("proxies.key")).unwrap();
        for (name, common_name) in [("proxy", "front-proxy-client"), ("other-proxy", "somebody")] {
            let leaf = Leaf {
                common_name: common_name.into(),
                organizations: vec!["system:masters".into()],
                client: true,
                ..Leaf::default()
            };
            issue(&proxies, dir.path(), name, leaf);
        }
        let mut options = Options::default();
        set(dir.path(), &mut options);
        let access = options.load(&path("ca.crt"), "https://own").unwrap();
        let mut config = Config::new("test", [127, 0, 0, 1].into());
        config.access = access;
        let server = Server::new(Storage::new(memory::store().await.unwrap()), config);
        server.bootstrap().await.unwrap();
        let ca = path("ca.crt");
        let mut cas = vec![ca.as_path()];
        cas.extend(options.requestheader_client_ca_file.as_deref());
        let (cert, key) = (path("server.crt"), path("server.key"));
        let config = tls::server_config_trusting(&cert, &key, &cas, ClientAuth::Optional).unwrap();
        let config = tls::with_alpn(config, &["h2", "http/1.1"]);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let serving = tokio::spawn(async move { server.serve(listener, config, stopping).await });
        Cluster {
            dir,
            address,
            stop,
            serving,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// One request on a connection of its own.
    async fn send<B>(&self, protocol: &str, identity: Option<&str>, request: Request<B>) -> Response<Incoming>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (cert, key) = (
            identity.map(|name| self.path(&format!("{name}.crt"))),
            identity.map(|name| self.path(&format!("{name}.key"))),
        );
        let identity = cert.as_deref().zip(key.as_deref());
        let config = tls::client_config(&self.path("ca.crt"), identity).unwrap();
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TokioIo::new(
            connector
                .connect(ServerName::try_from("localhost").unwrap(), stream)
                .await
                .unwrap(),
        );
        if protocol == "h2" {
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
                .await
                .unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
    }
}

fn issue(ca: &Ca, dir: &Path, name: &str, leaf: Leaf) {
    ca.issue(&leaf)
        .unwrap()
        .write(&dir.join(format!("{name}.crt")), &dir.join(format!("{name}.key")))
        .unwrap();
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::builder()
        .uri(format!("https://localhost{path}"))
        .header("host", "localhost")
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn a_client_certificate_is_an_identity_on_both_protocols() {
    let cluster = Cluster::start().await;
    for protocol in ["h2", "http/1.1"] {
        let admin = cluster.send(protocol, Some("admin"), get("/api/v1/namespaces")).await;
        assert_eq!(admin.status(), StatusCode::OK, "{protocol}");
        let stranger = cluster.send(protocol, None, get("/api/v1/namespaces")).await;
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED, "{protocol}");
        let healthy = cluster.send(protocol, None, get("/readyz")).await;
        assert_eq!(healthy.status(), StatusCode::OK, "{protocol}");
        let mut bad = get("/api/v1/namespaces");
        bad.headers_mut()
            .insert("authorization", "Bearer nonsense".parse().unwrap());
        let status = cluster.send(protocol, None, bad).await.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{protocol}");
    }
}

#[tokio::test]
async fn impersonation_needs_permission_and_then_replaces_the_user() {
    let cluster = Cluster::start().await;
    let as_jane = || {
        let mut request = get("/api/v1/namespaces");
        request
            .headers_mut()
            .insert("impersonate-user", "jane".parse().unwrap());
        request
    };
    let admin = cluster.send("h2", Some("admin"), as_jane()).await;
    assert_eq!(admin.status(), StatusCode::FORBIDDEN);
    let text = admin.into_body().collect().await.unwrap().to_bytes();
    assert!(
        String::from_utf8_lossy(&text).contains("User \\\"jane\\\" cannot list"),
        "{text:?}"
    );
    let stranger = cluster.send("h2", None, as_jane()).await;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    let node = cluster
        .send("h2", Some("node"), as_jane())
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert!(
        String::from_utf8_lossy(&node).contains("cannot impersonate resource"),
        "{node:?}"
    );
}

/// A client that sends more than is wanted gets an answer, not a broken stream.
#[tokio::test]
async fn what_is_too_large_is_answered() {
    let cluster = Cluster::start().await;
    for protocol in ["h2", "http/1.1"] {
        let chunks = (0..160).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b' '; 64 * 1024]))));
        let request = Request::builder()
            .method("POST")
            .uri("https://localhost/api/v1/namespaces")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(StreamBody::new(futures::stream::iter(chunks)))
            .unwrap();
        let refused = cluster.send(protocol, Some("admin"), request).await;
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE, "{protocol}");
        assert_eq!(reason(refused).await, "RequestEntityTooLarge", "{protocol}");
        let mut long = get("/api/v1/namespaces");
        let value = "x".repeat(100_000);
        long.headers_mut().insert("x-long", value.parse().unwrap());
        let refused = cluster.send(protocol, Some("admin"), long).await;
        assert_eq!(
            refused.status(),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "{protocol}"
        );
        assert_eq!(reason(refused).await, "RequestHeaderFieldsTooLarge", "{protocol}");
    }
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let cluster = Cluster::start().await;
    for protocol in ["h2", "http/1.1"] {
        for path in ["/api/v1/namespaces/default", "/api/v1/nothing", "/livez"] {
            let mut request = get(path);
            *request.method_mut() = http::Method::HEAD;
            let answer = cluster.send(protocol, Some("admin"), request).await;
            let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
            assert!(length > 0, "{protocol} {path}");
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(body.is_empty(), "{protocol} {path}: {body:?}");
        }
    }
}

/// The reason of the Status that an answer is.
async fn reason(answer: Response<Incoming>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
    status["reason"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_stop_ends_watches_and_then_the_server() {
    let cluster = Cluster::start().await;
    let watch = cluster
        .send("h2", Some("admin"), get("/api/v1/namespaces?watch=true"))
        .await;
    let mut body = watch.into_body();
    assert!(
        body.frame()
            .await
            .unwrap()
            .unwrap()
            .data_ref()
            .unwrap()
            .starts_with(b"{\"type\":\"ADDED\"")
    );
    cluster.stop.cancel();
    // The rest of the body is finite now.
    body.collect().await.unwrap();
    cluster.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_forgot_tls_is_told() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let cluster = Cluster::start().await;
    let mut stream = tokio::net::TcpStream::connect(cluster.address).await.unwrap();
    stream
        .write_all(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{answer}");
    assert!(
        answer.ends_with("Client sent an HTTP request to an HTTPS server.\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn garbage_on_the_socket_harms_nobody() {
    use tokio::io::AsyncWriteExt;
    let cluster = Cluster::start().await;
    let mut stream = tokio::net::TcpStream::connect(cluster.address).await.unwrap();
    stream
        .write_all(b"SOCKS? GET / HTTP/1.1\r\n\r\n not TLS at all")
        .await
        .unwrap();
    drop(stream);
    let alive = cluster.send("h2", None, get("/livez")).await;
    assert_eq!(alive.status(), StatusCode::OK);
}

const TOKEN: &str = "abcdef.0123456789abcdef";

/// The Secret of [`TOKEN`], as `kubeadm token create` makes it, with further entries.
fn token_secret(more: &[(&str, &str)]) -> serde_json::Value {
    let usual = [
        ("token-id", "abcdef"),
        ("token-secret", "0123456789abcdef"),
        ("usage-bootstrap-authentication", "true"),
        ("usage-bootstrap-signing", "true"),
        ("auth-extra-groups", "system:bootstrappers:kubeadm:default-node-token"),
    ];
    let data: std::collections::BTreeMap<_, _> = usual.iter().chain(more).copied().collect();
    serde_json::json!({"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef"}, "stringData": data})
}

impl Cluster {
    async fn write(&self, method: &str, path: &str, object: &serde_json::Value) -> StatusCode {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(http_body_util::Full::new(Bytes::from(object.to_string())))
            .unwrap();
        self.send("h2", Some("admin"), request).await.status()
    }

    /// What the holder of a bearer token gets at `path`.
    async fn with_token(&self, token: &str, path: &str) -> StatusCode {
        let mut request = get(path);
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        self.send("h2", None, request).await.status()
    }
}

#[tokio::test]
async fn a_bootstrap_token_signs_in_until_it_expires_or_goes() {
    let cluster = Cluster::start().await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let secret = format!("{secrets}/bootstrap-token-abcdef");
    assert_eq!(cluster.with_token(TOKEN, requests).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        cluster.write("POST", secrets, &token_secret(&[])).await,
        StatusCode::CREATED
    );
    assert_eq!(cluster.with_token(TOKEN, requests).await, StatusCode::OK);
    assert_eq!(cluster.with_token(TOKEN, secrets).await, StatusCode::FORBIDDEN);
    let guessed = "abcdef.0123456789abcdeg";
    assert_eq!(cluster.with_token(guessed, requests).await, StatusCode::UNAUTHORIZED);
    for ended in [
        ("expiration", "2020-01-01T00:00:00Z"),
        ("usage-bootstrap-authentication", "false"),
    ] {
        assert_eq!(
            cluster.write("PUT", &secret, &token_secret(&[ended])).await,
            StatusCode::OK
        );
        assert_eq!(cluster.with_token(TOKEN, requests).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(cluster.write("PUT", &secret, &token_secret(&[])).await, StatusCode::OK);
    assert_eq!(cluster.with_token(TOKEN, requests).await, StatusCode::OK);
    let options = serde_json::json!({});
    assert_eq!(cluster.write("DELETE", &secret, &options).await, StatusCode::OK);
    assert_eq!(cluster.with_token(TOKEN, requests).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_stranger_reads_cluster_info_and_no_other_config_map() {
    let cluster = Cluster::start().await;
    let maps = "/api/v1/namespaces/kube-public/configmaps";
    for name in ["cluster-info", "other"] {
        let map = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        assert_eq!(cluster.write("POST", maps, &map).await, StatusCode::CREATED);
    }
    let stranger = async |path: &str| cluster.send("h2", None, get(path)).await.status();
    assert_eq!(stranger(&format!("{maps}/cluster-info")).await, StatusCode::OK);
    assert_eq!(stranger(&format!("{maps}/other")).await, StatusCode::UNAUTHORIZED);
    let mut removal = get(&format!("{maps}/cluster-info"));
    *removal.method_mut() = http::Method::DELETE;
    let answer = cluster.send("h2", None, removal).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(stranger(maps).await, StatusCode::UNAUTHORIZED);
}
