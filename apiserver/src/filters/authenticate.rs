//! Credentials -> user, or anonymous, or 401.

use crate::identity::AUTHENTICATED;
use crate::{ApiError, Server, User};
use http::Method;

/// Who sent the request. The first authenticator that recognises a credential decides; a bad credential is never downgraded to
/// anonymous unless another kind of credential is good.
pub(crate) async fn user(server: &Server, parts: &http::request::Parts) -> Result<User, ApiError> {
    let mut refused = None;
    for authenticator in &server.authenticators {
        match authenticator.authenticate(parts).await {
            Ok(Some(user)) => return Ok(authenticated(user)),
            Ok(None) => {}
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) => {
            tracing::debug!(%error, "credentials refused");
            Err(ApiError::unauthorized())
        }
        None if server.config.anonymous && open_to_all(&parts.method, parts.uri.path()) => Ok(User::anonymous()),
        None => Err(ApiError::unauthorized()),
    }
}

/// What may be asked without credentials, if the roles allow it: load balancers probe health, and a machine that is about to
/// join reads the version and the signed `cluster-info`. Anything else without credentials is a 401, which tells a client to
/// sign in, not a 403.
const ANONYMOUS_PATHS: &[&str] = &["/livez", "/readyz", "/healthz", "/version"];
const CLUSTER_INFO_PATH: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

fn open_to_all(method: &Method, path: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    let open = |open: &&str| path.strip_prefix(*open).is_some_and(below);
    ANONYMOUS_PATHS.iter().any(open) || path == CLUSTER_INFO_PATH && matches!(*method, Method::GET | Method::HEAD)
}

fn authenticated(mut user: User) -> User {
    if !user.is_in(AUTHENTICATED) && !user.is_in(crate::identity::UNAUTHENTICATED) {
        user.groups.push(AUTHENTICATED.into());
    }
    user
}
