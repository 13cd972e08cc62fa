//! rustls configurations from PEM files. The own certificate is read again when its file changes, so a renewed one is
//! served without a restart; trust roots are read once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use crate::Error;

/// How often, at most, a handshake looks whether the certificate's file has changed.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// A renewal replaces key and certificate one after the other: whoever starts in between looks again, this often and with
/// this pause, before it gives up.
const OPEN_TRIES: usize = 50;
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// What a server asks of a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Without a certificate of the client CA there is no connection (peers, etcd door).
    Required,
    /// A certificate is verified if there is one; without it, other authentication decides (the API).
    Optional,
    /// Certificates are not asked for.
    None,
}

/// A server's configuration: certificate and key (PEM files), and what it asks of clients. ALPN is the caller's.
pub fn server_config(
    cert: &Path,
    key: &Path,
    client_ca: Option<&Path>,
    auth: ClientAuth,
) -> Result<Arc<ServerConfig>, Error> {
    server_config_trusting(cert, key, client_ca.as_slice(), auth)
}

/// [`server_config`] with several client CAs. Which of them a client's certificate is of is not told: whoever trusts them with
/// different things has to ask a [`ClientVerifier`].
pub fn server_config_trusting(
    cert: &Path,
    key: &Path,
    client_cas: &[&Path],
    auth: ClientAuth,
) -> Result<Arc<ServerConfig>, Error> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Tls(e.to_string()))?;
    let builder = match (auth, client_cas) {
        (ClientAuth::None, _) => builder.with_no_client_auth(),
        (_, []) => {
            return Err(Error::Tls(
                "client certificates are asked for, but no client CA is given".into(),
            ));
        }
        (_, cas) => builder.with_client_cert_verifier(client_verifier(cas, auth)?),
    };
    Ok(Arc::new(
        builder.with_cert_resolver(Arc::new(Reloading::open(cert, key)?)),
    ))
}

/// A client's configuration: the CA it trusts (PEM file) and its own certificate and key, if it has them.
pub fn client_config(ca: &Path, identity: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Tls(e.to_string()))?
        .with_root_certificates(roots(ca)?);
    Ok(Arc::new(match identity {
        Some((cert, key)) => builder.with_client_cert_resolver(Arc::new(Reloading::open(cert, key)?)),
        None => builder.with_no_client_auth(),
    }))
}

/// `config` with the application protocols it offers, most wanted first (`h2`, `http/1.1`).
pub fn with_alpn(config: Arc<ServerConfig>, protocols: &[&str]) -> Arc<ServerConfig> {
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Tells whether a client's certificate is of one CA, where connections are accepted with those of several.
#[derive(Clone, Debug)]
pub struct ClientVerifier(Arc<dyn ClientCertVerifier>);

impl ClientVerifier {
    /// Certificates of this CA (PEM file).
    pub fn open(ca: &Path) -> Result<ClientVerifier, Error> {
        Ok(ClientVerifier(client_verifier(&[ca], ClientAuth::Required)?))
    }

    /// Whether a chain (leaf first) leads to the CA, is valid now and is meant for clients.
    pub fn accepts(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return false;
        };
        self.0.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok()
    }
}

/// A client's configuration from PEM text: what it trusts, and its certificate and key, if it has them.
pub fn client_config_of(trusted: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<Arc<ClientConfig>, Error> {
    let bad = |what: &str, reason: &dyn std::fmt::Display| Error::Tls(format!("{what}: {reason}"));
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(trusted) {
        let cert = cert.map_err(|e| bad("CA certificate", &e))?;
        roots.add(cert).map_err(|e| bad("CA certificate", &e))?;
    }
    if roots.is_empty() {
        return Err(Error::Tls("CA certificate: no PEM block CERTIFICATE".into()));
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Tls(e.to_string()))?
        .with_root_certificates(roots);
    let Some((cert, key)) = identity else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.map_err(|e| bad("client certificate", &e))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| bad("client key", &e))?;
    let config = builder.with_client_auth_cert(chain, key);
    config.map(Arc::new).map_err(|e| bad("client certificate", &e))
}

