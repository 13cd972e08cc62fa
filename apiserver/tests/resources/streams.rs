//! Logs and upgraded streams, through a real TLS listener to a kubelet that echoes.

use crate::harness::Cluster;
use apiserver::{Body, Config, Server};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pki::tls::{ClientAuth, client_config, server_config};
use pki::{Ca, Leaf};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

/// A CA and the certificates of everyone, as files.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let files = Files(tempfile::tempdir().unwrap());
        let ca = Ca::generate("test").unwrap();
        ca.write(&files.path("ca.crt"), &files.path("ca.key")).unwrap();
        for (name, common_name, groups) in [
            ("server", "kube-apiserver", ""),
            ("kubelet", "system:node:n1", "system:nodes"),
            ("to-kubelet", "kube-apiserver-kubelet-client", "kubeadm:cluster-admins"),
            ("admin", "kubernetes-admin", "kubeadm:cluster-admins"),
        ] {
            let leaf = Leaf {
                common_name: common_name.into(),
                organizations: groups.split_whitespace().map(str::to_owned).collect(),
                ip_addresses: vec!["127.0.0.1".parse().unwrap()],
                server: true,
                client: true,
                ..Leaf::default()
            };
            let (certificate, key) = files.pair(name);
            ca.issue(&leaf).unwrap().write(&certificate, &key).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")))
    }
}

/// Answers with the path and query it was asked for; echoes what comes over an upgraded connection.
async fn kubelet(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let target = request.uri().to_string();
    let Some(protocol) = request.headers().get("upgrade").cloned() else {
        return Ok(Response::new(Body::from(format!("asked for {target}"))));
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.unwrap());
        stream.write_all(format!("hello {target}\n").as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    Ok(response
        .header("connection", "Upgrade")
        .header("upgrade", protocol)
        .body(Body::empty())
        .unwrap())
}

async fn run_kubelet(files: &Files) -> u16 {
    let (certificate, key) = files.pair("kubelet");
    let ca = files.path("ca.crt");
    let tls = server_config(&certificate, &key, Some(&ca), ClientAuth::Required).unwrap();
    let acceptor = TlsAcceptor::from(pki::tls::with_alpn(tls, &["http/1.1"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(kubelet));
            tokio::spawn(connection.with_upgrades());
        }
    });
    port
}

struct Served {
    files: Files,
    port: u16,
    _stop: tokio_util::sync::DropGuard,
}

/// A served API with a node `n1`, whose kubelet echoes, and a pod `p` there.
async fn serve() -> Served {
    let files = Files::new();
    let kubelet_port = run_kubelet(&files).await;
    let (certificate, key) = files.pair("to-kubelet");
    let mut config = Config::new("m1", "127.0.0.1".parse().unwrap());
    config.kubelet_client_certificate = Some(certificate);
    config.kubelet_client_key = Some(key);
    config.kubelet_ca = Some(files.path("ca.crt"));
    let cluster = Cluster::with(config).await;
    let admin = cluster.admin();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    admin
        .post("/api/v1/namespaces/default/serviceaccounts", account)
        .await
        .expect(201);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}}}});
    admin.post("/api/v1/nodes", node).await.expect(201);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    admin.post("/api/v1/namespaces/default/pods", pod).await.expect(201);
    let port = listen(&files, cluster.server.clone()).await;
    Served {
        files,
        port: port.0,
        _stop: port.1,
    }
}

