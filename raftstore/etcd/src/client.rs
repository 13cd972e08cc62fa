//! Who a client is: what it shows, and the store as it may use it.

use std::sync::Arc;

use proto::raft::Identity;
use raftstore::Store;
use tonic::{Extensions, Request, Status, metadata::MetadataMap};

use crate::{Refusal, door::Door, error::status, token::Now};

/// The common name of the certificate that a connection was opened with, as an extension of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommonName(pub Arc<str>);

impl CommonName {
    /// Of a certificate; `None` if it names nobody.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
        (!name.is_empty()).then(|| Self(name.into()))
    }
}

/// Where clients put their tokens; the second is how HTTP clients do it.
const TOKEN_HEADERS: [&str; 2] = ["token", "authorization"];

/// A client and what it shows with a request. Who it is, is looked up anew for every use: a stream may outlive a token.
#[derive(Clone)]
pub(crate) struct Client {
    pub door: Arc<Door>,
    token: Option<String>,
    certificate: Option<CommonName>,
}

impl Client {
    pub fn of<T>(door: &Arc<Door>, request: &Request<T>) -> Self {
        Self::new(door, request.metadata(), request.extensions())
    }

    fn new(door: &Arc<Door>, metadata: &MetadataMap, extensions: &Extensions) -> Self {
        let header = |name: &&str| metadata.get(*name);
        let token = TOKEN_HEADERS.iter().find_map(header);
        Self {
            door: door.clone(),
            // What is not text is no token, which is not the same as none.
            token: token.map(|token| token.to_str().unwrap_or_default().to_owned()),
            certificate: extensions.get().cloned(),
        }
    }

    /// The store on this client's behalf.
    pub fn store(&self) -> Result<Store, Status> {
        let view = self.door.store.view();
        let auth = view.auth();
        if !auth.enabled() {
            // Not the member's own store: authentication may be enabled before the request gets there.
            return Ok(self.door.nobodys_store.clone());
        }
        let user = match &self.token {
            Some(token) => {
                let user = self.door.tokens.user(auth, token, Now::read());
                user.ok_or_else(|| Status::from(Refusal::InvalidAuthToken))?
            }
            None => match &self.certificate {
                Some(CommonName(name)) if self.door.config.client_cert_auth => name.to_string(),
                _ => return Ok(self.door.nobodys_store.clone()),
            },
        };
        Ok(self.door.store.on_behalf_of(Arc::new(Identity {
            user,
            auth_revision: auth.revision(),
        })))
    }

    /// The store, if the client said who it is (or need not).
    pub fn somebodys_store(&self) -> Result<Store, Status> {
        let store = self.store()?;
        store.require_somebody().map_err(status)?;
        Ok(store)
    }

    /// The store, if the client may do everything.
    pub fn roots_store(&self) -> Result<Store, Status> {
        let store = self.store()?;
        store.require_root().map_err(status)?;
        Ok(store)
    }
}
