//! Where requests without credentials are let in, as `system:anonymous`. What they may do there is authorization's to say.

use http::Method;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    Nowhere,
    /// Where strangers have business: load balancers probe health, and a machine that is about to join reads the version and
    /// the signed `cluster-info`. Anything else without credentials is a 401, which tells a client to sign in, not a 403.
    #[default]
    Usual,
    /// At these paths, compared whole.
    At(Vec<String>),
    Everywhere,
}

const USUAL_PATHS: &[&str] = &["/livez", "/readyz", "/healthz", "/version"];
const CLUSTER_INFO_PATH: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

impl Anonymous {
    /// Whether a request without credentials is let in.
    pub fn admits(&self, method: &Method, path: &str) -> bool {
        match self {
            Anonymous::Nowhere => false,
            Anonymous::Usual => usual(method, path),
            Anonymous::At(paths) => paths.iter().any(|open| open == path),
            Anonymous::Everywhere => true,
        }
    }
}

fn usual(method: &Method, path: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    let open = |open: &&str| path.strip_prefix(*open).is_some_and(below);
    USUAL_PATHS.iter().any(open) || path == CLUSTER_INFO_PATH && matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_open_whole_or_not_at_all() {
        let some = Anonymous::At(vec!["/livez".into()]);
        assert!(some.admits(&Method::GET, "/livez"));
        for path in ["/livez/", "/livez/ping", "/livezz", "/", "/readyz", "//livez"] {
            assert!(!some.admits(&Method::GET, path), "{path}");
        }
        assert!(!Anonymous::Nowhere.admits(&Method::GET, "/livez"));
        assert!(Anonymous::Everywhere.admits(&Method::POST, "/api/v1/pods"));
    }

    #[test]
    fn strangers_usually_see_health_version_and_cluster_info() {
        let usual = Anonymous::default();
        assert!(usual.admits(&Method::GET, "/livez/ping") && usual.admits(&Method::GET, CLUSTER_INFO_PATH));
        assert!(!usual.admits(&Method::DELETE, CLUSTER_INFO_PATH) && !usual.admits(&Method::GET, "/livezz"));
        assert!(!usual.admits(&Method::GET, "/metrics"));
    }
}
