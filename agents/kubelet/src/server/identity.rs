//! Who is calling, by the certificate that TLS has verified.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The group whose members may use every node. Others who administer a cluster do so by its roles, which the API server
/// knows: they come through it.
const GROUP: &str = "system:masters";
/// The API server's own name towards nodes.
const API_SERVER: &str = "kube-apiserver-kubelet-client";

/// The caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// No certificate.
    Anonymous,
    /// The subject of a certificate of the cluster's CA.
    Named {
        /// Common name.
        name: String,
        /// Organizations.
        groups: Vec<String>,
    },
}

impl Identity {
    /// The subject of a verified certificate.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Identity {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return Identity::Anonymous;
        };
        let subject = parsed.subject();
        let text = |a: &x509_parser::x509::AttributeTypeAndValue<'_>| a.as_str().map(str::to_owned).ok();
        let name = subject.iter_common_name().filter_map(text).next().unwrap_or_default();
        Identity::Named {
            name,
            groups: subject.iter_organization().filter_map(text).collect(),
        }
    }

    /// Any certificate of the CA proves who somebody is, but nodes and users have them, too.
    pub(super) fn may_use_nodes(&self) -> bool {
        match self {
            Identity::Anonymous => false,
            Identity::Named { name, groups } => name == API_SERVER || groups.iter().any(|g| g == GROUP),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_api_server_and_administrators_may_use_nodes() {
        let named = |name: &str, group: &str| Identity::Named {
            name: name.into(),
            groups: vec![group.into()],
        };
        assert!(named("kube-apiserver-kubelet-client", "").may_use_nodes());
        assert!(named("x", "system:masters").may_use_nodes());
        assert!(!named("x", "kubeadm:cluster-admins").may_use_nodes());
        assert!(!named("system:node:other", "system:nodes").may_use_nodes());
        assert!(!Identity::Anonymous.may_use_nodes());
    }
}
