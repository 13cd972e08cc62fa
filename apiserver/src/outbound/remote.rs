//! Services beside the cluster that the configuration names: webhooks that judge tokens and permissions, issuers of tokens. Always
//! https, always with a CA, one connection a question, and everything bounded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// An answer larger than this is none.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Questions to one service at once; others wait for as long as they may take.
const QUESTIONS_MAX: usize = 64;

/// A service: where it is, whom it must prove to be, and what this server shows it.
pub struct Remote {
    place: Place,
    tls: Arc<ClientConfig>,
    /// Marked as sensitive: it is never shown.
    authorization: Option<HeaderValue>,
    slots: Semaphore,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    /// Whom its certificate must name.
    name: ServerName<'static>,
    /// Path and query.
    target: String,
}

impl Remote {
    /// The service at `url` under a CA (PEM).
    pub fn new(url: &str, ca: &[u8]) -> Result<Remote, String> {
        let tls = pki::tls::client_config_of(ca, None).map_err(|error| error.to_string())?;
        Ok(Remote::of(place(url, "")?, tls, None))
    }

    /// The cluster and the user of a kubeconfig's current context. Files that it names are looked for from `directory`. The error
    /// begins with the field that is wrong.
    pub fn of_kubeconfig(text: &str, directory: &Path) -> Result<Remote, String> {
        // Without the lines around the mistake: one of them may be the token.
        let file: Kubeconfig = serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string())?;
        let context = named(&file.contexts, &file.current_context, "current-context")?;
        let cluster = named(&file.clusters, &context.context.cluster, "cluster of the context")?;
        let cluster = &cluster.cluster;
        if cluster.insecure_skip_tls_verify {
            return Err("insecure-skip-tls-verify: is not supported: name the service's CA".into());
        }
        let ca = bytes(
            &cluster.certificate_authority_data,
            &cluster.certificate_authority,
            directory,
        );
        let ca = ca.map_err(|why| format!("certificate-authority: {why}"))?;
        let ca = ca.ok_or("certificate-authority: or certificate-authority-data is needed")?;
        let user = match context.context.user.as_str() {
            "" => User::default(),
            name => named(&file.users, name, "user of the context")?.user.clone(),
        };
        let cert = bytes(&user.client_certificate_data, &user.client_certificate, directory);
        let key = bytes(&user.client_key_data, &user.client_key, directory);
        let cert = cert.map_err(|why| format!("client-certificate: {why}"))?;
        let key = key.map_err(|why| format!("client-key: {why}"))?;
        let identity = match (&cert, &key) {
            (Some(cert), Some(key)) => Some((cert.as_slice(), key.as_slice())),
            (None, None) => None,
            _ => return Err("client-certificate: and client-key are needed together".into()),
        };
        let tls = pki::tls::client_config_of(&ca, identity).map_err(|error| error.to_string())?;
        let authorization = match user.token.as_str() {
            "" => None,
            token => {
                let value = HeaderValue::try_from(format!("Bearer {token}"));
                let mut value = value.map_err(|_| "token: cannot be sent in a header")?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let place = place(&cluster.server, &cluster.tls_server_name).map_err(|why| format!("server: {why}"))?;
        Ok(Remote::of(place, tls, authorization))
    }

    fn of(place: Place, tls: Arc<ClientConfig>, authorization: Option<HeaderValue>) -> Remote {
        Remote {
            place,
            tls,
            authorization,
            slots: Semaphore::new(QUESTIONS_MAX),
        }
    }

    /// Posts JSON and reads the JSON that comes back. The error says what failed, never what was sent.
    pub async fn post(&self, question: &Value, timeout: Duration) -> Result<Value, String> {
        let request = Request::post(&self.place.target).header(header::CONTENT_TYPE, "application/json");
        self.ask(request, Bytes::from(question.to_string()), timeout).await
    }

    /// Gets a JSON document.
    pub async fn get(&self, timeout: Duration) -> Result<Value, String> {
        self.ask(Request::get(&self.place.target), Bytes::new(), timeout).await
    }

    async fn ask(&self, request: http::request::Builder, body: Bytes, timeout: Duration) -> Result<Value, String> {
        let told = |why: &dyn std::fmt::Display| {
            let Place { host, port, target, .. } = &self.place;
            format!("https://{host}:{port}{target}: {why}")
        };
        let asking = async {
            let _slot = self.slots.acquire().await.map_err(|error| error.to_string())?;
            self.exchange(request, body).await
        };
        let answer = match tokio::time::timeout(timeout, asking).await {
            Ok(answer) => answer.map_err(|why| told(&why))?,
            Err(_) => return Err(told(&format!("no answer within {timeout:?}"))),
        };
        serde_json::from_slice(&answer).map_err(|_| told(&"the answer is not JSON"))
    }

    async fn exchange(&self, request: http::request::Builder, body: Bytes) -> Result<Bytes, String> {
        fn text(error: impl std::fmt::Display) -> String {
            error.to_string()
        }
        let Place { host, port, name, .. } = &self.place;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(text)?;
        let _ = stream.set_nodelay(true);
        let tls = tokio_rustls::TlsConnector::from(self.tls.clone());
        let stream = tls.connect(name.clone(), stream).await.map_err(text)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
        // Ends with the answer: nothing else is sent.
        tokio::spawn(connection);
        let mut request = request
            .header(header::HOST, self.authority())
            .header(header::ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        let request = request.body(Full::new(body)).map_err(text)?;
        let response = sender.send_request(request).await.map_err(text)?;
        // Redirects are no success: where a service is, the configuration says.
        let status = response.status();
        if !status.is_success() {
            return Err(format!("an error on the server ({status})"));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        body.map(|body| body.to_bytes()).map_err(text)
    }

    fn authority(&self) -> String {
        let Place { host, port, .. } = &self.place;
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    }
}

/// Where a URL leads. `name`: whom the certificate must name, if not the URL's host.
fn place(url: &str, name: &str) -> Result<Place, String> {
    let uri: http::Uri = url.parse().map_err(|_| format!("{url:?} is not a URL"))?;
    if uri.scheme_str() != Some("https") {
        return Err(format!("{url:?} does not begin with https://"));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("a URL with a user in it is not supported".into());
    }
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(format!("{url:?} has no host"));
    }
    let wanted = if name.is_empty() { host.clone() } else { name.to_owned() };
    let name = ServerName::try_from(wanted).map_err(|_| format!("{url:?}: its host cannot be in a certificate"))?;
    Ok(Place {
        host,
        port: uri.port_u16().unwrap_or(443),
        name,
        target: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
    })
}

fn named<'a, T: Named>(list: &'a [T], name: &str, what: &str) -> Result<&'a T, String> {
    let found = list.iter().find(|item| item.name() == name && !name.is_empty());
    found.ok_or_else(|| format!("{what}: there is no {name:?}"))
}

