//! Client certificates: the subject's common name is the user, its organizations are the groups. The TLS handshake has
//! already checked the chain, the dates and the purpose. Where it accepts the certificates of front proxies too, the chain is checked
//! once more: a proxy's certificate, whatever its subject says, is nobody's identity.

use super::Authenticator;
use crate::identity::PeerCertificates;
use crate::{ApiError, User};
use pki::tls::ClientVerifier;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// Reads the identity out of the connection's certificate.
#[derive(Default)]
pub struct ClientCertificates {
    /// Whose certificates name users.
    pub verifier: Option<ClientVerifier>,
    /// TLS accepts certificates that do not name users, too: without a verifier nobody is believed then.
    pub shared: bool,
}

#[async_trait::async_trait]
impl Authenticator for ClientCertificates {
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, ApiError> {
        let chain = request.extensions.get::<PeerCertificates>();
        let Some(chain) = chain.map(|chain| &chain.0).filter(|chain| !chain.is_empty()) else {
            return Ok(None);
        };
        let of_a_user = match &self.verifier {
            Some(verifier) => verifier.accepts(chain),
            None => !self.shared,
        };
        match of_a_user {
            true => user(&chain[0], ASN1Time::now())
                .map(Some)
                .ok_or_else(ApiError::unauthorized),
            false => Err(ApiError::unauthorized()),
        }
    }
}

/// A certificate without a common name identifies nobody, nor does one that has ended since the handshake.
fn user(der: &[u8], now: ASN1Time) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    if !certificate.validity().is_valid_at(now) {
        return None;
    }
    let name = name_of(&certificate)?;
    let subject = certificate.subject();
    let groups: Vec<&str> = subject.iter_organization().filter_map(|o| o.as_str().ok()).collect();
    Some(User::new(name, &groups))
}

/// The common name of a certificate.
pub(super) fn common_name(der: &[u8]) -> Option<String> {
    name_of(&X509Certificate::from_der(der).ok()?.1)
}

fn name_of(certificate: &X509Certificate<'_>) -> Option<String> {
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn request(ca: &pki::Ca, leaf: pki::Leaf) -> http::request::Parts {
        let pem = ca.issue(&leaf).unwrap().cert_pem;
        let (_, der) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let mut request = http::Request::new(()).into_parts().0;
        request
            .extensions
            .insert(PeerCertificates(Arc::new(vec![der.contents.into()])));
        request
    }

    fn admin() -> pki::Leaf {
        pki::Leaf {
            common_name: "admin".into(),
            organizations: vec!["system:masters".into()],
            client: true,
            ..pki::Leaf::default()
        }
    }

    /// A connection outlives the handshake that looked at its certificate's dates.
    #[test]
    fn a_certificate_that_has_ended_names_nobody() {
        let ca = pki::Ca::generate("test").unwrap();
        let request = request(&ca, admin());
        let der = &request.extensions.get::<PeerCertificates>().unwrap().0[0];
        let at = |days: i64| {
            let seconds = jiff::Timestamp::now().as_second() + days * 86_400;
            user(der, ASN1Time::from_timestamp(seconds).unwrap())
        };
        assert!(at(1).is_some());
        assert_eq!((at(400), at(-1)), (None, None));
    }

    #[tokio::test]
    async fn a_certificate_of_another_authority_names_nobody() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let here = tempfile::tempdir().unwrap();
        let (users, proxies) = (
            pki::Ca::generate("users").unwrap(),
            pki::Ca::generate("proxies").unwrap(),
        );
        let (cert, key) = (here.path().join("ca.crt"), here.path().join("ca.key"));
        users.write(&cert, &key).unwrap();
        let own = ClientCertificates {
            verifier: Some(ClientVerifier::open(&cert).unwrap()),
            shared: true,
        };
        assert!(own.authenticate(&request(&users, admin())).await.unwrap().is_some());
        assert!(own.authenticate(&request(&proxies, admin())).await.is_err());
        let blind = ClientCertificates {
            verifier: None,
            shared: true,
        };
        assert!(blind.authenticate(&request(&users, admin())).await.is_err());
    }

    #[tokio::test]
    async fn the_subject_names_user_and_groups() {
        let ca = pki::Ca::generate("test").unwrap();
        let leaf = pki::Leaf {
            common_name: "system:node:n1".into(),
            organizations: vec!["system:nodes".into()],
            client: true,
            ..pki::Leaf::default()
        };
        let pem = ca.issue(&leaf).unwrap().cert_pem;
        let (_, der) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let mut request = http::Request::new(()).into_parts().0;
        assert_eq!(
            ClientCertificates::default().authenticate(&request).await.unwrap(),
            None
        );
        request
            .extensions
            .insert(PeerCertificates(Arc::new(vec![der.contents.into()])));
        let user = ClientCertificates::default()
            .authenticate(&request)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups),
            ("system:node:n1", vec!["system:nodes".to_owned()])
        );
    }
}