async fn listen(files: &Files, server: Arc<Server>) -> (u16, tokio_util::sync::DropGuard) {
    let (certificate, key) = files.pair("server");
    let tls = server_config(&certificate, &key, Some(&files.path("ca.crt")), ClientAuth::Optional).unwrap();
    let tls = pki::tls::with_alpn(tls, &["h2", "http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move { server.serve(listener, tls, stopped).await });
    (port, stop.drop_guard())
}

impl Served {
    async fn connect(&self, identity: Option<&str>) -> TlsStream<TcpStream> {
        let pair = identity.map(|name| self.files.pair(name));
        let pair: Option<(&Path, &Path)> = pair.as_ref().map(|(c, k)| (c.as_path(), k.as_path()));
        let tls = client_config(&self.files.path("ca.crt"), pair).unwrap();
        let mut tls = rustls::ClientConfig::clone(&tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        TlsConnector::from(Arc::new(tls))
            .connect("127.0.0.1".try_into().unwrap(), stream)
            .await
            .unwrap()
    }

    async fn send(&self, identity: Option<&str>, request: Request<Body>) -> Response<Incoming> {
        let stream = self.connect(identity).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.unwrap()
    }
}

fn get(path: &str) -> http::request::Builder {
    Request::builder().uri(path).header("host", "127.0.0.1")
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn logs_come_from_the_kubelet() {
    let served = serve().await;
    let path = "/api/v1/namespaces/default/pods/p/log?follow=true&tailLines=5";
    let response = served.send(Some("admin"), get(path).body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        text(response).await,
        "asked for /containerLogs/default/p/c?follow=true&tailLines=5"
    );
}

#[tokio::test]
async fn an_exec_stream_is_copied_both_ways_with_half_close() {
    let served = serve().await;
    let request = get("/api/v1/namespaces/default/pods/p/exec?command=sh&stdin=true&stdout=true")
        .method("POST")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .body(Body::empty())
        .unwrap();
    let mut response = served.send(Some("admin"), request).await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "SPDY/3.1");
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    stream.write_all(b"ping").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello /exec/default/p/c?command=sh&input=1&output=1\nping");
}

#[tokio::test]
async fn strangers_see_health_and_get_401_for_the_rest() {
    let served = serve().await;
    let ask = async |identity, path: &str| served.send(identity, get(path).body(Body::empty()).unwrap()).await;
    assert_eq!(ask(None, "/livez").await.status(), 200);
    let refused = ask(None, "/api/v1/pods").await;
    assert_eq!(refused.status(), 401);
    let status: Value = serde_json::from_str(&text(refused).await).unwrap();
    assert_eq!(status["reason"], "Unauthorized");
    assert_eq!(ask(Some("admin"), "/api/v1/pods").await.status(), 200);
    assert_eq!(ask(Some("kubelet"), "/api/v1/secrets").await.status(), 403);
}

/// An address of this machine that others could use; none without a network.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: it only picks a route.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test]
async fn proxies_pass_requests_on_to_pods() {
    let Some(address) = own_address() else {
        return eprintln!("skipped: this machine has no address besides loopback");
    };
    let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                let seen = format!("{} {}", request.method(), request.uri());
                Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(bytes::Bytes::from(
                    seen,
                ))))
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    let (_cluster, admin) = Cluster::ready().await;
    let base = "/api/v1/namespaces/default";
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": port}]}]}});
    admin.post(&format!("{base}/pods"), pod).await.expect(201);
    assert_eq!(
        admin.get(&format!("{base}/pods/p/proxy/x")).await.code,
        400,
        "it has no address yet"
    );
    let status = json!({"status": {"podIP": address.to_string(), "podIPs": [{"ip": address.to_string()}]}});
    admin.merge(&format!("{base}/pods/p/status"), status).await.expect(200);
    let answer = admin.get(&format!("{base}/pods/p/proxy/a/b/?c=d")).await;
    assert_eq!((answer.code, answer.body), (200, json!("GET /a/b/?c=d")));
    let answer = admin.post(&format!("{base}/pods/p:{port}/proxy/"), json!({})).await;
    assert_eq!((answer.code, answer.body), (200, json!("POST /")));
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80}]}});
    admin.post(&format!("{base}/services"), service).await.expect(201);
    assert_eq!(admin.get(&format!("{base}/services/s/proxy/x")).await.code, 503);
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
        "ports": [{"name": "web", "port": port, "protocol": "TCP"}], "endpoints": [{"addresses": [address.to_string()]}]});
    admin
        .post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice)
        .await
        .expect(201);
    let answer = admin.get(&format!("{base}/services/s:web/proxy/x")).await;
    assert_eq!((answer.code, answer.body), (200, json!("GET /x")));
}
