//! One HTTPS request to a webhook: where it is, whom it must prove to be, and what it answers.

use crate::outbound::proxy::{ready, slices_of};
use crate::registry::Reader;
use crate::registry::fields::{at, list, number, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::net::TcpStream;

/// An answer larger than this is none.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// CA bundles whose TLS configuration is kept.
const CONFIGS_MAX: usize = 256;

/// Calls webhooks. Keeps one TLS configuration for each CA bundle.
#[derive(Default)]
pub(super) struct Caller {
    configs: Mutex<HashMap<String, Arc<ClientConfig>>>,
}

/// Where a webhook is.
#[derive(Debug, PartialEq)]
struct Place {
    /// What is connected to.
    host: String,
    port: u16,
    /// Whom its certificate must name.
    name: String,
    /// The request's target.
    path: String,
}

impl Caller {
    /// Posts a review; yields the body of the answer. The error says what failed, for people.
    pub(super) async fn post(&self, reader: &Reader, client: &Value, review: &Value) -> Result<Bytes, String> {
        let place = match at(client, "service") {
            Some(service) => of_service(reader, service).await?,
            None => of_url(text(client, "url"))?,
        };
        let told = |why: &dyn std::fmt::Display| {
            format!("Post \"https://{}:{}{}\": {why}", place.name, place.port, place.path)
        };
        let tls = self.config(text(client, "caBundle"))?;
        let stream = TcpStream::connect((place.host.as_str(), place.port))
            .await
            .map_err(|e| told(&e))?;
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(place.name.clone()).map_err(|e| told(&e))?;
        let stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await;
        let stream = stream.map_err(|e| told(&e))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| told(&e))?;
        // Ends with the answer: nothing else is sent.
        tokio::spawn(connection);
        let request = Request::post(&place.path)
            .header(header::HOST, format!("{}:{}", place.name, place.port))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from(review.to_string())))
            .map_err(|e| told(&e))?;
        let response = sender.send_request(request).await.map_err(|e| told(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| told(&e))?.to_bytes();
        match status.is_success() {
            true => Ok(body),
            false => Err(told(&format!("an error on the server ({status})"))),
        }
    }

    /// The TLS configuration that trusts a bundle (base64 of PEM) and nothing else.
    fn config(&self, bundle: &str) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.configs.lock().get(bundle) {
            return Ok(config.clone());
        }
        let pem = STANDARD.decode(bundle).map_err(|error| format!("caBundle: {error}"))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| format!("caBundle: {error}"))?;
            roots.add(certificate).map_err(|error| format!("caBundle: {error}"))?;
        }
        if roots.is_empty() {
            return Err("tls: failed to verify certificate: the webhook has no caBundle".into());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        let mut configs = self.configs.lock();
        if configs.len() >= CONFIGS_MAX {
            configs.clear();
        }
        configs.insert(bundle.to_owned(), config.clone());
        Ok(config)
    }
}

fn of_url(url: &str) -> Result<Place, String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
    let host = uri.host().ok_or_else(|| format!("{url:?} has no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Place {
        name: host.clone(),
        host,
        port: uri.port_u16().unwrap_or(443),
        path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
    })
}

/// A ready address behind a service: masters do not go through the service's own.
async fn of_service(reader: &Reader, reference: &Value) -> Result<Place, String> {
    let (namespace, name) = (text(reference, "namespace"), text(reference, "name"));
    let port = match number(reference, "port") {
        0 => 443,
        port => port,
    };
    let service = reader
        .local("services", namespace, name)
        .await
        .map_err(|error| error.to_string())?;
    let service = service.ok_or_else(|| format!("service {name:?} not found"))?;
    let entry = list(&service, "spec.ports")
        .iter()
        .find(|entry| number(entry, "port") == port);
    let entry = entry.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let path = match text(reference, "path") {
        "" => "/",
        path => path,
    };
    let place = |host: &str, port: i64| Place {
        host: host.to_owned(),
        port: u16::try_from(port).unwrap_or_default(),
        name: format!("{name}.{namespace}.svc"),
        path: path.to_owned(),
    };
    if text(&service, "spec.type") == "ExternalName" {
        return Ok(place(text(&service, "spec.externalName"), port));
    }
    let slices = slices_of(reader, namespace, name)
        .await
        .map_err(|error| error.to_string())?;
    match ready(&slices, text(entry, "name")) {
        Some((address, port)) => Ok(place(&address, port.into())),
        None => Err(format!("no endpoints available for service {name:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where() {
        let place = of_url("https://example.com:8443/a?b=c").unwrap();
        assert_eq!(
            (place.host.as_str(), place.port, place.path.as_str()),
            ("example.com", 8443, "/a?b=c")
        );
        assert_eq!(of_url("https://[::1]/x").unwrap().host, "::1");
        assert_eq!(of_url("https://h").unwrap().path, "/");
        assert!(of_url("not a url").is_err());
    }
}