fn client_verifier(cas: &[&Path], auth: ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut trusted = RootCertStore::empty();
    for ca in cas {
        trusted.extend(roots(ca)?.roots);
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider());
    let builder = if auth == ClientAuth::Optional {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    builder
        .build()
        .map_err(|e| Error::content("client CA", cas.first().copied().unwrap_or(Path::new("")), e))
}

fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for cert in certificates(path)? {
        store.add(cert).map_err(|e| Error::content("CA certificate", path, e))?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = crate::files::read(path)?;
    let certs: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| Error::content("certificate", path, e))?;
    if certs.is_empty() {
        return Err(Error::content("certificate", path, "no PEM block CERTIFICATE"));
    }
    Ok(certs)
}

fn load(cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, Error> {
    let chain = certificates(cert)?;
    let pem = crate::files::read(key)?;
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| Error::content("private key", key, e))?;
    let certified = CertifiedKey::from_der(chain, der, &provider()).map_err(|e| Error::content("key pair", cert, e))?;
    Ok(Arc::new(certified))
}

/// [`load`], past a renewal that is under way.
fn load_whole(cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, Error> {
    for _ in 1..OPEN_TRIES {
        match load(cert, key) {
            Err(Error::Content { what: "key pair", .. }) => std::thread::sleep(OPEN_PAUSE),
            loaded => return loaded,
        }
    }
    load(cert, key)
}

/// A certificate that follows its file.
#[derive(Debug)]
struct Reloading {
    cert: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    certified: Arc<CertifiedKey>,
    modified: Option<SystemTime>,
    looked_at: Instant,
}

impl Reloading {
    fn open(cert: &Path, key: &Path) -> Result<Reloading, Error> {
        let modified = modified(cert);
        let certified = load_whole(cert, key)?;
        let state = Mutex::new(State {
            certified,
            modified,
            looked_at: Instant::now(),
        });
        Ok(Reloading {
            cert: cert.into(),
            key: key.into(),
            state,
        })
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if state.looked_at.elapsed() >= RELOAD_INTERVAL {
            state.looked_at = Instant::now();
            self.refresh(&mut state);
        }
        state.certified.clone()
    }

    fn refresh(&self, state: &mut State) {
        let modified = modified(&self.cert);
        if modified == state.modified {
            return;
        }
        match load(&self.cert, &self.key) {
            Ok(certified) => (state.certified, state.modified) = (certified, modified),
            // Key and certificate are two files: between the two renames they do not match. The next look will.
            Err(error) => tracing::warn!(%error, "keeping the old certificate"),
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

impl ResolvesServerCert for Reloading {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Reloading {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ca, Leaf};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn handshake(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Result<(), std::io::Error> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = rustls::pki_types::ServerName::try_from("master").unwrap();
        let accept = async {
            let mut stream = tokio_rustls::TlsAcceptor::from(server).accept(far).await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await
        };
        let connect = async {
            let mut stream = tokio_rustls::TlsConnector::from(client).connect(name, near).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.map(|_| ())
        };
        let (accepted, connected) = tokio::join!(accept, connect);
        accepted.and(connected)
    }

    #[tokio::test]
    async fn client_certificates_are_required_where_asked_and_checked_against_the_ca() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for ca in ["ca", "other"] {
            let authority = Ca::load_or_generate(ca, &at(&format!("{ca}.crt")), &at(&format!("{ca}.key"))).unwrap();
            let leaf = Leaf {
                common_name: "master".into(),
                dns_names: vec!["master".into()],
                server: true,
                client: true,
                ..Leaf::default()
            };
            authority
                .issue(&leaf)
                .unwrap()
                .write(&at(&format!("{ca}-leaf.crt")), &at(&format!("{ca}-leaf.key")))
                .unwrap();
        }
        let ca = at("ca.crt");
        let server = server_config(&at("ca-leaf.crt"), &at("ca-leaf.key"), Some(&ca), ClientAuth::Required).unwrap();
        let (own, own_key) = (at("ca-leaf.crt"), at("ca-leaf.key"));
        let (foreign, foreign_key) = (at("other-leaf.crt"), at("other-leaf.key"));
        let good = client_config(&ca, Some((&own, &own_key))).unwrap();
        handshake(server.clone(), good).await.unwrap();
        assert!(
            handshake(server.clone(), client_config(&ca, None).unwrap())
                .await
                .is_err()
        );
        assert!(
            handshake(server, client_config(&ca, Some((&foreign, &foreign_key))).unwrap())
                .await
                .is_err()
        );
    }

    #[test]
    fn asking_for_certificates_without_a_ca_is_refused() {
        let error = server_config(Path::new("x"), Path::new("y"), None, ClientAuth::Required).unwrap_err();
        assert!(error.to_string().contains("client CA"), "{error}");
    }
}
