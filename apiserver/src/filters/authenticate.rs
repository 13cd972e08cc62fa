//! Credentials -> user, or anonymous, or 401.

use crate::authn::front_proxy::Headers;
use crate::{ApiError, Server, User};
use http::{HeaderMap, HeaderName, header};

/// Who sent the request. The first authenticator that recognises a credential decides; a bad credential is never downgraded to
/// anonymous unless another kind of credential is good.
pub(crate) async fn user(server: &Server, parts: &http::request::Parts) -> Result<User, ApiError> {
    let mut refused = None;
    for authenticator in &server.authenticators {
        match authenticator.authenticate(parts).await {
            Ok(Some(user)) => return Ok(user.authenticated()),
            Ok(None) => {}
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) => {
            tracing::debug!(%error, "credentials refused");
            Err(ApiError::unauthorized())
        }
        None if server.config.access.anonymous.admits(&parts.method, parts.uri.path()) => Ok(User::anonymous()),
        None => Err(ApiError::unauthorized()),
    }
}

/// Takes away what has been judged by now: who a request is from is settled, and nothing behind this server shall hear it said
/// otherwise by whoever sent the request.
pub(crate) fn strip(server: &Server, headers: &mut HeaderMap) {
    let proxy = server.config.access.front_proxy.as_ref().map(|proxy| &proxy.headers);
    let usual = Headers::default();
    let judged = |name: &&HeaderName| {
        **name == header::AUTHORIZATION
            || name.as_str().starts_with("impersonate-")
            || usual.contain(name)
            || proxy.is_some_and(|headers| headers.contain(name))
    };
    let judged: Vec<HeaderName> = headers.keys().filter(judged).cloned().collect();
    for name in judged {
        headers.remove(name);
    }
}