/// The bytes that a field holds in base64, or that are in the file that another names.
fn bytes(data: &str, file: &Option<PathBuf>, directory: &Path) -> Result<Option<Vec<u8>>, String> {
    match (data, file) {
        ("", None) => Ok(None),
        ("", Some(file)) => {
            let path = directory.join(file);
            let read = std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()));
            read.map(Some)
        }
        (data, _) => STANDARD
            .decode(data)
            .map(Some)
            .map_err(|_| "its data is not base64".into()),
    }
}

trait Named {
    fn name(&self) -> &str;
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<NamedContext>,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

/// What is not here cannot be honoured, and is refused.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    #[serde(default)]
    certificate_authority_data: String,
    #[serde(default)]
    tls_server_name: String,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}

/// As for [`Cluster`]: no plugins, no passwords, no files with tokens that change.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: String,
    client_key: Option<PathBuf>,
    client_key_data: String,
    token: String,
}

impl Named for NamedContext {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for NamedCluster {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for NamedUser {
    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cluster: &str, user: &str) -> Result<Remote, String> {
        let here = tempfile::tempdir().unwrap();
        let ca = pki::Ca::generate("test").unwrap();
        ca.write(&here.path().join("ca.crt"), &here.path().join("ca.key"))
            .unwrap();
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        );
        Remote::of_kubeconfig(&text, here.path())
    }

    const GOOD: &str = "server: 'https://example.com:8443/check?x=y', certificate-authority: ca.crt";

    #[test]
    fn a_kubeconfig_says_where_and_under_whose_name() {
        let remote = config(GOOD, "token: t").unwrap();
        assert_eq!(remote.authority(), "example.com:8443");
        assert_eq!(remote.place.target, "/check?x=y");
        assert!(remote.authorization.as_ref().unwrap().is_sensitive());
        let other = config(&format!("{GOOD}, tls-server-name: other"), "").unwrap();
        assert_eq!(other.place.name, ServerName::try_from("other").unwrap());
    }

    #[test]
    fn what_cannot_be_trusted_or_honoured_is_refused() {
        for (cluster, user, named) in [
            (
                "server: 'http://example.com', certificate-authority: ca.crt",
                "",
                "server",
            ),
            (
                "server: 'https://a@example.com', certificate-authority: ca.crt",
                "",
                "server",
            ),
            ("server: 'https://example.com'", "", "certificate-authority"),
            (
                "server: 'https://example.com', certificate-authority: nothing",
                "",
                "certificate-authority",
            ),
            (
                &format!("{GOOD}, insecure-skip-tls-verify: true"),
                "",
                "insecure-skip-tls-verify",
            ),
            (&format!("{GOOD}, proxy-url: 'http://x'"), "", "proxy-url"),
            (GOOD, "username: a, password: b", "username"),
            (GOOD, "exec: {command: x}", "exec"),
            (GOOD, "client-certificate: ca.crt", "client-key"),
        ] {
            let problem = config(cluster, user).err().expect(named);
            assert!(problem.contains(named), "{named}: {problem}");
        }
        let near = config(GOOD, "token: secret, surprise: 1").err().unwrap();
        assert!(near.contains("surprise") && !near.contains("secret"), "{near}");
        let nowhere = Remote::of_kubeconfig("clusters: []", Path::new("/"));
        assert!(nowhere.err().unwrap().starts_with("current-context"));
    }
}
