//! Who is asking. Produced by an authenticator (or given to [`crate::Server::local`]), consumed by authorization, admission and audit.

use std::collections::BTreeMap;

/// An authenticated identity, as `TokenReview.status.user` spells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Members of this group bypass authorization, as everywhere in Kubernetes.
pub const MASTERS: &str = "system:masters";
/// Every authenticated identity is in this group.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Requests without credentials are in this group.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of a request without credentials.
pub const ANONYMOUS: &str = "system:anonymous";

impl User {
    /// A user with a name and groups and nothing else.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> User {
        User {
            name: name.into(),
            groups: groups.iter().map(|group| group.to_string()).collect(),
            ..User::default()
        }
    }

    /// The identity of a request that carried no credentials.
    pub fn anonymous() -> User {
        User::new(ANONYMOUS, &[UNAUTHENTICATED])
    }

    /// The user with the group that everybody has who signed in.
    pub(crate) fn authenticated(mut self) -> User {
        if self.name != ANONYMOUS && !self.is_in(AUTHENTICATED) && !self.is_in(UNAUTHENTICATED) {
            self.groups.push(AUTHENTICATED.into());
        }
        self
    }

    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// The certificates a TLS client presented and the handshake verified, leaf first. A request extension set by the server
/// for connections that came over TLS.
#[derive(Clone, Debug, Default)]
pub struct PeerCertificates(pub std::sync::Arc<Vec<rustls::pki_types::CertificateDer<'static>>>);

/// Where the connection came from. A request extension; absent for in-process requests.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub std::net::SocketAddr);
