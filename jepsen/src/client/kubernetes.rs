//! A plain client of the Kubernetes API: JSON over one HTTP/1.1 connection, made anew after any trouble.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Events, Failure, Target};
use crate::limits::CONNECT_TIMEOUT;

pub(crate) struct Api {
    target: Target,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What the API answered: the status and the object.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The object of a 2xx answer. Any other answer of a 4xx kind says that nothing was done.
    ///
    /// # Errors
    /// The request failed, definitely or not.
    pub(crate) fn object(self) -> Result<Value, Failure> {
        let text = || format!("{}: {}", self.status, self.body["message"].as_str().unwrap_or_default());
        match self.status {
            200..=299 => Ok(self.body),
            400..=499 => Err(Failure::Definite(text())),
            _ => Err(Failure::Unknown(text())),
        }
    }
}

impl Api {
    pub(crate) fn new(target: &Target) -> Api {
        Api {
            target: target.clone(),
            connection: None,
        }
    }

    /// # Errors
    /// No connection: nothing was sent. Anything later: unknown.
    pub(crate) async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let mut connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self
                .connect()
                .await
                .map_err(|error| Failure::Definite(format!("no connection: {error:#}")))?,
        };
        let unknown = |error: &dyn std::fmt::Display| Failure::Unknown(error.to_string());
        let content = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.target.api.as_deref().unwrap_or_default())
            .header("accept", "application/json")
            .header("content-type", content)
            .body(Full::new(body))
            .map_err(|error| Failure::Definite(error.to_string()))?;
        let response = connection
            .send_request(request)
            .await
            .map_err(|error| unknown(&error))?;
        let status = response.status().as_u16();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(|error| unknown(&error))?
            .to_bytes();
        self.connection = Some(connection);
        Ok(Answer {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        })
    }

    /// Opens a watch over a connection of its own: the status, and what is told if that is 200.
    ///
    /// # Errors
    /// No connection, or no answer.
    pub(crate) async fn watch(&self, path: &str) -> Result<(u16, Events), Failure> {
        let definite = |error: String| Failure::Definite(error);
        let mut connection = self.connect().await.map_err(|error| definite(format!("{error:#}")))?;
        let request = Request::builder()
            .uri(path)
            .header("host", self.target.api.as_deref().unwrap_or_default())
            .header("accept", "application/json")
            .body(Full::default())
            .map_err(|error| definite(error.to_string()))?;
        let response = connection.send_request(request).await;
        let response = response.map_err(|error| definite(error.to_string()))?;
        Ok((
            response.status().as_u16(),
            Events {
                body: response.into_body(),
                left: Vec::new(),
                _connection: connection,
            },
        ))
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let address = self.target.api.clone().unwrap_or_default();
        let pki = &self.target.pki;
        let identity = (pki.join("api-client.crt"), pki.join("api-client.key"));
        let tls = pki::tls::client_config(&pki.join("api-ca.crt"), Some((&identity.0, &identity.1)))?;
        let host = address
            .rsplit_once(':')
            .map_or(address.as_str(), |(host, _)| host)
            .to_string();
        let opening = async {
            let tcp = TcpStream::connect(&address).await?;
            let tls = TlsConnector::from(tls)
                .connect(ServerName::try_from(host)?, tcp)
                .await?;
            let (sender, connection) = handshake(TokioIo::new(tls)).await?;
            tokio::spawn(connection);
            anyhow::Ok(sender)
        };
        tokio::time::timeout(CONNECT_TIMEOUT, opening).await?
    }
}
