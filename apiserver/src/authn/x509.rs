//! Client certificates: the subject's common name is the user, its organizations are the groups. The TLS handshake has
//! already checked the chain, the dates and the purpose.

use super::Authenticator;
use crate::identity::PeerCertificates;
use crate::{ApiError, User};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Reads the identity out of the connection's certificate.
pub struct ClientCertificates;

#[async_trait::async_trait]
impl Authenticator for ClientCertificates {
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, ApiError> {
        let Some(leaf) = request
            .extensions
            .get::<PeerCertificates>()
            .and_then(|chain| chain.0.first())
        else {
            return Ok(None);
        };
        user(leaf).map(Some).ok_or_else(ApiError::unauthorized)
    }
}

/// A certificate without a common name identifies nobody.
fn user(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    if name.is_empty() {
        return None;
    }
    let groups: Vec<&str> = subject.iter_organization().filter_map(|o| o.as_str().ok()).collect();
    Some(User::new(name, &groups))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

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
        assert_eq!(ClientCertificates.authenticate(&request).await.unwrap(), None);
        request
            .extensions
            .insert(PeerCertificates(Arc::new(vec![der.contents.into()])));
        let user = ClientCertificates.authenticate(&request).await.unwrap().unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups),
            ("system:node:n1", vec!["system:nodes".to_owned()])
        );
    }
}
