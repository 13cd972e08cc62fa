//! Who is believed and who may do what, as far as files beside the cluster's own objects say so: the options of a master under
//! kube-apiserver's names, and what is made of them.
//!
//! **Promise.** Everything is read and checked once, at the start. A file that cannot be read, a field that is not known, a setting
//! that this version cannot honour (a CEL expression, above all) keeps the server from starting: it never starts with a door more
//! open than its configuration says. Errors name the option, the file and the line or the field, and never show a token.
//!
//! **Left out.** Following changes of the files; another start reads them again.

mod authentication;
mod authorization;
mod error;
mod issuers;

pub use error::AccessError;

use crate::authn::anonymous::Anonymous;
use crate::authn::front_proxy::{FrontProxy, Headers};
use crate::authn::oidc::Issuer;
use crate::authn::static_tokens::StaticTokens;
use crate::authn::webhook::Reviewer;
use crate::authz::chain::Modes;
use error::read;
use pki::tls::ClientVerifier;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A configuration file larger than this is refused.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How long reviews of tokens are remembered unless told otherwise.
const REVIEWS_KEPT: Duration = Duration::from_secs(120);

/// The section `access` of a master's configuration. Paths are taken as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Options {
    /// Bearer tokens as CSV: `token,user,uid,"group1,group2"`.
    pub token_auth_file: Option<PathBuf>,
    /// The CA of proxies that may say in headers who sends a request.
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// The common names such a proxy may have; any, when empty.
    pub requestheader_allowed_names: Vec<String>,
    /// The headers it speaks in; `X-Remote-User` and so on, when empty.
    pub requestheader_username_headers: Vec<String>,
    pub requestheader_uid_headers: Vec<String>,
    pub requestheader_group_headers: Vec<String>,
    pub requestheader_extra_headers_prefix: Vec<String>,
    /// Whether requests without credentials are `system:anonymous`. Unset: for health, version and `cluster-info` only.
    pub anonymous_auth: Option<bool>,
    /// An AuthenticationConfiguration.
    pub authentication_config: Option<PathBuf>,
    /// The service that reviews tokens, as a kubeconfig, and how long its answers are remembered.
    pub authentication_token_webhook_config_file: Option<PathBuf>,
    pub authentication_token_webhook_cache_ttl: Option<String>,
    /// Who permits, in order: `Node`, `RBAC`, `ABAC`, `Webhook`, `AlwaysAllow`, `AlwaysDeny`. `Node` and `RBAC`, when empty.
    pub authorization_mode: Vec<String>,
    /// The policies of `ABAC`, one JSON object a line.
    pub authorization_policy_file: Option<PathBuf>,
    /// The service of `Webhook`, as a kubeconfig, and how long its answers are remembered.
    pub authorization_webhook_config_file: Option<PathBuf>,
    pub authorization_webhook_cache_authorized_ttl: Option<String>,
    pub authorization_webhook_cache_unauthorized_ttl: Option<String>,
    /// An AuthorizationConfiguration, in place of modes and webhook.
    pub authorization_config: Option<PathBuf>,
}

/// What the options come to.
#[derive(Clone, Default)]
pub struct Access {
    pub static_tokens: Option<Arc<StaticTokens>>,
    pub front_proxy: Option<Arc<FrontProxy>>,
    /// Whose certificates name users. Needed wherever TLS accepts those of others too.
    pub users: Option<ClientVerifier>,
    pub anonymous: Anonymous,
    /// Issuers of tokens outside of the cluster.
    pub issuers: Vec<Arc<Issuer>>,
    /// Who is asked about tokens that nobody here knows.
    pub reviewer: Option<Arc<Reviewer>>,
    pub modes: Modes,
}

impl Options {
    /// Reads and checks everything. `client_ca`: the CA whose certificates name users; `own_issuer`: whose the cluster's own tokens
    /// are.
    pub fn load(&self, client_ca: &Path, own_issuer: &str) -> Result<Access, AccessError> {
        let mut access = Access::default();
        if let Some(path) = &self.token_auth_file {
            access.static_tokens = Some(Arc::new(self.static_tokens(path)?));
        }
        if let Some(path) = &self.requestheader_client_ca_file {
            access.front_proxy = Some(Arc::new(self.front_proxy(path, client_ca)?));
            access.users = Some(verifier("clientCaFile", client_ca)?);
        } else if self.speaks_of_proxies() {
            return Err(AccessError::Option {
                option: "requestheaderClientCaFile",
                problem: "must be set where other requestheader options are: without it nobody's headers are believed"
                    .into(),
            });
        }
        let structured = match &self.authentication_config {
            Some(path) => Some(authentication::load(path, own_issuer)?),
            None => None,
        };
        access.anonymous = self.anonymous(structured.as_ref())?;
        access.issuers = structured.map(|file| file.issuers).unwrap_or_default();
        access.reviewer = self.reviewer()?;
        access.modes = authorization::load(self)?;
        Ok(access)
    }

