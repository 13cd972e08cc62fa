//! The rustls configuration of a client: from files (which `pki` reloads) or from PEM texts (as in a kubeconfig).

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{Credential, Pem};
use crate::Error;

/// The TLS side of a client; a bearer token is the balancer's business.
pub(super) fn client_config(ca: &Pem, credential: &Credential) -> Result<Arc<ClientConfig>, Error> {
    let mut config = match (ca, credential) {
        (
            Pem::Path(ca),
            Credential::Certificate {
                cert: Pem::Path(cert),
                key: Pem::Path(key),
            },
        ) => Arc::unwrap_or_clone(pki::tls::client_config(ca, Some((cert, key))).map_err(config_error)?),
        _ => from_texts(ca, credential)?,
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn from_texts(ca: &Pem, credential: &Credential) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(config_error)?
        .with_root_certificates(roots(ca)?);
    let Credential::Certificate { cert, key } = credential else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|e| Error::Config(format!("private key: {e}")))?;
    builder.with_client_auth_cert(chain, key).map_err(config_error)
}

fn roots(ca: &Pem) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(config_error)?;
    }
    if roots.is_empty() {
        return Err(Error::Config("the authority file holds no certificate".to_owned()));
    }
    Ok(roots)
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(&read(pem)?)
        .collect::<Result<_, _>>()
        .map_err(|e| Error::Config(format!("certificate: {e}")))
}

fn read(pem: &Pem) -> Result<Vec<u8>, Error> {
    match pem {
        Pem::Inline(text) => Ok(text.clone()),
        Pem::Path(path) => std::fs::read(path).map_err(|e| Error::Config(format!("{}: {e}", path.display()))),
    }
}

fn config_error(e: impl std::fmt::Display) -> Error {
    Error::Config(e.to_string())
}
