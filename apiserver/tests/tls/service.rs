//! A service beside the cluster: https under the cluster's CA, answers as a test says, and a record of what it was asked.

use super::*;
use parking_lot::Mutex;
use serde_json::Value;
use std::convert::Infallible;

/// What was asked: path, `Authorization`, body.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub path: String,
    pub authorization: String,
    pub body: Value,
}

type Answers = Arc<dyn Fn(&Asked) -> (u16, Value) + Send + Sync>;

#[derive(Clone)]
pub struct Service {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<Answers>>,
}

impl Service {
    /// Serves with the certificate of the cluster's server, until the runtime ends.
    pub fn start(directory: &Path, answers: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Service {
        let at = |name: &str| directory.join(name);
        let (cert, key, ca) = (at("server.crt"), at("server.key"), at("ca.crt"));
        let config = tls::server_config(&cert, &key, Some(&ca), ClientAuth::Optional).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let service = Service {
            port: listener.local_addr().unwrap().port(),
            asked: Arc::default(),
            answers: Arc::new(Mutex::new(Arc::new(answers))),
        };
        tokio::spawn(
            service
                .clone()
                .accept(listener, tokio_rustls::TlsAcceptor::from(config)),
        );
        service
    }

    async fn accept(self, listener: tokio::net::TcpListener, acceptor: tokio_rustls::TlsAcceptor) {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, acceptor) = (self.clone(), acceptor.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let answer = hyper::service::service_fn(move |request| service.clone().answer(request));
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<http_body_util::Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let authorization = parts
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        let asked = Asked {
            path: parts.uri.path().to_owned(),
            authorization: authorization.unwrap_or_default(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        self.asked.lock().push(asked.clone());
        let answers = self.answers.lock().clone();
        let (code, body) = answers(&asked);
        let body = http_body_util::Full::new(Bytes::from(body.to_string()));
        Ok(Response::builder().status(code).body(body).unwrap())
    }

    /// From now on it answers otherwise.
    pub fn answer_by(&self, answers: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) {
        *self.answers.lock() = Arc::new(answers);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// A kubeconfig that leads to it, with a token of its own.
    pub fn kubeconfig(&self, directory: &Path) -> PathBuf {
        let path = directory.join(format!("service-{}.conf", self.port));
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: 'https://localhost:{}/review', certificate-authority: ca.crt}}}}]\n\
             users: [{{name: u, user: {{token: server-token}}}}]\n",
            self.port
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}