    fn static_tokens(&self, path: &Path) -> Result<StaticTokens, AccessError> {
        const OPTION: &str = "tokenAuthFile";
        let text = read(OPTION, path, FILE_BYTES_MAX)?;
        StaticTokens::parse(&text).map_err(|(line, problem)| AccessError::Line {
            option: OPTION,
            path: path.into(),
            line,
            problem,
        })
    }

    fn reviewer(&self) -> Result<Option<Arc<Reviewer>>, AccessError> {
        const TTL: &str = "authenticationTokenWebhookCacheTtl";
        let wrong = |problem| AccessError::Option { option: TTL, problem };
        let lifetime = match &self.authentication_token_webhook_cache_ttl {
            Some(text) => authorization::lifetime(text).map_err(wrong)?,
            None => REVIEWS_KEPT,
        };
        match (
            &self.authentication_token_webhook_config_file,
            &self.authentication_token_webhook_cache_ttl,
        ) {
            (None, Some(_)) => Err(wrong(
                "is of no use without authenticationTokenWebhookConfigFile".into(),
            )),
            (None, None) => Ok(None),
            (Some(path), _) => {
                let remote = authorization::remote("authenticationTokenWebhookConfigFile", path)?;
                Ok(Some(Arc::new(Reviewer::new(remote, lifetime))))
            }
        }
    }

    fn speaks_of_proxies(&self) -> bool {
        [
            &self.requestheader_allowed_names,
            &self.requestheader_username_headers,
            &self.requestheader_uid_headers,
            &self.requestheader_group_headers,
            &self.requestheader_extra_headers_prefix,
        ]
        .into_iter()
        .any(|given| !given.is_empty())
    }

    fn front_proxy(&self, ca: &Path, client_ca: &Path) -> Result<FrontProxy, AccessError> {
        const OPTION: &str = "requestheaderClientCaFile";
        let proxies = read(OPTION, ca, FILE_BYTES_MAX)?;
        let users = read("clientCaFile", client_ca, FILE_BYTES_MAX)?;
        let shared = blocks(&proxies).any(|block| blocks(&users).any(|other| other == block));
        if shared && self.requestheader_allowed_names.is_empty() {
            return Err(AccessError::Option {
                option: "requestheaderAllowedNames",
                problem:
                    "must not be empty, as the proxies' CA is that of users too: every user could pose as any other"
                        .into(),
            });
        }
        let headers = Headers::new(
            &self.requestheader_username_headers,
            &self.requestheader_uid_headers,
            &self.requestheader_group_headers,
            &self.requestheader_extra_headers_prefix,
        );
        let headers = headers.map_err(|(option, problem)| AccessError::Option { option, problem })?;
        Ok(FrontProxy {
            verifier: verifier(OPTION, ca)?,
            allowed_names: self.requestheader_allowed_names.clone(),
            headers,
        })
    }

    fn anonymous(&self, structured: Option<&authentication::Structured>) -> Result<Anonymous, AccessError> {
        match (self.anonymous_auth, structured.and_then(|file| file.anonymous.clone())) {
            (Some(_), Some(_)) => Err(AccessError::Option {
                option: "anonymousAuth",
                problem: "must not be set together with the field anonymous of authenticationConfig".into(),
            }),
            (None, Some(anonymous)) => Ok(anonymous),
            (Some(true), None) => Ok(Anonymous::Everywhere),
            (Some(false), None) => Ok(Anonymous::Nowhere),
            (None, None) => Ok(Anonymous::default()),
        }
    }
}

fn verifier(option: &'static str, ca: &Path) -> Result<ClientVerifier, AccessError> {
    ClientVerifier::open(ca).map_err(|error| AccessError::Option {
        option,
        problem: error.to_string(),
    })
}

/// The base64 of the PEM blocks of a bundle, without white space.
fn blocks(bundle: &str) -> impl Iterator<Item = String> {
    bundle.split("-----BEGIN CERTIFICATE-----").skip(1).map(|block| {
        let body = block.split("-----").next().unwrap_or_default();
        body.chars().filter(|c| !c.is_whitespace()).collect()
    })
}

#[cfg(test)]
mod tests;
